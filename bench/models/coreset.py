"""Greedy k-center of 156,800 × 128: ours, the plain numpy loop, and anomalib's sampler, with their coverage radii.

The loops take minutes to hours: they are timed on their first steps, each of which costs the same, and extrapolated;
a radius is given where a method ran to its end.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from neverblink.vision.coreset import condense, coverage_radius, greedy_k_center

PATCHES, DIMENSION = 156_800, 128
RATIOS = (0.01, 0.1)
ROUNDS, STEPS, PEER_STEPS = 3, 40, 200
PEER_PYTHON = Path("bench/peers/.venv/bin/python")

PEER = """
import json, sys, time
import torch
from anomalib.models.components import KCenterGreedy
points = torch.load(sys.argv[1], weights_only=True)
torch.set_num_threads(int(sys.argv[3]))
start = time.perf_counter()
sampler = KCenterGreedy(embedding=points, sampling_ratio=int(sys.argv[2]) / len(points))
chosen = sampler.select_coreset_idxs()
print(json.dumps({"seconds": time.perf_counter() - start, "chosen": [int(index) for index in chosen]}))
"""


def patches(seed: int = 0) -> torch.Tensor:
    """Points whose clumps differ in size and whose variance falls off, as that of patches of images does."""
    random = np.random.default_rng(seed)
    clumps = random.normal(0, 3, (60, DIMENSION))
    weights = random.dirichlet(np.full(60, 0.5))
    points = clumps[random.choice(60, PATCHES, p=weights)] + random.normal(0, 1, (PATCHES, DIMENSION))
    return torch.from_numpy((points / np.arange(1, DIMENSION + 1) ** 0.5).astype(np.float32))


def numpy_loop(features: npt.NDArray[np.float32], steps: int) -> tuple[float, list[int]]:
    """Return the seconds of one step of the plain loop (distances, minimum, argmax), and its choice."""
    nearest = np.full(len(features), np.inf, dtype=np.float32)
    chosen = [0]
    taken = []
    for _ in range(steps - 1):
        start = time.perf_counter()
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), chosen


def peer_run(python: Path, points: Path, count: int, threads: int) -> tuple[float, list[int]] | None:
    """Return what anomalib's sampler needs for some steps, and its choice; None when it cannot be run."""
    if not python.is_file():
        return None
    ran = subprocess.run(
        [str(python), "-c", PEER, str(points), str(count), str(threads)], capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        print(f"anomalib did not run: {ran.stderr.strip().splitlines()[-1]}")
        return None
    answer = json.loads(ran.stdout.strip().splitlines()[-1])
    return float(answer["seconds"]), list(answer["chosen"])


def against_ours(points: torch.Tensor, chosen: list[int]) -> float:
    """Return the coverage radius of a choice over that of ours of the same size."""
    radius = coverage_radius(points, greedy_k_center(points, len(chosen)))
    return coverage_radius(points, torch.tensor(chosen)) / radius


def ours(points: torch.Tensor, count: int, rounds: int) -> tuple[float, torch.Tensor]:
    """Return the median seconds of the whole choice, and the choice."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        chosen = greedy_k_center(points, count)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken), chosen


def two_levels(points: torch.Tensor, ratio: float, count: int) -> tuple[float, torch.Tensor]:
    """Return seconds and choice of the two-level one: five chunks that keep twice their share."""
    start = time.perf_counter()
    kept = condense(points.chunk(5), 2 * ratio)
    chosen = kept.positions[greedy_k_center(kept.vectors, count)]
    return time.perf_counter() - start, chosen


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="interpreter with anomalib")
    parser.add_argument("--scratch", type=Path, default=Path("/tmp"), help="folder for what the peer reads")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    points = patches()
    step, plain = numpy_loop(points.numpy(), STEPS)
    file = given.scratch / "coreset-points.pt"
    torch.save(points, file)
    try:
        peer = peer_run(given.peer_python, file, PEER_STEPS, given.threads)
    finally:
        file.unlink()
    if peer is None:
        print(f"anomalib is not installed in {given.peer_python}: its rows are left out\n")
    print(f"{PATCHES} × {DIMENSION}, {given.threads} threads; numpy by {STEPS} steps, anomalib by {PEER_STEPS}\n")
    print("| choice | method | seconds | numpy / it | radius / ours |\n|---|---|---|---|---|")
    for ratio in RATIOS:
        count = round(ratio * PATCHES)
        seconds, chosen = ours(points, count, given.rounds)
        radius = coverage_radius(points, chosen)
        print(f"| {ratio:.0%} | ours | {seconds:.2f} | {count * step / seconds:.0f} | 1 |", flush=True)
        seconds, chosen = two_levels(points, ratio, count)
        relative = coverage_radius(points, chosen) / radius
        print(f"| | ours, two levels | {seconds:.2f} | {count * step / seconds:.0f} | {relative:.3f} |", flush=True)
        print(
            f"| | numpy | {count * step:.0f} (extrapolated) | 1 | {against_ours(points, plain):.3f} (at {STEPS}) |",
            flush=True,
        )
        if peer is not None:
            each = peer[0] / PEER_STEPS
            print(
                f"| | anomalib | {count * each:.0f} (extrapolated) | {step / each:.1f} |"
                f" {against_ours(points, peer[1]):.3f} (at {PEER_STEPS}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
