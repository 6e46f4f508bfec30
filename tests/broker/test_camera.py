"""The camera node on a broker: every part ends on a topic, whatever happens to the broker or to the node."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
import yaml
from camera_line import line_of

from neverblink.brokers.broker import Broker
from neverblink.brokers.development import Api, DevelopmentBroker
from neverblink.camera.service import CameraNode
from neverblink.events import Decision, Frame, Reason, ShadowVerdict, Verdict
from neverblink.events.envelope import E
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.plant import Kafka, Plant, Storage
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from neverblink.storage.frame_objects import ObjectStore
from neverblink.vision.decode import raw_content_type
from rigs.pictures import video_file
from rigs.scored_line import ScoredLine, sent, striped


def kafka_of(bootstrap: str) -> Kafka:
    return Kafka(bootstrap=bootstrap, topic_prefix=f"t{uuid4().hex[:10]}", partitions=2, replication=1)


async def read(kafka: Kafka, kind: type[E], enough: Callable[[list[E]], bool], within_s: float = 60) -> list[E]:
    """Read a topic from its beginning until `enough`."""
    found: list[E] = []
    async with EventConsumer(kafka, kind.TOPIC, client_id="test-reader") as consumer:
        async with asyncio.timeout(within_s):
            while not enough(found):
                found += [record.read(kind)[0] for record in await consumer.poll()]
    return found


@contextlib.asynccontextmanager
async def node_on(kafka: Kafka, tmp_path: Path, *, budget_s: float, rate: float) -> AsyncIterator[CameraNode]:
    """Run a node of simulated parts with a real producer, and stop both in good order."""
    line = line_of({"trigger": {"kind": "timer", "rate_per_s": rate}}, budget_s=budget_s)
    stop = asyncio.Event()
    async with EventProducer(kafka, source="/test/camera", client_id="camera") as producer:
        node = CameraNode(line, line.stations[0], producer, Storage(spool=tmp_path / "spool"))
        work = asyncio.create_task(node.run(stop))
        try:
            yield node
        finally:
            stop.set()
            await work


async def all_frames(kafka: Kafka, node: CameraNode) -> list[Frame]:
    """Read the frames of a node that has stopped, until each part that it counted is among them."""
    return await read(kafka, Frame, lambda found: {frame.seq for frame in found} >= set(range(1, node._seq + 1)))


async def until(condition: Callable[[], object], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - what is waited for lies on disk
            await asyncio.sleep(0.02)


async def process_on(kafka: Kafka, tmp_path: Path) -> asyncio.subprocess.Process:
    """Start `neverblink camera` for a station with twenty simulated parts a second and a third of a second each."""
    line = line_of({"trigger": {"kind": "timer", "rate_per_s": 20}}, budget_s=0.3)
    plant = Plant.model_validate(
        {
            "site": "test",
            "kafka": kafka.model_dump(),
            "storage": {"spool": tmp_path / "spool"},
            "products": [{"name": "pcb", "artifact": "pcb"}],
            "lines": [line.model_dump()],
        }
    )
    file = tmp_path / "plant.yaml"
    file.write_text(yaml.safe_dump(orjson.loads(plant.model_dump_json())))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "neverblink", "camera", "--plant", str(file),
        stderr=asyncio.subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


async def test_every_part_of_an_outage_is_told_as_unscored_and_its_frame_follows_for_statistics(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    kafka = kafka_of(development.bootstrap)
    await ensure_topics(kafka, ("frames", "verdicts"))
    async with node_on(kafka, tmp_path, budget_s=0.8, rate=20) as node:
        await read(kafka, Frame, lambda found: len(found) >= 10)
        development.faults.go_away()
        began = node._seq
        await until(lambda: node._seq >= began + 50)
        development.faults.come_back()
        before = node._seq
        await until(lambda: node._seq > before + 20 and not len(node._backlog))
    frames = await all_frames(kafka, node)
    late = {frame.id for frame in frames if frame.published > frame.deadline}
    verdicts = await read(kafka, Verdict, lambda found: {one.frame_id for one in found} >= late)
    assert len(late) >= 20, "fifty parts in two and a half seconds, of which the budget saves sixteen"
    # A part is published in time, or told as unscored and published late.
    told = {verdict.frame_id for verdict in verdicts}
    assert told == late
    assert {verdict.id for verdict in verdicts} == {verdict_id(identity) for identity in told}
    assert {verdict.reason for verdict in verdicts} <= {Reason.BROKER_AWAY, Reason.OVERLOAD, Reason.LATE}
    assert len({frame.id for frame in frames}) == node._seq
    assert list((tmp_path / "spool").rglob("*.event")) == []


async def test_a_broker_that_takes_a_frame_and_loses_the_acknowledgement_costs_nothing(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    kafka = kafka_of(development.bootstrap)
    await ensure_topics(kafka, ("frames", "verdicts"))
    async with node_on(kafka, tmp_path, budget_s=30, rate=50) as node:
        await read(kafka, Frame, lambda found: len(found) >= 3)
        fault = development.faults.drop(Api.PRODUCE, times=2, after=True)
        await until(lambda: fault.hits == 2 and node._seq >= 20)
    frames = await all_frames(kafka, node)
    assert [frame.seq for frame in frames] == list(range(1, node._seq + 1))


async def test_a_frozen_broker_makes_parts_late_and_loses_none(development: DevelopmentBroker, tmp_path: Path) -> None:
    kafka = kafka_of(development.bootstrap)
    await ensure_topics(kafka, ("frames", "verdicts"))
    async with node_on(kafka, tmp_path, budget_s=0.5, rate=20) as node:
        await read(kafka, Frame, lambda found: len(found) >= 5)
        development.faults.freeze()
        await asyncio.sleep(1.5)
        development.faults.unfreeze()
        before = node._seq
        await until(lambda: node._seq > before + 10 and not len(node._backlog))
    assert len({frame.id for frame in await all_frames(kafka, node)}) == node._seq


@pytest.mark.plant
async def test_a_node_killed_during_an_outage_sends_what_it_had_kept_when_it_runs_again(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    kafka = kafka_of(development.bootstrap)
    await ensure_topics(kafka, ("frames", "verdicts"))

    def kept(kind: str) -> set[str]:
        files = (tmp_path / "spool").rglob(f"{kind}/*.event")
        return {path.name.split("-", 1)[1].removesuffix(".event") for path in files}

    first = await process_on(kafka, tmp_path)
    try:
        await read(kafka, Frame, lambda found: len(found) >= 3)
        development.faults.go_away()
        await until(lambda: len(kept("frames")) >= 20 and len(kept("verdicts")) >= 20)
    finally:
        first.send_signal(signal.SIGKILL)
        await first.wait()
    frames, verdicts = kept("frames"), kept("verdicts")
    development.faults.come_back()
    second = await process_on(kafka, tmp_path)
    try:
        await read(kafka, Frame, lambda found: {frame.id for frame in found} >= frames)
        await read(kafka, Verdict, lambda found: {verdict.id for verdict in found} >= verdicts)
    finally:
        second.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(second.wait(), 30) == 0
    assert not kept("frames") & frames
    assert not kept("verdicts") & verdicts


@pytest.mark.plant
async def test_a_node_that_is_told_to_stop_during_an_outage_stops(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    kafka = kafka_of(development.bootstrap)
    await ensure_topics(kafka, ("frames", "verdicts"))
    node = await process_on(kafka, tmp_path)
    await read(kafka, Frame, lambda found: len(found) >= 3)
    development.faults.go_away()
    await asyncio.sleep(1)
    node.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(node.wait(), 30) == 0


async def test_a_camera_that_triggers_publishes_its_recording_part_by_part(broker: Broker, tmp_path: Path) -> None:
    kafka = kafka_of(broker.bootstrap)
    await ensure_topics(kafka, ("frames", "verdicts"))
    video = {"kind": "video", "path": video_file(tmp_path / "v.avi", 30), "loop": False}
    # The first frame's connection to a real broker takes as long as a few pictures at fifty a second.
    line = line_of({"source": video, "trigger": {"kind": "hardware"}, "buffer_frames": 64})
    async with EventProducer(kafka, source="/test/camera", client_id="camera") as producer:
        await CameraNode(line, line.stations[0], producer, Storage(spool=tmp_path / "spool")).run(asyncio.Event())
    frames = await read(kafka, Frame, lambda found: len(found) >= 30)
    assert [frame.seq for frame in frames] == list(range(1, 31))


# Camera, object store and scorer


@contextlib.asynccontextmanager
async def scoring(line: ScoredLine, objects: ObjectStore | None) -> AsyncIterator[None]:
    """Run a scorer in this process for the length of a test."""
    stop = asyncio.Event()
    consumer = EventConsumer(line.kafka, "frames", client_id="scorer", group=f"{line.kafka.topic_prefix}-scorer")
    producer = EventProducer(line.kafka, source="/test/scorer", client_id="scorer")
    async with producer, consumer:
        scorer = Scorer(consumer, producer, Models.load(line.plant), line.plant.scorer, objects=objects)
        work = asyncio.create_task(scorer.run(stop))
        try:
            yield
        finally:
            stop.set()
            await work


def raw(line: ScoredLine, number: int, **more: object) -> Frame:
    pixels = striped(number, defect=number % 5 == 0)
    return line.frame(number, body=pixels.tobytes(), **{"content_type": raw_content_type(pixels), **more})


async def test_a_scorer_reads_raw_pixels_and_large_images_from_the_store(
    broker: Broker, artifacts: Path, tmp_path: Path
) -> None:
    line = ScoredLine(broker.bootstrap, artifacts)
    await ensure_topics(line.kafka)
    objects = ObjectStore(str(tmp_path / "objects"))
    frames = [raw(line, number) for number in range(1, 6)]
    frames += [objects.put(line.frame(number)) for number in range(6, 11)]
    frames += [objects.put(raw(line, number)) for number in range(11, 16)]
    async with line.producer() as producer, scoring(line, objects):
        await sent(producer, *frames)
        verdicts = await line.read(Verdict, lambda found: len(found) >= 15)
    for verdict in verdicts:
        assert verdict.decision is (Decision.REJECT if verdict.seq % 5 == 0 else Decision.PASS), verdict


async def test_an_image_that_the_store_does_not_have_as_it_was_is_told_with_its_reason(
    development: DevelopmentBroker, artifacts: Path, tmp_path: Path
) -> None:
    line = ScoredLine(development.bootstrap, artifacts)
    await ensure_topics(line.kafka)
    objects = ObjectStore(str(tmp_path / "objects"))
    gone, changed, elsewhere, whole = (objects.put(line.frame(number)) for number in range(1, 5))

    def file_of(frame: Frame) -> Path:
        return Path(str(frame.dataref).removeprefix("file://"))

    file_of(gone).unlink()
    file_of(changed).write_bytes(b"something else")
    (tmp_path / "elsewhere").write_bytes(b"x")
    elsewhere = elsewhere.model_copy(update={"dataref": f"file://{tmp_path}/elsewhere"})
    short = raw(line, 5, content_type="image/x-raw; format=rgb8; width=9; height=9")
    async with line.producer() as producer, scoring(line, objects):
        await sent(producer, gone, changed, elsewhere, short, whole)
        verdicts = await line.read(Verdict, lambda found: len(found) >= 5)
    reasons = {verdict.frame_id: verdict.reason for verdict in verdicts}
    assert reasons == {
        gone.id: Reason.OBJECT_MISSING,
        changed.id: Reason.DIGEST_MISMATCH,
        elsewhere.id: Reason.OBJECT_MISSING,
        short.id: Reason.CORRUPT_IMAGE,
        whole.id: None,
    }


async def test_a_frame_that_was_kept_is_scored_for_statistics_and_acts_on_nothing(
    development: DevelopmentBroker, artifacts: Path, tmp_path: Path
) -> None:
    line = ScoredLine(development.bootstrap, artifacts)
    await ensure_topics(line.kafka)
    kept = line.frame(1, left_s=-30)
    told = Verdict(
        id=verdict_id(kept.id), frame_id=kept.id, line=kept.line, station=kept.station, product=kept.product,
        part=kept.part, seq=kept.seq, decision=Decision.UNSCORED, reason=Reason.BROKER_AWAY,
        times={"captured": kept.captured}, deadline=kept.deadline,
    )  # fmt: skip
    async with line.producer() as producer, scoring(line, None):
        await sent(producer, told)
        await sent(producer, kept)
        (shadow,) = await line.read(ShadowVerdict, lambda found: len(found) >= 1)
        verdicts = await line.read(Verdict, lambda found: len(found) >= 2)
    assert (shadow.frame_id, shadow.cause) == (kept.id, "late-frame")
    assert {verdict.id for verdict in verdicts} == {told.id}
    assert verdicts[0].reason == Reason.BROKER_AWAY
    assert all(verdict.decision is Decision.UNSCORED for verdict in verdicts)
