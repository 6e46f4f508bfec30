"""From reviews on Kafka to a challenger in shadow, live, and back: the scores before and after are the same."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import orjson
import pytest
import yaml
from camera_line import frame_of, line_of, verdict_of
from plates import fit_plates, plate, write_plates

from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import ArtifactRef, Event, Frame, Judgement, ModelSlots, Review, Slot, Verdict
from neverblink.events.identity import verdict_id
from neverblink.events.parts import Decision, Reason
from neverblink.kafka import LatestEvents, ensure_topics
from neverblink.ledger.evidence_book import FRAME, EvidenceBook, Picture, picture_id
from neverblink.ledger.writing import keep
from neverblink.model_registry import registry
from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.model_registry.changes import ModelsError, Stamp, Which
from neverblink.plant import Plant, load_plant
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.trainer.datasets.confirmed_images import confirmed_images, read_index
from neverblink.trainer.retraining.jobs import run_retrain
from neverblink.trainer.retraining.reviewed_images import bring_reviewed
from neverblink.trainer.retraining.settings import RetrainJob
from neverblink.vision.artifact import load_artifact
from neverblink.vision.inspector import Inspector, extractor_of, inspect
from rigs.scored_line import png

STATION = Which(stations=("line-1/top",))
PARTS = 40


def picture(number: int) -> np.ndarray:
    """Return a plate that is stamped from now on, (64, 64, 3) uint8; every tenth has a scratch."""
    grey, _ = plate(5000 + number, scratched=number % 10 == 0)
    grey[40:52, 12:24] = 40
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows no stamp."""
    folder = tmp_path_factory.mktemp("champion")
    fit_plates(write_plates(folder / "plates", train=30, test=1), folder / "plate")
    return folder / "plate"


@pytest.fixture
async def plant(development: DevelopmentBroker, champion: Path, tmp_path: Path) -> Path:
    """A plant with that model, and the verdicts, reviews and kept frames of stamped parts."""
    shutil.copytree(champion, tmp_path / "artifacts" / "plate")
    described = {
        "site": "test",
        "kafka": {"bootstrap": development.bootstrap, "topic_prefix": "retrain", "partitions": 2, "replication": 1},
        "storage": {"artifacts": str(tmp_path / "artifacts")},
        "products": [{"name": "plate", "artifact": "plate"}],
        "lines": [line_of({"product": "plate"}).model_dump(mode="json")],
    }
    path = tmp_path / "plant.yaml"
    path.write_text(yaml.safe_dump(described))
    kafka = load_plant(path).kafka
    await ensure_topics(kafka)
    frames = [part(number) for number in range(PARTS)]
    await asyncio.to_thread(record, load_plant(path), frames, *map(reject_of, frames))
    first = [review_of(frame, Judgement.INCONCLUSIVE, minutes=1) for frame in frames[:3]]
    await asyncio.to_thread(record, load_plant(path), [], *first, *map(review_of, frames))
    return path


def record(plant: Plant, frames: list[Frame], *events: Event) -> None:
    """Write events into the records, and the frames into the evidence store, as the ledger does."""
    database = Database(plant.storage.ledger, create=True)
    keep(database, events, datetime.now(UTC))
    assert plant.records.evidence.store is not None
    store = EvidenceStore(plant.records.evidence.store)
    pictures = [
        Picture(
            id=picture_id(frame.id, FRAME), frame_id=frame.id, verdict_id=verdict_id(frame.id), line=frame.line,
            station=frame.station, product=frame.product, kind=FRAME, why="reject", captured=frame.captured,
            digest=store.put(frame.body), bytes=frame.size, content_type=frame.content_type,
        )
        for frame in frames
    ]  # fmt: skip
    EvidenceBook(database, plant.records.evidence, timedelta(hours=6)).keep(pictures, datetime.now(UTC))
    database.close()


def part(number: int) -> Frame:
    captured = datetime.now(UTC) - timedelta(minutes=PARTS - number)
    return frame_of(number, body=png(picture(number)), at=captured, product="plate")


def reject_of(frame: Frame) -> Verdict:
    found = {
        "decision": Decision.REJECT,
        "reason": Reason.ANOMALY,
        "score": 2.0,
        "threshold": 1.0,
        "ratio": 2.0,
        "artifact": ArtifactRef(name="plate", version="1", digest="sha256:" + "0" * 64),
        "holdout": frame.seq == 1,
    }
    return verdict_of(frame).model_copy(update=found)


def review_of(frame: Frame, judgement: Judgement | None = None, *, minutes: int = 2) -> Review:
    defective = frame.seq % 10 == 0
    return Review(
        id=f"{frame.id}-{minutes}",
        verdict=verdict_id(frame.id),
        frame_id=frame.id,
        line=frame.line,
        station=frame.station,
        product=frame.product,
        part=frame.part,
        judgement=judgement or (Judgement.DEFECT if defective else Judgement.NORMAL),
        defect_type="scratch" if defective else None,
        reviewer="r.lindqvist",
        at=frame.captured + timedelta(minutes=minutes),
    )


def scores(folder: Path) -> list[float]:
    artifact = load_artifact(folder)
    # The same search each time: which one is fastest is measured, and they differ in the last digits.
    inspector = Inspector(artifact, extractor_of(artifact), search="gemm")
    return [anomaly.score for anomaly in inspect([(inspector, picture(number)) for number in range(4)])]


async def slots(plant: Plant) -> ModelSlots:
    async with LatestEvents(plant.kafka, ModelSlots, client_id="test") as latest:
        return [event for _, event in await latest.to_the_end(10) if event is not None][-1]


