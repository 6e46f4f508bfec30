"""What a scorer gains by a second core, and which of its threads would bound it on more.

A scorer as a process works off a backlog on one core, on two with one thread for the network, and on two with two:
the rows take turns. Of each thread the CPU time a frame is told: the loop's (events, Kafka, JSON), the busiest other
one's, and the rest's. Broker and bench are on the same cores.

On more cores, what one scorer does is bounded by what it does one after the other: the loop's thread, and one batch's
search after another's, which is timed by itself on one thread. Who needs more adds scorers to the group.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from bench.line.scorer_process import scoring
from bench.processes import threads_cpu_s
from neverblink.brokers.development import DevelopmentBroker
from neverblink.vision.artifact import load_artifact
from neverblink.vision.inspector import Inspector, embed_prepared, extractor_of, judge_embedded
from rigs.scored_line import fit_striped, striped

ROWS = ((1, 1), (2, 1), (2, 2))
"""Cores, and threads of the network."""
WARM_UP = 50
"""Frames at the beginning that are not counted: the batcher learns by them."""
BEYOND = (4, 8, 16)


@dataclass(frozen=True, slots=True)
class Run:
    """Frames a second, and CPU ms a frame: of all, of the loop's thread, of the busiest other one."""

    rate: float
    every: float
    loop: float
    busiest: float


async def one_run(bootstrap: str, artifacts: Path, frames: int, cores: int, threads: int) -> Run:
    """Work off one backlog."""
    mine = sorted(os.sched_getaffinity(0))[:cores]
    async with (
        scoring(bootstrap, artifacts, frames, mine, {}, threads=threads) as scorer,
        asyncio.timeout(900),
    ):
        while len(scorer.emitted) < WARM_UP:
            await scorer.look()
        first, since, before = len(scorer.emitted), scorer.emitted[-1], threads_cpu_s(scorer.process.pid)
        while len(scorer.emitted) < frames:
            await scorer.look()
        counted = len(scorer.emitted) - first
        spent = _spent(before, threads_cpu_s(scorer.process.pid), counted)
        loop = spent.pop(scorer.process.pid)
        return Run(
            counted / (scorer.emitted[-1] - since), loop + sum(spent.values()), loop, max(spent.values(), default=0.0)
        )


def search_ms(artifacts: Path) -> float:
    """Return what the second half of a frame's score takes on one thread, ms in batches of four."""
    torch.set_num_threads(1)
    artifact = load_artifact(artifacts / "striped")
    inspector = Inspector(artifact, extractor_of(artifact))
    work = [(inspector, inspector.prepare_defects(striped(number))) for number in range(4)]
    features = embed_prepared(work)
    took = []
    for _ in range(40):
        began = time.perf_counter()
        judge_embedded(work, features)
        took.append(time.perf_counter() - began)
    return median(took) / len(work) * 1e3


def _spent(before: Mapping[int, float], after: Mapping[int, float], frames: int) -> dict[int, float]:
    return {thread: (used - before.get(thread, 0.0)) / frames * 1e3 for thread, used in after.items()}


def told(runs: Mapping[tuple[int, int], Sequence[Run]], search: float) -> list[str]:
    """Return the rows, and what bounds one scorer on more cores."""
    lines = ["cores, threads | frames/s (least to most) | ratio | CPU ms a frame | loop | busiest other | rest"]
    base = median(run.rate for run in runs[ROWS[0]])
    for row in ROWS:
        rates = sorted(run.rate for run in runs[row])
        every, loop, busiest = (
            median(getattr(run, name) for run in runs[row]) for name in ("every", "loop", "busiest")
        )
        lines.append(
            f"{row[0]}, {row[1]} | {median(rates):.1f} ({rates[0]:.1f} to {rates[-1]:.1f}) | {median(rates) / base:.2f}"
            f" | {every:.2f} | {loop:.2f} | {busiest:.2f} | {every - loop - busiest:.2f}"
        )
    every, loop = (median(getattr(run, name) for run in runs[ROWS[-1]]) for name in ("every", "loop"))
    at_most = 1e3 / max(loop, search)
    lines.append(
        f"beyond, reckoned and not measured: cores / {every:.1f} ms, at most {at_most:.0f} frames/s"
        f" (loop {loop:.1f} ms, search {search:.1f} ms): "
        + ", ".join(f"{min(at_most, 1e3 * cores / every):.0f} on {cores}" for cores in BEYOND)
    )
    return lines


async def measure(frames: int, rounds: int, size: int) -> None:
    """Run all rows in turn, and print what was measured."""
    if len(os.sched_getaffinity(0)) < max(cores for cores, _ in ROWS):
        raise SystemExit("two cores are needed")
    runs: dict[tuple[int, int], list[Run]] = {row: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        artifacts = fit_striped(Path(folder), size=size)
        search = search_ms(artifacts)
        async with DevelopmentBroker() as broker:
            for number in range(rounds):
                for row in [*ROWS[number % 3 :], *ROWS[: number % 3]]:
                    run = await one_run(broker.bootstrap, artifacts, frames, *row)
                    runs[row].append(run)
                    print(f"{number + 1} {row[0]} cores, {row[1]} threads: {run.rate:.1f} frames/s", flush=True)
    print(f"\n{frames} frames a run at {size} px, the first {WARM_UP} not counted; medians of {rounds}")
    print("\n".join(told(runs, search)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600, help="so many a run")
    parser.add_argument("--rounds", type=int, default=5, help="so many runs of each row")
    parser.add_argument("--size", type=int, default=256, help="side of what the network sees, px")
    settings = parser.parse_args()
    asyncio.run(measure(settings.frames, settings.rounds, settings.size))


if __name__ == "__main__":
    main()
