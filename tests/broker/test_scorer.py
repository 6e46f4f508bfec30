"""The scorer on a broker: every frame ends in exactly one verdict, whatever happens to it or to the scorer."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import orjson
import pytest
import yaml
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer

from neverblink.brokers.broker import Broker
from neverblink.events import DeadLetter, Decision, Evidence, Message, Reason, ShadowVerdict, Verdict, encode
from neverblink.events.identity import shadow_verdict_id, verdict_id
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from neverblink.storage.frame_objects import ObjectStore
from rigs.poison import POISON
from rigs.scored_line import ScoredLine, sent, teach_blots

SCHEMAS = Path(__file__).parents[2] / "schemas"


@contextlib.asynccontextmanager
async def scoring(
    line: ScoredLine, *, objects: ObjectStore | None = None, shadowed: bool = False
) -> AsyncIterator[Scorer]:
    """Run a scorer in this process for the length of a test; `shadowed`, each model is its own shadow too."""
    stop = asyncio.Event()
    consumer = EventConsumer(line.kafka, "frames", client_id="scorer", group=f"{line.kafka.topic_prefix}-scorer")
    producer = EventProducer(line.kafka, source="/test/scorer", client_id="scorer")
    async with producer, consumer:
        models = Models.load(line.plant)
        for place, found in models.stations.items() if shadowed else ():
            models.put(place, replace(found, shadow=found.active))
        scorer = Scorer(consumer, producer, models, line.plant.scorer, scales=line.plant.scales(), objects=objects)
        work = asyncio.create_task(scorer.run(stop))
        try:
            yield scorer
        finally:
            stop.set()
            await work


async def test_each_frame_of_two_lines_gets_its_verdict_and_its_evidence(line: ScoredLine) -> None:
    frames = [line.frame(number, line=name) for number in range(1, 21) for name in ("line-1", "line-2")]
    async with line.producer() as producer, scoring(line):
        await sent(producer, *frames)
        verdicts = await line.read(Verdict, lambda found: len(found) >= 40)
        evidence = await line.read(Evidence, lambda found: len(found) >= 48)
    assert {verdict.id for verdict in verdicts} == {verdict_id(frame.id) for frame in frames}
    for verdict in verdicts:
        defective = verdict.seq % 5 == 0
        assert verdict.decision is (Decision.REJECT if defective else Decision.PASS), verdict
        assert bool(verdict.defects) is defective
        assert verdict.tracking is not None
        assert verdict.tracking.number == verdict.seq
        assert verdict.times.emitted is not None
        assert verdict.times.emitted < verdict.deadline
    told = {identity for verdict in verdicts for identity in verdict.evidence}
    assert {picture.id for picture in evidence} == told
    assert all(picture.body.startswith(b"\xff\xd8") for picture in evidence)


@pytest.fixture(scope="session")
def strict_artifacts(artifacts: Path) -> Path:
    """The model of striped parts, and `strict`, which knows blots."""
    teach_blots(artifacts)
    return artifacts


@pytest.mark.plant
async def test_a_known_defect_is_named_measured_and_rejected_where_the_score_alone_would_pass(
    broker: Broker, strict_artifacts: Path
) -> None:
    line = ScoredLine(broker.bootstrap, strict_artifacts, "strict")
    await ensure_topics(line.kafka)
    async with line.producer() as producer, scoring(line):
        await sent(producer, *(line.frame(number) for number in range(1, 11)))
        verdicts = await line.read(Verdict, lambda found: len(found) >= 10)
    for verdict in verdicts:
        defective = verdict.seq % 5 == 0
        assert (verdict.decision, verdict.reason) == (
            (Decision.REJECT, "defect") if defective else (Decision.PASS, None)
        )
        assert verdict.ratio is not None
        assert verdict.ratio < 1
        assert bool(verdict.defects) is defective
        for defect in verdict.defects:
            assert (defect.type, defect.source, defect.seen_by) == ("blot", "unet", ("unet",))
            # A blot is 16 × 16 px at half a millimetre each.
            assert defect.area_mm2 == pytest.approx(64, rel=0.3)


NAMELESS = (b"", b"neither key nor headers")


async def test_a_poison_record_gets_a_dead_letter_and_a_verdict_and_stops_nothing(
    line: ScoredLine, tmp_path: Path
) -> None:
    store = ObjectStore(str(tmp_path))
    records: dict[str, Message] = {}
    for number, (name, poison) in enumerate(POISON.items(), start=1):
        frame = line.frame(number, **poison.fields_in(tmp_path))
        records[name] = poison.edit(encode(frame, source="/test"))
    topic = f"{line.kafka.topic_prefix}.frames"
    after = line.frame(101)
    raw = AIOKafkaProducer(bootstrap_servers=line.kafka.bootstrap, max_request_size=8 * 1024 * 1024)
    await raw.start()
    async with line.producer() as producer, scoring(line, objects=store):
        for message in records.values():
            await raw.send_and_wait(topic, message.value, key=message.key, headers=message.headers)
        for value in NAMELESS:
            await raw.send_and_wait(topic, value, partition=0)
        await sent(producer, after)
        verdicts = await line.read(Verdict, lambda found: len(found) > len(POISON))
        letters = await line.read(DeadLetter, lambda found: len(found) >= len(POISON) + len(NAMELESS))
    await raw.stop()
    assert len(verdicts) == len(POISON) + 1
    assert len(letters) == len(POISON) + len(NAMELESS)
    good = [verdict for verdict in verdicts if verdict.decision is not Decision.UNSCORED]
    assert [verdict.id for verdict in good] == [verdict_id(after.id)]
    whys = {(letter.partition, letter.offset): letter.why for letter in letters}
    for name, poison in POISON.items():
        told = [one for one in verdicts if one.reason == poison.reason and poison.said in (one.detail or "")]
        assert told, name
        assert any(poison.said in why for why in whys.values()), name
        assert all((one.line, one.station) == ("line-1", "top") for one in told), name
        known = dict(records[name].headers).get("ce_id")
        if known is not None and name != "header that is no text":
            assert verdict_id(known.decode()) in {one.id for one in told}, name
    assert all(letter.service == "scorer" for letter in letters)
    async with EventConsumer(
        line.kafka, "frames", client_id="after", group=f"{line.kafka.topic_prefix}-scorer"
    ) as consumer:
        assert await consumer.poll(timeout_s=3.0) == []
        assert await consumer.positions() == await consumer.ends()


async def test_a_late_frame_is_told_as_late_and_its_score_only_goes_to_statistics(line: ScoredLine) -> None:
    late = line.frame(1, left_s=-1)
    async with line.producer() as producer, scoring(line):
        await sent(producer, late)
        (verdict,) = await line.read(Verdict, lambda found: len(found) >= 1)
        (shadow,) = await line.read(ShadowVerdict, lambda found: len(found) >= 1)
    assert (verdict.decision, verdict.reason, verdict.late) == (Decision.UNSCORED, Reason.LATE, True)
    assert verdict.score is None
    assert shadow.frame_id == late.id
    assert shadow.cause == "late-frame"
    assert shadow.id != verdict.id
    assert shadow.score is not None


async def test_a_shadow_model_scores_the_same_frames_and_acts_on_none(line: ScoredLine) -> None:
    frames = [line.frame(number) for number in range(1, 11)]
    async with line.producer() as producer, scoring(line, shadowed=True):
        await sent(producer, *frames)
        verdicts = await line.read(Verdict, lambda found: len(found) >= 10)
        shadows = await line.read(ShadowVerdict, lambda found: len(found) >= 10)
    acted = {verdict.frame_id: verdict for verdict in verdicts}
    assert len(acted) == len(verdicts) == 10
    for shadow in shadows:
        assert (shadow.cause, shadow.late) == ("shadow-model", False)
        assert shadow.artifact is not None
        assert shadow.id == shadow_verdict_id(shadow.frame_id, shadow.artifact.digest, "shadow-model")
        assert shadow.score == pytest.approx(acted[shadow.frame_id].score, rel=1e-4)


@pytest.mark.plant
async def test_a_scorer_killed_in_mid_stream_loses_no_frame(line: ScoredLine, tmp_path: Path) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(yaml.safe_dump(orjson.loads(line.plant.model_dump_json())))
    frames = [line.frame(number, line=f"line-{1 + number % 2}") for number in range(1, 81)]
    expected = {verdict_id(frame.id) for frame in frames}

    async def start(instance: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "neverblink", "scorer", "--plant", str(file), "--instance", instance,
            stderr=asyncio.subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    async with line.producer() as producer:
        first = await start("one")
        try:
            await sent(producer, *frames[:40])
            before = await line.read(Verdict, lambda found: len(found) >= 8)
            sending = asyncio.gather(*(producer.send(frame) for frame in frames[40:]))
            first.send_signal(signal.SIGKILL)
            await first.wait()
            assert {verdict.id for verdict in before} < expected
            await sending
        finally:
            if first.returncode is None:
                first.kill()
        second = await start("one")
        try:
            verdicts = await line.read(Verdict, lambda found: {v.id for v in found} >= expected, within_s=90)
        finally:
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 30) == 0
    assert {verdict.id for verdict in verdicts} == expected
    # A frame that was scored twice was decided alike twice.
    decided = {verdict.id: verdict.decision for verdict in verdicts}
    assert all(decided[verdict.id] is verdict.decision for verdict in verdicts)


async def test_a_reader_that_is_not_ours_finds_verdicts_that_fit_the_published_schema(line: ScoredLine) -> None:
    async with line.producer() as producer, scoring(line):
        await sent(producer, *(line.frame(number) for number in range(1, 6)))
        await line.read(Verdict, lambda found: len(found) >= 5)
    schema = orjson.loads((SCHEMAS / "verdict.v1.json").read_bytes())

    def read_as_a_mes() -> list[tuple[dict[str, str], bytes]]:
        consumer = Consumer(
            {"bootstrap.servers": line.kafka.bootstrap, "group.id": "mes", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([f"{line.kafka.topic_prefix}.verdicts"])
        found = []
        while len(found) < 5:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                found.append(({name: raw.decode() for name, raw in message.headers()}, message.value()))
        consumer.close()
        return found

    for headers, value in await asyncio.wait_for(asyncio.to_thread(read_as_a_mes), 60):
        assert headers["ce_type"] == "neverblink.verdict.v1"
        assert headers["ce_specversion"] == "1.0"
        assert headers["content-type"] == "application/json"
        jsonschema.validate(orjson.loads(value), schema)
