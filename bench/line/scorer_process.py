"""A scorer as a process of its own, with a backlog of its own, bound to cores: what benchmarks measure from outside."""

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import yaml

from bench.processes import cpu_s, resident_mib
from neverblink.events import Verdict
from neverblink.kafka import EventConsumer, ensure_topics
from rigs.scored_line import ScoredLine, sent


@dataclass(slots=True)
class Followed:
    """A scorer of its own on topics of its own, and what it has told: the instants of its verdicts, in order."""

    consumer: EventConsumer
    process: Process
    emitted: list[float] = field(default_factory=list)

    async def look(self) -> None:
        """Take what has come; who has ended will tell nothing more."""
        if self.process.returncode is not None:
            raise SystemExit(f"a scorer ended with {self.process.returncode}")
        for record in await self.consumer.poll():
            verdict = record.read(Verdict)[0]
            assert verdict.times.emitted is not None
            self.emitted.append(verdict.times.emitted.timestamp())

    def used(self) -> tuple[float, float]:
        """Return the processor time so far, in seconds, and the memory, in MiB."""
        return cpu_s(self.process.pid), resident_mib(self.process.pid)


@asynccontextmanager
async def started(
    plant: Path,
    environment: Mapping[str, str],
    *,
    cores: Collection[int] | None = None,
    log_level: str = "error",
    stderr: int | None = None,
) -> AsyncIterator[Process]:
    """Run a scorer of a plant file until the block ends, on these cores or on all; `stderr` is where its log goes."""
    bound = os.sched_getaffinity(0) if cores is None else cores
    scorer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "neverblink", "scorer", "--plant", str(plant), "--log-level", log_level,
        env=environment, start_new_session=True, stderr=stderr, preexec_fn=lambda: os.sched_setaffinity(0, bound),
    )  # fmt: skip
    try:
        yield scorer
    finally:
        with suppress(ProcessLookupError):
            scorer.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await scorer.wait()


@asynccontextmanager
async def scoring(
    bootstrap: str,
    artifacts: Path,
    frames: int,
    cores: Collection[int],
    environment: Mapping[str, str],
    *,
    threads: int = 1,
) -> AsyncIterator[Followed]:
    """Run a scorer with a backlog of so many frames, on these cores, its network on so many threads."""
    line = ScoredLine(bootstrap, artifacts)
    await ensure_topics(line.kafka)
    async with line.producer() as producer:
        for start in range(0, frames, 50):
            numbers = range(start + 1, min(start + 50, frames) + 1)
            await sent(producer, *(line.frame(number, left_s=3600) for number in numbers))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plant.yaml"
        plant = orjson.loads(line.plant.model_dump_json())
        plant["scorer"]["threads"] = threads
        file.write_text(yaml.safe_dump(plant))
        async with (
            EventConsumer(line.kafka, "verdicts", client_id="bench") as consumer,
            started(file, {**os.environ, **environment}, cores=cores) as scorer,
        ):
            yield Followed(consumer, scorer)
