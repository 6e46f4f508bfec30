"""The frames that matter are in the evidence store, byte for byte, before their topic forgets them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition
from camera_line import frame_of, line_of
from sqlalchemy import select

from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import ArtifactRef, Decision, DriftReport, Event, Evidence, Frame, Verdict
from neverblink.events.drift import AlertStage, DriftAlert, DriftState
from neverblink.events.identity import evidence_id, verdict_id
from neverblink.events.parts import Times
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.ledger import evidence_keeper
from neverblink.ledger.evidence_book import FRAME
from neverblink.ledger.service import serve
from neverblink.plant import Plant
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.part_tables import EvidenceFileRow, EvidenceWantedRow
from neverblink.records.tables import VerdictRow
from neverblink.storage.frame_objects import ObjectStore
from rigs.scored_line import sent

ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)


def plant_at(development: DevelopmentBroker, folder: Path, **policy: Any) -> Plant:
    return Plant.model_validate(
        {
            "site": "test",
            "kafka": {
                "bootstrap": development.bootstrap, "topic_prefix": f"e{uuid4().hex[:8]}", "partitions": 2,
                "replication": 1,
            },
            "storage": {"ledger": f"sqlite:///{folder / 'ledger.db'}", "objects": str(folder / "objects")},
            "records": {
                "evidence": {"store": str(folder / "evidence"), "passes": 0, "leave_free_gib": 0, **policy}
            },
            "products": [{"name": "pcb", "artifact": "pcb"}],
            "lines": [line_of({"product": "pcb"}).model_dump(mode="json")],
        }
    )  # fmt: skip


def frame(number: int, body: bytes | None = None, **more: object) -> Frame:
    return frame_of(number, body=body or b"frame %d " % number * 200, at=datetime.now(UTC), **more)


def verdict_about(one: Frame, place: tuple[int, int] | None, decision: Decision, **more: object) -> Verdict:
    scored = decision is not Decision.UNSCORED
    fields: dict[str, object] = {
        "id": verdict_id(one.id),
        "frame_id": one.id,
        "line": one.line,
        "station": one.station,
        "product": one.product,
        "part": one.part,
        "seq": one.seq,
        "decision": decision,
        "reason": None if decision is Decision.PASS else "anomaly",
        **({"score": 1.0, "threshold": 2.0, "ratio": 0.5, "artifact": ARTIFACT} if scored else {}),
        "times": Times(captured=one.captured),
        "deadline": one.deadline,
        "frame_partition": place and place[0],
        "frame_offset": place and place[1],
    }
    return Verdict.model_validate({**fields, **more})


async def places(plant: Plant, *frames: Frame) -> list[tuple[int, int]]:
    """Send frames and return where each lies on its topic."""
    async with EventProducer(plant.kafka, source="/test", client_id="test") as producer:
        await sent(producer, *frames)
    found: dict[str, tuple[int, int]] = {}
    async with EventConsumer(plant.kafka, "frames", client_id="test") as consumer, asyncio.timeout(20):
        while len(found) < len(frames):
            for record in await consumer.poll():
                found[record.read(Frame)[0].id] = (record.partition, record.offset)
    return [found[one.id] for one in frames]


async def send(plant: Plant, *events: Event) -> None:
    async with EventProducer(plant.kafka, source="/test", client_id="test") as producer:
        await sent(producer, *events)


@asynccontextmanager
async def ledger(plant: Plant) -> AsyncIterator[Callable[[type[Any]], list[Any]]]:
    """Run the ledger beside the block; gives a way to read the rows of a table."""
    stop = asyncio.Event()
    running = asyncio.create_task(serve(plant, stop))

    def rows(table: type[Any]) -> list[Any]:
        try:
            database = Database(plant.storage.ledger, create=False)
        except Exception:
            return []
        with database.session() as session:
            found = list(session.scalars(select(table)))
        database.close()
        return found

    try:
        yield rows
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await running


async def until(enough: Callable[[], bool], within_s: float = 40) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(enough):  # noqa: ASYNC110 - rows tell nobody
            await asyncio.sleep(0.1)


def object_of(claimed: Frame) -> Path:
    assert claimed.dataref is not None
    return Path(claimed.dataref.removeprefix("file://"))


def stored(plant: Plant, row: EvidenceFileRow) -> bytes:
    assert plant.records.evidence.store is not None
    return EvidenceStore(plant.records.evidence.store).get(row.digest)


async def test_what_a_person_should_look_at_is_kept_byte_for_byte_with_its_overlay_and_nothing_else(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_at(development, tmp_path)
    await ensure_topics(plant.kafka)
    frames = [frame(number, challenge=number == 4) for number in range(6)]
    at = await places(plant, *frames)
    kinds: list[tuple[Decision, dict[str, object]]] = [
        (Decision.REJECT, {}),
        (Decision.UNSCORED, {}),
        (Decision.PASS, {"unsure": True}),
        (Decision.PASS, {"holdout": True}),
        (Decision.PASS, {"challenge": True}),
        (Decision.PASS, {}),
    ]
    verdicts = [
        verdict_about(one, place, what, **more) for one, place, (what, more) in zip(frames, at, kinds, strict=True)
    ]
    overlays = [
        Evidence(
            id=evidence_id(one.id, "overlay"), frame=one.id, verdict=verdict_id(one.id), line=one.line,
            station=one.station, part=one.part, kind="overlay", captured=one.captured, content_type="image/jpeg",
            body=b"overlay %d" % one.seq,
        )
        for one in frames
    ]  # fmt: skip
    own = verdict_about(frame(7), None, Decision.UNSCORED)
    async with ledger(plant) as rows:
        await send(plant, *overlays)  # a picture may come before its verdict
        await send(plant, *verdicts, own)
        await until(lambda: len(rows(EvidenceFileRow)) == 10)
        found = {(row.frame_id, row.kind): row for row in rows(EvidenceFileRow)}
        assert rows(EvidenceWantedRow) == [], "a part without a picture has lost none"
    assert {(name, kind) for name, kind in found} == {
        (one.id, kind) for one in frames[:5] for kind in (FRAME, "overlay")
    }
    assert [found[one.id, FRAME].why for one in frames[:5]] == ["reject", "unscored", "unsure", "holdout", "challenge"]
    for one in frames[:5]:
        row = found[one.id, FRAME]
        assert (row.digest, stored(plant, row)) == (one.sha256, one.body)
        assert stored(plant, found[one.id, "overlay"]) == b"overlay %d" % one.seq


async def test_a_large_frame_comes_from_the_object_store_and_what_is_not_its_bytes_is_refused(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_at(development, tmp_path)
    await ensure_topics(plant.kafka)
    objects = ObjectStore.of(plant.storage)
    assert objects is not None
    large, changed, deleted = (objects.put(frame(number, b"large %d " % number * 9999)) for number in range(3))
    object_of(changed).write_bytes(b"another")
    object_of(deleted).unlink()
    at = await places(plant, large, changed, deleted)
    async with ledger(plant) as rows:
        frames = (large, changed, deleted)
        await send(plant, *(verdict_about(one, place, Decision.REJECT) for one, place in zip(frames, at, strict=True)))
        await until(lambda: len(rows(EvidenceFileRow)) == 1 and all(row.lost for row in rows(EvidenceWantedRow)))
        (row,) = rows(EvidenceFileRow)
        lost = {row.frame_id: row.lost for row in rows(EvidenceWantedRow)}
    assert (row.frame_id, stored(plant, row)) == (large.id, b"large 0 " * 9999)
    assert lost == {changed.id: "digest-mismatch", deleted.id: "object-missing"}


async def test_a_frame_that_its_topic_has_forgotten_is_counted_and_told(
    development: DevelopmentBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plant = plant_at(development, tmp_path)
    await ensure_topics(plant.kafka)
    frames = [frame(number) for number in range(4)]
    at = await places(plant, *frames)
    admin = AIOKafkaAdminClient(bootstrap_servers=plant.kafka.bootstrap)
    await admin.start()
    try:
        topic = TopicPartition(f"{plant.kafka.topic_prefix}.frames", at[0][0])
        await admin.delete_records({topic: RecordsToDelete(before_offset=at[1][1] + 1)})
    finally:
        await admin.close()
    beyond = verdict_about(frame(9), (at[0][0], 99), Decision.REJECT)
    nowhere = verdict_about(frame(10), (77, 0), Decision.REJECT)
    another = verdict_about(frame(11), at[3], Decision.REJECT)
    old_scorer = verdict_about(frame(12), None, Decision.REJECT)
    async with ledger(plant) as rows:
        verdicts = [verdict_about(one, place, Decision.REJECT) for one, place in zip(frames, at, strict=True)]
        await send(plant, *verdicts, beyond, nowhere, another, old_scorer)
        await until(lambda: len(rows(EvidenceFileRow)) == 2 and all(row.lost for row in rows(EvidenceWantedRow)))
        kept = {row.frame_id for row in rows(EvidenceFileRow)}
        lost = {row.frame_id: row.lost for row in rows(EvidenceWantedRow)}
    assert kept == {frames[2].id, frames[3].id}
    assert lost == {
        **{one.frame_id: "gone" for one in (verdicts[0], verdicts[1], beyond, nowhere, another)},
        old_scorer.frame_id: "no-place",
    }
    assert any("are no longer on their topic" in record.getMessage() for record in caplog.records)


@pytest.mark.plant
async def test_everything_around_a_drift_alert_is_kept_and_a_share_of_passes(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_at(development, tmp_path, around_alerts_min=1)
    await ensure_topics(plant.kafka)
    now = datetime.now(UTC)
    frames = [frame_of(n, body=b"%d" % n * 99, at=now - timedelta(minutes=n)) for n in range(4)]
    at = await places(plant, *frames)
    verdicts = [verdict_about(one, place, Decision.PASS) for one, place in zip(frames, at, strict=True)]
    alert = DriftAlert(
        id="a", signal="brightness", stage=AlertStage.RAISED, severity=DriftState.ACT, since=now, raised=now,
        at=now - timedelta(minutes=1.5), artifact="sha256:x", expected=1, found=2, level=2, change="c", cause="c",
        next_step="n",
    )  # fmt: skip
    report = DriftReport(
        id="r", line="line-1", station="top", product="pcb", artifact="sha256:x", opened=now, closed=now, passed=1,
        rejected=0, alerts=(alert,),
    )  # fmt: skip
    async with ledger(plant) as rows:
        await send(plant, *verdicts[:2])
        await until(lambda: len(rows(VerdictRow)) == 2)
        await send(plant, report)
        await send(plant, *verdicts[2:])
        await until(lambda: len(rows(EvidenceFileRow)) == 2, 60)
        found = {row.frame_id: row.why for row in rows(EvidenceFileRow)}
    assert found == {frames[1].id: "alert", frames[2].id: "alert"}


async def test_records_go_on_while_the_store_is_away_and_evidence_catches_up(
    development: DevelopmentBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evidence_keeper, "_RETRY_S", 0.5)
    plant = plant_at(development, tmp_path)
    await ensure_topics(plant.kafka)
    place = tmp_path / "evidence"
    place.write_text("a file where the folder shall be")
    frames = [frame(number) for number in range(3)]
    at = await places(plant, *frames)
    async with ledger(plant) as rows:
        await send(plant, *(verdict_about(one, to, Decision.REJECT) for one, to in zip(frames, at, strict=True)))
        await until(lambda: len(rows(VerdictRow)) == 3 and len(rows(EvidenceWantedRow)) == 3)
        await until(lambda: "evidence is tried again" in caplog.text)
        assert rows(EvidenceFileRow) == []
        place.unlink()
        await until(lambda: len(rows(EvidenceFileRow)) == 3)
        assert sorted(stored(plant, row) for row in rows(EvidenceFileRow)) == sorted(one.body for one in frames)
