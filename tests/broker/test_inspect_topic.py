"""Offline inspection of frames that Kafka still keeps: what the scorer said, and nothing on the broker changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from neverblink.events import Verdict
from neverblink.kafka import EventConsumer, EventProducer, KafkaError
from neverblink.plant import PlantError
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from neverblink.storage.frame_objects import ObjectStore
from neverblink.telemetry.part_traces import PartIds
from neverblink.trainer.collecting.jobs import run_look_over
from neverblink.trainer.collecting.settings import LookOverJob
from neverblink.trainer.datasets.inputs import InspectionError
from neverblink.trainer.offline_inspection.inspection import OfflineInspection
from neverblink.trainer.offline_inspection.job import run_inspect
from neverblink.trainer.offline_inspection.settings import InspectJob
from rigs.scored_line import ScoredLine, png, sent, striped

KEPT_BACK = {"seconds"}


@pytest.fixture(params=["development", pytest.param("apache", marks=pytest.mark.plant)])
def broker(request: pytest.FixtureRequest) -> Any:
    """Both brokers; Apache Kafka where there is time for it."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def plant(line: ScoredLine, tmp_path: Path) -> Path:
    """The plant file, with an object store."""
    path = tmp_path / "plant.yaml"
    described = orjson.loads(line.plant.model_dump_json())
    described["storage"]["objects"] = str(tmp_path / "objects")
    path.write_text(yaml.safe_dump(described))
    return path


@contextlib.asynccontextmanager
async def scoring(line: ScoredLine) -> AsyncIterator[None]:
    stop = asyncio.Event()
    consumer = EventConsumer(line.kafka, "frames", client_id="scorer", group=f"{line.kafka.topic_prefix}-scorer")
    producer = EventProducer(line.kafka, source="/test/scorer", client_id="scorer")
    async with producer, consumer:
        work = asyncio.create_task(
            Scorer(consumer, producer, Models.load(line.plant), line.plant.scorer, scales=line.plant.scales()).run(stop)
        )
        yield
        stop.set()
        await work


async def inspected(
    asked: dict[str, Any], artifacts: Path, out: Path, **more: Any
) -> tuple[bool, list[dict[str, object]]]:
    """Run the job beside the broker; return whether its result is good, and its rows."""
    settings = {"artifact": artifacts / "striped", "batch": 4, "save_every": 0, "out": out, "kafka": True}
    good = (await asyncio.to_thread(run_inspect, InspectJob.model_validate(settings | asked | more))).good
    found = pq.read_table(out / "inspection.parquet").to_pylist()
    return good, [{name: value for name, value in row.items() if name not in KEPT_BACK} for row in found]


def span_of(since: datetime, until: datetime | None, plant: Path, **more: Any) -> dict[str, Any]:
    """Ask for the frames of a span."""
    return {"from": since, "to": until, "plant": plant, **more}


async def a_moment() -> datetime:
    """Return an instant that no record before or after shares."""
    await asyncio.sleep(0.01)
    now = datetime.now(UTC)
    await asyncio.sleep(0.01)
    return now


@pytest.mark.plant
async def test_a_span_of_the_topic_is_inspected_as_the_scorer_did_and_nothing_is_committed(
    line: ScoredLine, plant: Path, artifacts: Path, tmp_path: Path
) -> None:
    frames = [line.frame(number, line=name) for number in range(1, 16) for name in ("line-1", "line-2")]
    async with line.producer() as producer:
        await sent(producer, line.frame(90))
        since = await a_moment()
        async with scoring(line):
            await sent(producer, *frames, frames[0])
            until = await a_moment()
            await sent(producer, line.frame(91))
            verdicts = await line.read(Verdict, lambda found: len({one.frame_id for one in found}) >= 32)
    said = {verdict.frame_id: verdict for verdict in verdicts}
    what = span_of(since, until, plant, against="verdicts")
    good, rows = await inspected(what, artifacts, tmp_path / "run")
    assert good
    # The frame that was sent twice is one row, those before and after the span are none.
    assert sorted(str(row["name"]) for row in rows) == sorted(frame.id for frame in frames)
    by_id = {frame.id: frame for frame in frames}
    for row in rows:
        frame, verdict = by_id[str(row["name"])], said[str(row["name"])]
        assert (row["line"], row["station"], row["part"], row["captured"]) == (
            frame.line,
            frame.station,
            frame.part,
            frame.captured,
        )
        assert (row["decision"], row["reason"], row["unsure"]) == (verdict.decision, verdict.reason, verdict.unsure)
        assert row["score"] == pytest.approx(verdict.score, rel=1e-4)
        assert row["threshold"] == verdict.threshold
        assert verdict.artifact is not None
        assert row["artifact_digest"] == verdict.artifact.digest
        assert row["change"] == "agree"
        # Two stations, half a millimetre a pixel.
        assert [one["area_mm2"] for one in row["defects"]] == [one.area_mm2 for one in verdict.defects]  # type: ignore[attr-defined]
    admin = AIOKafkaAdminClient(bootstrap_servers=line.kafka.bootstrap)
    await admin.start()
    groups = await admin.list_consumer_groups()
    await admin.close()
    # Other tests' groups have other prefixes; whoever reads without a group has none.
    assert not [name for name, *_ in groups if "inspect" in name]
    assert [name for name, *_ in groups if line.kafka.topic_prefix in name] == [f"{line.kafka.topic_prefix}-scorer"]
    page = (tmp_path / "run/report.html").read_text()
    assert "line-2/top" in page
    assert page.count("data:image/jpeg") == 2 * 18