def fetched(plant: Plant, slot: Slot | None, place: Path) -> Path:
    """Fetch what a slot names as a scorer does; None is the plant file's."""
    if slot is None:
        return plant.artifact_folder(plant.product("plate"))
    place.mkdir()
    store = ArtifactStore(plant.storage)
    manifest, _ = store.manifest(slot.location, place, digest=slot.artifact.digest)
    store.files(slot.location, manifest, place)
    return place


def asked(plant: Path, folder: Path, **more: object) -> RetrainJob:
    """Ask for a challenger that goes into shadow."""
    settings = {
        "normals": folder / "confirmed",
        "out": folder / "artifacts" / "plate-2",
        "plant": plant,
        "station": STATION.stations,
        "reviews": True,
        "shadow": True,
        "by": "r.lindqvist",
        "least": 20,
        "least_held_out": 3,
    }
    return RetrainJob.model_validate(settings | more)


@pytest.mark.plant
async def test_reviews_make_a_challenger_that_goes_into_shadow_live_and_back_to_identical_scores(
    plant: Path, tmp_path: Path
) -> None:
    described, artifacts = load_plant(plant), tmp_path / "artifacts"
    stamp = Stamp("r.lindqvist", None, datetime.now(UTC))
    before = scores(fetched(described, None, tmp_path / "before"))
    made = await asyncio.to_thread(run_retrain, asked(plant, tmp_path))
    assert made.done.promotable
    confirmed = confirmed_images(tmp_path / "confirmed")
    assert (len(confirmed.normals), len(confirmed.defects), confirmed.inconclusive) == (36, 4, 0)
    rows = read_index(tmp_path / "confirmed" / "index.jsonl")
    assert {row.source for row in rows} == {"corrected-false-reject", "confirmed-reject", "audited"}
    figures = orjson.loads((artifacts / "plate-2.json").read_bytes())
    assert figures["challenger"]["false_reject_rate"] < figures["champion"]["false_reject_rate"] == 1
    state = await slots(described)
    assert state.active is None
    assert state.shadow is not None
    assert state.shadow.artifact.digest == load_artifact(artifacts / "plate-2").digest
    assert state.why is not None
    assert state.why.startswith("retrained on")
    await registry.promote(described, STATION, stamp)
    live = await slots(described)
    assert scores(fetched(described, live.active, tmp_path / "live")) != before
    await registry.roll_back(described, STATION, stamp)
    back = await slots(described)
    assert (back.by, back.active, back.shadow) == ("r.lindqvist", None, live.active)
    assert scores(fetched(described, back.active, tmp_path / "back")) == before


async def test_a_refused_challenger_is_promoted_only_by_force_and_the_reason_stays(plant: Path, tmp_path: Path) -> None:
    described = load_plant(plant)
    stamped = tmp_path / "stamp-defects"
    stamped.mkdir()
    (stamped / "stamp.png").write_bytes(png(picture(4001)))
    stamp = Stamp("r.lindqvist", None, datetime.now(UTC))
    made = await asyncio.to_thread(run_retrain, asked(plant, tmp_path, defects=[stamped]))
    assert not made.done.promotable
    async with LatestEvents(described.kafka, ModelSlots, client_id="test") as latest:
        assert await latest.to_the_end(10) == [], "what was refused is not even put in shadow"
    await registry.shadow(described, STATION, "plate-2", None, stamp)
    with pytest.raises(ModelsError, match=r"was refused by its retraining: 1 of 5 known defective parts would escape"):
        await registry.promote(described, STATION, stamp)
    with pytest.raises(ModelsError, match="say why it shall score nevertheless"):
        await registry.promote(described, STATION, stamp, force=True)
    told = Stamp("r.lindqvist", "that stamp is wanted now", datetime.now(UTC))
    await registry.promote(described, STATION, told, force=True)
    state = await slots(described)
    assert state.active is not None
    assert state.why is not None
    assert state.why.startswith("forced: that stamp is wanted now (its retraining had refused it: 1 of 5 known")


async def test_reviewed_parts_without_a_picture_are_counted_and_a_later_review_changes_the_index(
    plant: Path, tmp_path: Path
) -> None:
    described, folder = load_plant(plant), tmp_path / "confirmed"
    bring = partial(bring_reviewed, described, STATION.of(described), folder, since=datetime.now(UTC) - timedelta(1))
    gone = part(41)
    record(described, [], reject_of(gone), review_of(gone))
    kept = bring()
    assert (kept.reviewed, kept.new, kept.missing, kept.unreadable) == (41, 40, 1, 0)
    first = read_index(folder / "index.jsonl")[1]
    (frame,) = [name.stem for name in folder.rglob("*.png") if name.relative_to(folder).as_posix() == first.image]
    changed = review_of(part(1), Judgement.DEFECT, minutes=9).model_copy(
        update={"frame_id": frame, "verdict": verdict_id(frame), "at": datetime.now(UTC), "defect_type": "dent"}
    )
    record(described, [], changed)
    assert bring().new == 0
    again = {row.image: row for row in read_index(folder / "index.jsonl")}
    assert len(again) == 40
    assert (again[first.image].judgement, again[first.image].type) == (Judgement.DEFECT, "dent")
    back = changed.model_copy(
        update={"id": "back", "judgement": Judgement.INCONCLUSIVE, "withdrawn": True, "at": datetime.now(UTC)}
    )
    record(described, [], back)
    bring()
    assert read_index(folder / "index.jsonl")[1].judgement is Judgement.INCONCLUSIVE


async def test_a_damaged_picture_is_not_learnt_from(plant: Path, tmp_path: Path) -> None:
    described = load_plant(plant)
    damaged = next((tmp_path / "evidence").glob("*/*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    kept = bring_reviewed(
        described, STATION.of(described), tmp_path / "confirmed", since=datetime.now(UTC) - timedelta(1)
    )
    assert (kept.new, kept.unreadable) == (39, 1)
