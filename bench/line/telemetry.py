"""What telemetry costs the scorer: frames a second without it, with a collector, and with one that is away.

The model is one of drawn parts at the size that `neverblink fit` chooses; `--size 96` is a toy's, where what a frame
costs beside the network weighs most.

Each run is a scorer of its own, in a process of its own, over the same backlog on a broker. The three kinds take turns,
so that what else the machine does falls on all alike; what is compared are the ratios of runs that follow each other.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import orjson
import yaml

from bench.processes import cpu_s, resident_mib
from neverblink.brokers.apache import free_port
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import Verdict
from neverblink.kafka import EventConsumer, ensure_topics
from rigs.scored_line import ScoredLine, fit_striped, sent

KINDS = ("off", "on", "away")
WARM_UP = 50
"""Frames at the beginning that are not counted: the batcher learns by them."""


@dataclass(frozen=True, slots=True)
class Run:
    """Frames a second, the scorer's CPU in ms a frame, its memory in MiB at the first and the last counted frame."""

    rate: float
    cpu: float
    memory: tuple[float, float]


async def one_run(bootstrap: str, artifacts: Path, frames: int, environment: Mapping[str, str]) -> Run:
    """Score a backlog with a new scorer; the rate is that between the verdicts' own instants."""
    line = ScoredLine(bootstrap, artifacts)
    await ensure_topics(line.kafka)
    async with line.producer() as producer:
        for start in range(0, frames, 50):
            numbers = range(start + 1, min(start + 50, frames) + 1)
            await sent(producer, *(line.frame(number, left_s=3600) for number in numbers))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plant.yaml"
        file.write_text(yaml.safe_dump(orjson.loads(line.plant.model_dump_json())))
        async with EventConsumer(line.kafka, "verdicts", client_id="bench") as consumer:
            scorer = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "neverblink", "scorer", "--plant", str(file), "--log-level", "error",
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, start_new_session=True,
            )  # fmt: skip
            try:
                return await _followed(consumer, frames, scorer.pid)
            finally:
                scorer.send_signal(signal.SIGTERM)
                async with asyncio.timeout(30):
                    await scorer.wait()


async def _followed(consumer: EventConsumer, frames: int, pid: int) -> Run:
    at: list[float] = []
    first = 0
    memory, cpu = [0.0, 0.0], [0.0, 0.0]
    async with asyncio.timeout(600):
        while len(at) < frames:
            for record in await consumer.poll():
                verdict = record.read(Verdict)[0]
                assert verdict.times.emitted is not None
                at.append(verdict.times.emitted.timestamp())
            if len(at) >= WARM_UP and not memory[0]:
                first, memory[0], cpu[0] = len(at), resident_mib(pid), cpu_s(pid)
    memory[1], cpu[1] = resident_mib(pid), cpu_s(pid)
    at.sort()
    return Run(
        (frames - WARM_UP) / (at[-1] - at[WARM_UP - 1]),
        (cpu[1] - cpu[0]) / max(1, frames - first) * 1e3,
        (memory[0], memory[1]),
    )


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
        "off": {},
        "on": {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        "away": {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}"},
    }


def told(runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return what was measured, in lines. Five ratios hold their median between the least and the most with 94 %."""
    lines = []
    for kind in KINDS:
        rates = sorted(run.rate for run in runs[kind])
        grown = [run.memory[1] - run.memory[0] for run in runs[kind]]
        lines.append(
            f"{kind:5} {median(rates):7.1f} frames/s ({rates[0]:.1f} to {rates[-1]:.1f}),"
            f" {median(run.cpu for run in runs[kind]):.2f} ms of CPU a frame, memory"
            f" {median(run.memory[1] for run in runs[kind]):.0f} MiB, grown by {median(grown):+.1f} MiB"
        )
    for kind in KINDS[1:]:
        ratios = sorted(run.rate / off.rate for run, off in zip(runs[kind], runs["off"], strict=True))
        lines.append(
            f"{kind} to off: {median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}), {len(ratios)} pairs of runs"
        )
    return lines


async def measure(frames: int, repeats: int, size: int) -> None:
    """Run all kinds in turn, and print what was measured."""
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        artifacts = fit_striped(Path(folder), size=size)
        async with sink() as endpoint, DevelopmentBroker() as broker:
            wanted = environments(endpoint)
            for number in range(repeats):
                # Each kind is first, second and third in turn.
                for kind in [*KINDS[number % 3 :], *KINDS[: number % 3]]:
                    began = time.monotonic()
                    run = await one_run(broker.bootstrap, artifacts, frames, wanted[kind])
                    runs[kind].append(run)
                    took = time.monotonic() - began
                    print(
                        f"{number + 1} {kind:5} {run.rate:7.1f} frames/s, {run.cpu:.2f} ms a frame, in {took:.0f} s",
                        flush=True,
                    )
    print(f"\n{frames} frames a run at {size} px, the first {WARM_UP} not counted")
    print("\n".join(told(runs)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="so many a run")
    parser.add_argument("--repeats", type=int, default=5, help="so many runs of each kind")
    parser.add_argument("--size", type=int, default=256, help="side of what the network sees, px")
    parser.add_argument("--sink", type=int, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.sink is not None:
        ThreadingHTTPServer(("127.0.0.1", settings.sink), _Sink).serve_forever()
    asyncio.run(measure(settings.frames, settings.repeats, settings.size))


if __name__ == "__main__":
    main()