@pytest.mark.plant
async def test_a_frame_that_is_judged_again_offline_is_told_in_its_parts_trace(
    line: ScoredLine, plant: Path, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, told = TracerProvider(id_generator=PartIds()), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(told))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    since = await a_moment()
    async with line.producer() as producer:
        await sent(producer, line.frame(1), line.frame(2))
    await inspected(span_of(since, None, plant), artifacts, tmp_path / "run")
    spans = told.get_finished_spans()
    senders = {(one.context.trace_id, one.context.span_id) for one in spans if one.name.startswith("send ")}
    again = [one for one in spans if one.name == "judge again"]
    assert {(one.parent.trace_id, one.parent.span_id) for one in again if one.parent} == senders
    assert {(one.attributes or {})["neverblink.part"] for one in again} == {line.frame(n).part for n in (1, 2)}


async def test_what_is_no_usable_frame_is_a_row_with_its_reason(
    line: ScoredLine, plant: Path, artifacts: Path, tmp_path: Path
) -> None:
    since = await a_moment()
    store = ObjectStore(str(tmp_path / "objects"))
    large = store.put(line.frame(2))
    lost = store.put(line.frame(3))
    (tmp_path / "objects" / str(lost.dataref).partition("/objects/")[2]).unlink()
    broken = {
        "corrupt-image": line.frame(4, body=b"\x89PNG\r\n\x1a\n and then nothing"),
        "digest-mismatch": line.frame(6, sha256="0" * 64),
        "object-missing": lost,
    }
    async with line.producer() as producer:
        await sent(producer, line.frame(1), large, *broken.values(), line.frame(7, product="other"))
        raw = AIOKafkaProducer(bootstrap_servers=line.kafka.bootstrap)
        await raw.start()
        await raw.send_and_wait(f"{line.kafka.topic_prefix}.frames", b"no headers at all", key=b"line-1/top")
        await raw.stop()
    good, rows = await inspected(span_of(since, None, plant), artifacts, tmp_path / "run")
    assert good
    reasons = {row["name"]: row["reason"] for row in rows if row["decision"] == "unscored"}
    assert {str(reasons.pop(frame.id)) for frame in broken.values()} == set(broken)
    assert list(reasons.values()) == ["bad-event"]
    # The frame of another product is none of this inspection's.
    assert len(rows) == 6
    (claimed,) = [row for row in rows if row["name"] == large.id]
    assert claimed["decision"] == "pass"


async def test_without_an_object_store_a_large_image_is_told_as_missing(
    line: ScoredLine, artifacts: Path, tmp_path: Path
) -> None:
    plant = tmp_path / "plant.yaml"
    plant.write_text(yaml.safe_dump(orjson.loads(line.plant.model_dump_json())))
    since = await a_moment()
    async with line.producer() as producer:
        await sent(producer, line.frame(1, dataref="s3://frames/1.png", body=b"", size=9))
    good, (row,) = await inspected(span_of(since, None, plant), artifacts, tmp_path / "run")
    assert not good
    assert row["reason"] == "object-missing"
    assert "no storage.objects" in str(row["detail"])


