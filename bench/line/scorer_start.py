"""What a scorer's start costs: processor seconds from its command to its first verdict, by stage.

Each start is a process of its own over models of drawn parts, of one and of two products, at the size that `neverblink
fit` chooses, and a development broker. The first of a folder makes what later ones find, as after an installation; the
others are restarts. With `--beside FOLDER`, another checkout's `services`, both are started in turn, so that what else
the machine does falls on both alike.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import yaml

from bench.line.scorer_process import started
from bench.processes import cpu_s, resident_mib
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import Frame, Verdict
from neverblink.kafka import EventConsumer, ensure_topics
from rigs.scored_line import ScoredLine, fit_striped, sent

STAGES = {
    "interpreter, imports, topics": "reading which models are active",
    "which models": "loading models",
    "models": " is loaded for product ",
}
"""What is done when a log line says so; the last line that does counts."""

TOLD = "joining, first verdict"
OTHER = "other"
LIMIT_S = 300


def fitted(folder: Path, size: int) -> Path:
    """Fit the models of two products that look alike; returns the artifacts folder."""
    from neverblink.trainer.fitting.fit import fit
    from neverblink.trainer.fitting.settings import FitSettings

    artifacts = fit_striped(folder, size=size)
    images = sorted((folder / "good").iterdir())
    fit(
        images,
        artifacts / OTHER,
        FitSettings(product=OTHER, name=OTHER, size=size, ratio=0.1, brightness=(1.0,)),
    )
    return artifacts


def plant_of(line: ScoredLine, products: int, cache: Path, threads: int) -> dict[str, object]:
    """Return a plant file of one line or of two, each with a product of its own."""
    document: dict[str, object] = orjson.loads(line.plant.model_dump_json())
    document["scorer"] = {"max_batch": 8, "threads": threads}
    document["storage"]["model_cache"] = str(cache)  # type: ignore[index]
    if products > 1:
        document["products"].append({"name": OTHER, "artifact": OTHER})  # type: ignore[attr-defined]
        document["lines"][1]["stations"][0]["product"] = OTHER  # type: ignore[index]
    return document


async def one_start(line: ScoredLine, file: Path, services: str, threads: int) -> dict[str, float]:
    """Start a scorer with a frame of each line waiting; returns processor seconds by stage, and its MiB at the end."""
    described = yaml.safe_load(file.read_text())  # noqa: ASYNC240 - a small file
    async with EventConsumer(line.kafka, "verdicts", client_id="bench") as consumer:
        await sent_frames(line, described["lines"])
        pipe = asyncio.subprocess.PIPE
        reached: dict[str, float] = {}
        async with started(file, environment(services, threads), log_level="info", stderr=pipe) as scorer:
            assert scorer.stderr is not None
            reading = asyncio.create_task(_stages(scorer.stderr, scorer.pid, reached))
            async with asyncio.timeout(LIMIT_S):
                waiting = {"line-1", "line-2"}
                while waiting:
                    for record in await consumer.poll():
                        waiting.discard(record.read(Verdict)[0].line)
            reached[TOLD] = cpu_s(scorer.pid)
            memory = resident_mib(scorer.pid)
        await reading
    order = [*STAGES, TOLD]
    before = dict(zip(order, [0.0, *(reached[name] for name in order)], strict=False))
    return {name: reached[name] - before[name] for name in order} | {"all": reached[TOLD], "MiB": memory}


async def sent_frames(line: ScoredLine, lines: Sequence[Mapping[str, Any]]) -> None:
    """Send a frame of each line, of its station's product."""
    async with line.producer() as producer:
        for number, described in enumerate(lines, 1):
            product = described["stations"][0]["product"]
            frame: Frame = line.frame(number, line=described["name"], left_s=3600, product=product)
            await sent(producer, frame)


async def _stages(told: asyncio.StreamReader, pid: int, reached: dict[str, float]) -> None:
    async for words in told:
        for stage, sentence in STAGES.items():
            if sentence in words.decode():
                reached[stage] = cpu_s(pid)


def environment(services: str, threads: int) -> dict[str, str]:
    """Return a scorer's environment: the checkout that it runs, and the threads of its libraries."""
    rest = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{services}:{rest}", "OMP_NUM_THREADS": str(threads)}


def told(runs: Mapping[str, list[dict[str, float]]]) -> list[str]:
    """Return medians by stage, in lines."""
    lines = []
    for name, found in runs.items():
        stages = ", ".join(f"{stage} {median(run[stage] for run in found):.2f}" for stage in found[0])
        lines.append(f"{name} ({len(found)} starts): {stages}")
    return lines


async def measure(repeats: int, size: int, threads: int, beside: Path | None) -> None:
    """Start all kinds in turn, and print what was measured."""
    kinds = {"this": str(Path(__file__).parents[2] / "services")}
    if beside is not None:
        kinds["beside"] = str(beside)
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        artifacts = fitted(Path(folder), size)
        async with DevelopmentBroker() as broker:
            for number in range(repeats + 1):
                for products in (1, 2):
                    for kind, services in kinds.items():
                        line = ScoredLine(broker.bootstrap, artifacts)
                        await ensure_topics(line.kafka)
                        file = Path(folder) / f"{kind}-{products}.yaml"
                        cache = Path(folder) / f"cache-{kind}-{products}"
                        file.write_text(yaml.safe_dump(plant_of(line, products, cache, threads)))
                        found = await one_start(line, file, services, threads)
                        name = f"{kind}, {products} products, {'restart' if number else 'first start'}"
                        runs.setdefault(name, []).append(found)
                        print(name, {stage: round(value, 2) for stage, value in found.items()}, flush=True)
    print(f"\nprocessor seconds of a scorer's start, medians; {size} px, {threads} threads")
    print("\n".join(told(runs)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="so many restarts of each kind")
    parser.add_argument("--size", type=int, default=256, help="side of what the network sees, px")
    parser.add_argument("--threads", type=int, default=1, help="of the libraries")
    parser.add_argument("--beside", type=Path, help="the folder `services` of another checkout")
    settings = parser.parse_args()
    asyncio.run(measure(settings.repeats, settings.size, settings.threads, settings.beside))


if __name__ == "__main__":
    main()
