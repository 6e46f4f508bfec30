"""What telemetry costs the scorer: frames a second without it, with a collector, and with one that is away.

The model is one of drawn parts at the size that `neverblink fit` chooses; `--size 96` is a toy's, where what a frame
costs beside the network weighs most.

A pair is a scorer without telemetry and one with it, at the same time, each over the same backlog and on a core of its
own: a host whose pace wanders by a fifth from minute to minute falls on both alike. The cores are changed about from
pair to pair.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import numpy as np

from bench.line.scorer_process import scoring
from neverblink.brokers.apache import free_port
from neverblink.brokers.development import DevelopmentBroker
from rigs.scored_line import fit_striped

KINDS = ("on", "away")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
WARM_UP = 50
"""Frames at the beginning that are not counted: the batcher learns by them."""


@dataclass(frozen=True, slots=True)
class Run:
    """Frames a second, the scorer's CPU in ms a frame, its memory in MiB at the first and the last counted frame."""

    rate: float
    cpu: float
    memory: tuple[float, float]


Pair = tuple[Run, Run]
"""Without telemetry, and with it."""


async def pair(bootstrap: str, artifacts: Path, frames: int, cores: tuple[int, int], other: Mapping[str, str]) -> Pair:
    """Run a scorer without telemetry beside one with `other`'s, each on a core, until one of them is done.

    Counted is from when both are warm.
    """
    async with (
        scoring(bootstrap, artifacts, frames, {cores[0]}, ONE_THREAD) as off,
        scoring(bootstrap, artifacts, frames, {cores[1]}, {**ONE_THREAD, **other}) as on,
        asyncio.timeout(900),
    ):
        both = (off, on)
        while min(len(one.emitted) for one in both) < WARM_UP:
            await asyncio.gather(*(one.look() for one in both))
        if max(len(one.emitted) for one in both) >= frames:
            raise SystemExit("one scorer was done before the other was warm: give more --frames")
        began, before = [len(one.emitted) for one in both], [one.used() for one in both]
        since = max(one.emitted[-1] for one in both)
        while max(len(one.emitted) for one in both) < frames:
            await asyncio.gather(*(one.look() for one in both))
        after = [one.used() for one in both]
        until = min(max(one.emitted) for one in both)
        runs = []
        for one, first, (cpu, memory), (cpu_then, memory_then) in zip(both, began, before, after, strict=True):
            counted = sum(since < at <= until for at in one.emitted)
            runs.append(
                Run(
                    counted / (until - since),
                    (cpu_then - cpu) / max(1, len(one.emitted) - first) * 1e3,
                    (memory, memory_then),
                )
            )
        return runs[0], runs[1]


class _Sink(BaseHTTPRequestHandler):
    """Takes what is exported, and forgets it: a collector's work is not the scorer's."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take a request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@asynccontextmanager
async def sink() -> AsyncIterator[str]:
    """Run the sink in a process of its own, so that it shares nothing with the broker; gives where it listens."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.line.telemetry", "--sink", str(port))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def environments(endpoint: str) -> dict[str, dict[str, str]]:
    """Return what the environment of each kind says."""
    return {
        "on": {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        "away": {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"},
    }


def told(kind: str, pairs: Sequence[Pair]) -> list[str]:
    """Return what was measured of a kind, in lines: medians, and between the least and the most."""
    lines = []
    for name, runs in (("off", [off for off, _ in pairs]), (kind, [on for _, on in pairs])):
        rates = sorted(run.rate for run in runs)
        grown = [run.memory[1] - run.memory[0] for run in runs]
        lines.append(
            f"{name:5} {median(rates):7.1f} frames/s ({rates[0]:.1f} to {rates[-1]:.1f}),"
            f" {median(run.cpu for run in runs):.2f} ms of CPU a frame, memory"
            f" {median(run.memory[1] for run in runs):.0f} MiB, grown by {median(grown):+.1f} MiB"
        )
    for what, ratios in (
        ("frames/s", sorted(on.rate / off.rate for off, on in pairs)),
        ("CPU a frame", sorted(on.cpu / off.cpu for off, on in pairs)),
    ):
        low, high = between(ratios)
        lines.append(
            f"{kind} to off, {what}: {median(ratios):.3f} (95 %: {low:.3f} to {high:.3f};"
            f" all {ratios[0]:.3f} to {ratios[-1]:.3f}), {len(ratios)} pairs"
        )
    return lines


def between(ratios: Sequence[float]) -> tuple[float, float]:
    """Return between what the median lies, with 95 %: drawn 4,000 times anew from the ratios (a bootstrap)."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(np.asarray(ratios), (4000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


async def measure(frames: int, repeats: int, size: int) -> None:
    """Run all pairs in turn, and print what was measured."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two cores are needed: each scorer of a pair has one")
    pairs: dict[str, list[Pair]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        artifacts = fit_striped(Path(folder), size=size)
        async with sink() as endpoint, DevelopmentBroker() as broker:
            wanted = environments(endpoint)
            for number in range(repeats):
                # Each kind on each core in turn: cores differ, and the broker is more on one of them.
                mine, others = cores if number % 2 == 0 else reversed(cores)
                for kind in KINDS:
                    began = time.monotonic()
                    off, on = await pair(broker.bootstrap, artifacts, frames, (mine, others), wanted[kind])
                    pairs[kind].append((off, on))
                    took = time.monotonic() - began
                    print(
                        f"{number + 1} {kind:5} {on.rate:6.1f} to {off.rate:6.1f} frames/s = {on.rate / off.rate:.3f},"
                        f" {on.cpu:.2f} to {off.cpu:.2f} ms a frame, in {took:.0f} s",
                        flush=True,
                    )
    print(f"\n{frames} frames a run at {size} px, from when both have told {WARM_UP}")
    for kind in KINDS:
        print("\n".join(told(kind, pairs[kind])))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=600, help="so many a run")
    parser.add_argument("--repeats", type=int, default=10, help="so many pairs of each kind")
    parser.add_argument("--size", type=int, default=256, help="side of what the network sees, px")
    parser.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.sink is not None:
        ThreadingHTTPServer(("127.0.0.1", settings.sink), _Sink).serve_forever()
    asyncio.run(measure(settings.frames, settings.repeats, settings.size))


if __name__ == "__main__":
    main()