@pytest.mark.plant
async def test_an_inspection_that_was_stopped_goes_on_with_the_offsets_it_began_with(
    line: ScoredLine, plant: Path, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = await a_moment()
    what = span_of(since, None, plant)
    async with line.producer() as producer:
        await sent(producer, *(line.frame(n, line=name) for n in range(1, 16) for name in ("line-1", "line-2")))
        _, whole = await inspected(what, artifacts, tmp_path / "whole")
        judge, batches = OfflineInspection._rows, 0

        def stopping(self: OfflineInspection, batch: object) -> object:
            nonlocal batches
            batches += 1
            if batches == 5:
                raise KafkaError("the broker is away")
            return judge(self, batch)  # type: ignore[arg-type]

        with monkeypatch.context() as patched:
            patched.setattr(OfflineInspection, "_rows", stopping)
            with pytest.raises(KafkaError):
                await inspected(what, artifacts, tmp_path / "stopped")
        assert len(list((tmp_path / "stopped/parts").glob("*.parquet"))) == 4
        # Published later: not what was asked for when it began.
        await sent(producer, *(line.frame(n) for n in range(20, 30)))
    _, rows = await inspected(what, artifacts, tmp_path / "stopped")
    assert len(rows) == 30
    assert [(row["name"], row["decision"]) for row in rows] == [(row["name"], row["decision"]) for row in whole]
    assert [row["score"] for row in rows] == pytest.approx([row["score"] for row in whole], rel=1e-5)


@pytest.mark.plant
async def test_a_sample_of_one_lines_parts_decides_its_lot(
    line: ScoredLine, plant: Path, artifacts: Path, tmp_path: Path
) -> None:
    since = await a_moment()
    async with line.producer() as producer:
        # Parts whose number is no multiple of five are good.
        numbers = [number for number in range(1, 40) if number % 5]
        await sent(producer, *(line.frame(n, line=name) for n in numbers for name in ("line-1", "line-2")))
    what = span_of(since, None, plant, line=["line-2"])
    good, rows = await inspected(what, artifacts, tmp_path / "run", aql=1.5, seed=7)
    assert good
    # 32 parts are code letter D: 8 of them.
    assert len(rows) == len({row["part"] for row in rows}) == 8
    assert {row["line"] for row in rows} == {"line-2"}
    _, others = await inspected(what, artifacts, tmp_path / "other", aql=1.5, seed=8)
    assert {row["part"] for row in others} != {row["part"] for row in rows}


async def test_what_cannot_be_inspected_is_said_before_anything_is_kept(
    line: ScoredLine, plant: Path, artifacts: Path, tmp_path: Path
) -> None:
    since = await a_moment()
    async with line.producer() as producer:
        await sent(producer, line.frame(1, product="other", body=png(striped(1))))
    with pytest.raises(InspectionError, match=r"there are no frames of striped .* other products: 1 of other"):
        await inspected(span_of(since, None, plant), artifacts, tmp_path / "run")
    assert not (tmp_path / "run/run.json").exists()
    with pytest.raises(PlantError, match="the plant has no line 'line-9'"):
        await inspected(span_of(since, None, plant, line=["line-9"]), artifacts, tmp_path / "run")
    with pytest.raises(PlantError, match="no station 'bottom'"):
        await inspected(span_of(since, None, plant, station=["line-1/bottom"]), artifacts, tmp_path / "run")
    with pytest.raises(InspectionError, match="holds no time"):
        await inspected(span_of(since, since, plant), artifacts, tmp_path / "run")
    with pytest.raises(InspectionError, match="still to come"):
        await inspected(span_of(since, since + timedelta(hours=1), plant), artifacts, tmp_path / "run")


async def test_pictures_of_the_running_line_are_drawn_from_its_frames_and_looked_over(
    line: ScoredLine, plant: Path, tmp_path: Path
) -> None:
    async with line.producer() as producer:
        await sent(producer, line.frame(90))
        since = await a_moment()
        frames = [line.frame(number) for number in range(1, 9)]
        known = line.frame(20).model_copy(update={"challenge": True})
        await sent(producer, *frames, known, line.frame(30, body=b"no picture"))
    asked = {"images": tmp_path / "taken", "station": "line-1/top", "plant": plant, "from": since}
    done = await asyncio.to_thread(run_look_over, LookOverJob.model_validate(asked))
    assert (done.taken, done.frames, done.unreadable) == (8, 8, 1)
    assert len(done.pictures) == 8, "neither what was sent before nor the known part"
    fewer = {**asked, "images": tmp_path / "fewer", "take": 3}
    done = await asyncio.to_thread(run_look_over, LookOverJob.model_validate(fewer))
    assert (done.taken, done.frames) == (3, 8)
    assert {path.name for path in (tmp_path / "fewer").iterdir()} <= {
        path.name for path in (tmp_path / "taken").iterdir()
    }
