"""Offline inspection by the threshold in force: what people edited on a running line, against what it decided."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml

from neverblink.brokers.development import DevelopmentBroker
from neverblink.cli import main
from neverblink.events import Verdict
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.model_registry import registry
from neverblink.model_registry.changes import Stamp, Which
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from neverblink.trainer.offline_inspection.job import run_inspect
from neverblink.trainer.offline_inspection.settings import InspectJob
from neverblink.vision.artifact import load_artifact
from rigs.scored_line import ScoredLine, sent

LENIENT = 1000.0


@pytest.fixture
async def line(development: DevelopmentBroker, artifacts: Path, tmp_path: Path) -> ScoredLine:
    found = ScoredLine(development.bootstrap, artifacts)
    storage = found.plant.storage.model_copy(update={"model_cache": tmp_path / "cache"})
    found.plant = found.plant.model_copy(update={"storage": storage})
    await ensure_topics(found.kafka)
    return found


@pytest.fixture
def plant(line: ScoredLine, tmp_path: Path) -> Path:
    path = tmp_path / "plant.yaml"
    path.write_text(yaml.safe_dump(orjson.loads(line.plant.model_dump_json())))
    return path


async def scored(line: ScoredLine, models: Models, count: int) -> None:
    """Let a scorer decide so many parts of each line; every fifth has a defect."""
    stop = asyncio.Event()
    consumer = EventConsumer(line.kafka, "frames", client_id="scorer", group=f"{line.kafka.topic_prefix}-scorer")
    producer = EventProducer(line.kafka, source="/test/scorer", client_id="scorer")
    async with producer, consumer:
        work = asyncio.create_task(
            Scorer(consumer, producer, models, line.plant.scorer, scales=line.plant.scales()).run(stop)
        )
        frames = [line.frame(number, line=name) for number in range(1, count + 1) for name in ("line-1", "line-2")]
        await sent(producer, *frames)
        await line.read(Verdict, lambda found: len(found) >= len(frames))
        stop.set()
        await work


async def inspected(artifacts: Path, plant: Path, out: Path, **asked: Any) -> list[dict[str, Any]]:
    settings = {"artifact": artifacts / "striped", "plant": plant, "out": out, "batch": 4, **asked}
    await asyncio.to_thread(run_inspect, InspectJob.model_validate(settings))
    found: list[dict[str, Any]] = pq.read_table(out / "inspection.parquet").to_pylist()
    return found


@pytest.mark.plant
async def test_against_the_verdicts_of_an_edited_threshold_only_the_threshold_in_force_compares_like_with_like(
    line: ScoredLine, plant: Path, artifacts: Path, tmp_path: Path
) -> None:
    stamp = Stamp("r.lindqvist", "too many rejects", datetime.now(UTC))
    edited = await registry.edit_threshold(line.plant, Which(stations=("line-1/top",)), LENIENT, stamp)
    await scored(line, await asyncio.to_thread(Models.load, line.plant, edited.events), 10)
    span = {"kafka": True, "from": datetime.now(UTC) - timedelta(minutes=5), "against": "verdicts"}
    rows = await inspected(artifacts, plant, tmp_path / "in-force", threshold="in-force", **span)
    own = load_artifact(artifacts / "striped").threshold
    assert len(rows) == 20
    assert {row["change"] for row in rows} == {"agree"}
    assert {(row["line"], row["threshold"]) for row in rows} == {("line-1", LENIENT), ("line-2", own)}
    assert {row["line"] for row in rows if row["decision"] == "reject"} == {"line-2"}
    rows = await inspected(artifacts, plant, tmp_path / "own", **span)
    assert [row["line"] for row in rows if row["change"] == "newly-rejected"] == ["line-1", "line-1"]


@pytest.mark.parametrize(
    "words", [("pictures",), ("pictures", "--plant", "plant.yaml"), ("pictures", "--station", "line-1/top")]
)
def test_a_threshold_in_force_is_a_stations(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["neverblink", "inspect", "--artifact", "pcb", "--threshold", "in-force", *words]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "in-force is a station's" in " ".join(capsys.readouterr().err.replace("│", " ").split())
