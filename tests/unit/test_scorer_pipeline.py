"""The scorer's parts, each alone: what is fetched, who decodes first, and whose fault costs whom."""

import asyncio
import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, ClassVar, cast
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from neverblink.decisions.judgement import Judgement
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.events import (
    ArtifactRef,
    CalibratedScores,
    DeadLetter,
    Decision,
    Event,
    Evidence,
    Frame,
    Times,
    Verdict,
    encode,
)
from neverblink.events.examples import examples
from neverblink.events.identity import frame_id
from neverblink.events.verdict import ScoredEvent
from neverblink.kafka import EventConsumer, EventProducer, Partition, Record, RecordTooLargeError
from neverblink.plant import ScorerSettings
from neverblink.scorer.compute_threads import ComputeThreads
from neverblink.scorer.deadline_batcher import DeadlineBatcher, LateError
from neverblink.scorer.decode_pool import DecodePool
from neverblink.scorer.emitter import Emitter
from neverblink.scorer.fetcher import Fetcher
from neverblink.scorer.instruments import instruments
from neverblink.scorer.models import Model, Models
from neverblink.scorer.pictures import kinds_of_evidence
from neverblink.scorer.service import Scorer
from neverblink.scorer.watermark import Watermark
from neverblink.scorer.work import Arrival, FramePlace, Work
from neverblink.vision.calibration import Calibration
from neverblink.vision.inspection import Anomaly, Inspection
from neverblink.vision.inspector import Prepared

PIXELS = np.zeros((8, 8, 3), np.uint8)


class Backlog:
    """A consumer whose partitions have any number of records, as far as they are not paused."""

    def __init__(self, *partitions: int) -> None:
        self.assignment = {("frames", number) for number in partitions}
        self.next = dict.fromkeys(self.assignment, 0)
        self.paused: frozenset[Partition] = frozenset()

    async def poll(
        self, most: int, _timeout_s: float, *, per_partition: int, pause: frozenset[Partition]
    ) -> list[Record]:
        self.paused = pause
        await asyncio.sleep(0)
        found: list[Record] = []
        for place in sorted(self.assignment - pause):
            for _ in range(min(per_partition, most - len(found))):
                found.append(Record(*place, self.next[place], datetime.now(UTC), "", b"", ()))
                self.next[place] += 1
        return found


async def fetched(consumer: Backlog, watermark: Watermark, taken: list[Record]) -> tuple[Fetcher, "asyncio.Task[None]"]:
    """Fetch for a while records that nothing finishes."""

    async def handle(record: Record) -> None:
        taken.append(record)
        await asyncio.Event().wait()

    fetcher = Fetcher(cast(EventConsumer, consumer), watermark, handle, bound=24, per_turn=4)
    task = asyncio.create_task(fetcher.run())
    await asyncio.sleep(0.05)
    return fetcher, task


async def test_a_backlogged_partition_is_paused_at_its_share_and_leaves_room_for_another() -> None:
    consumer, taken = Backlog(0), list[Record]()
    fetcher, task = await fetched(consumer, Watermark(), taken)
    assert consumer.paused == {("frames", 0)}
    assert len(taken) == 12
    consumer.assignment.add(("frames", 1))
    consumer.next["frames", 1] = 0
    await asyncio.sleep(0.1)
    assert sum(record.partition == 1 for record in taken) >= 8
    assert len(taken) <= 24
    task.cancel()
    await fetcher.close()


async def test_a_record_that_is_fetched_again_while_it_is_in_hand_is_not_scored_twice() -> None:
    consumer, watermark, taken = Backlog(0), Watermark(), list[Record]()
    fetcher, task = await fetched(consumer, watermark, taken)
    watermark.forget([("frames", 0)])
    consumer.next["frames", 0] = 0
    await asyncio.sleep(0.1)
    offsets = [record.offset for record in taken]
    assert len(offsets) == len(set(offsets))
    assert watermark.due() == {("frames", 0): 0}
    task.cancel()
    await fetcher.close()


class Slow:
    """A model whose preparing notes what it prepares, and takes its time."""

    def __init__(self) -> None:
        self.inspector = self
        self.seen: list[int] = []
        self.depth: int | None = None

    def prepare_defects(self, image: Any) -> Prepared:
        self.seen.append(int(image[0, 0, 0]))
        time.sleep(0.01)
        return Prepared(image, [image])


def frame_of(side: int, colour: int = 0) -> Frame:
    """A frame with an image of `side` pixels of one colour."""
    (example,) = (event for event in examples() if isinstance(event, Frame))
    body = cv2.imencode(".png", np.full((side, side, 3), colour, np.uint8))[1].tobytes()
    digest = hashlib.sha256(body).hexdigest()
    return example.model_copy(update={"body": body, "size": len(body), "sha256": digest, "content_type": "image/png"})


async def test_the_frame_with_the_earliest_deadline_is_decoded_first() -> None:
    slow, pool = Slow(), DecodePool(None, workers=1, max_bytes=1 << 20)

    async def ask(number: int, deadline: float) -> None:
        async with pool.prepared(frame_of(1, number), cast(Model, slow), deadline=deadline):
            pass

    asked = [asyncio.create_task(ask(*one)) for one in ((0, 9.0), (1, 3.0), (2, 1.0), (3, 2.0))]
    given_up = asyncio.create_task(ask(4, 0.5))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(*asked)
    pool.close()
    assert slow.seen == [0, 2, 3, 1]


async def test_stations_take_turns_in_decoding_while_no_deadline_is_near() -> None:
    slow, pool = Slow(), DecodePool(None, workers=1, max_bytes=1 << 20)

    async def ask(number: int, line: str, deadline: float) -> None:
        frame = frame_of(1, number).model_copy(update={"line": line})
        async with pool.prepared(frame, cast(Model, slow), deadline=deadline):
            pass

    far = time.time() + 3600
    backlog = [asyncio.create_task(ask(number, "backlogged", far + number)) for number in range(8)]
    await asyncio.sleep(0)
    await asyncio.gather(ask(100, "other", far + 500), *backlog)
    # Among the backlogged all are far; one that is near comes before every turn.
    again = [asyncio.create_task(ask(10 + number, "backlogged", far + number)) for number in range(8)]
    await asyncio.sleep(0)
    await asyncio.gather(ask(101, "backlogged", time.time() + 0.05), *again)
    pool.close()
    assert slow.seen[:3] == [0, 100, 1]
    assert slow.seen.index(101) == slow.seen.index(10) + 1


async def test_no_frame_is_decoded_while_the_images_in_hand_hold_the_bytes_that_they_may() -> None:
    # Two images of 30,000 bytes, and as much again for the network: the second reaches the bound.
    pool, model, frame = DecodePool(None, workers=1, max_bytes=100_000), cast(Model, Slow()), frame_of(100)
    inside: list[int] = []
    leave = [asyncio.Event() for _ in range(3)]

    async def hold(number: int) -> None:
        async with pool.prepared(frame, model, deadline=number):
            inside.append(number)
            await leave[number].wait()

    holders = [asyncio.create_task(hold(number)) for number in range(3)]
    await asyncio.sleep(0.2)
    assert inside == [0, 1]
    # A score that no part waits for is bounded elsewhere, and does not wait for these.
    assert (await asyncio.wait_for(pool.prepared_again(PIXELS, model), 5)).image is PIXELS
    leave[1].set()
    await holders[1]
    await asyncio.sleep(0.1)
    assert inside == [0, 1, 2]
    for event in leave:
        event.set()
    await asyncio.gather(*holders)
    pool.close()


class OneRecord:
    """A consumer of one record, which notes what is committed."""

    def __init__(self, frame: Frame, **other_headers: bytes) -> None:
        message = encode(frame, source="/test")
        headers = tuple((dict(message.headers) | other_headers).items())
        self.left = [Record("frames", 0, 0, datetime.now(UTC), frame.key, message.value, headers)]
        self.assignment = {("frames", 0)}
        self.committed: dict[Partition, int] = {}
        self.done = asyncio.Event()

    def on_revoked(self, callback: object) -> None:
        """No partition moves."""

    async def poll(self, *_: object, **__: object) -> list[Record]:
        await asyncio.sleep(0.001)
        found, self.left = self.left, []
        return found

    async def commit(self, offsets: dict[Partition, int]) -> None:
        self.committed |= offsets
        if offsets.get(("frames", 0)) == 1:
            self.done.set()


class Refusing:
    """A producer that fails for events of some kinds, and notes the others."""

    def __init__(self, error: Exception, *refused: type[Event]) -> None:
        self.error, self.refused = error, refused
        self.sent: list[Event] = []

    async def send(self, event: Event, *, trace: object = None) -> None:
        if isinstance(event, self.refused):
            raise self.error
        self.sent.append(event)


class NoModels:
    """No model scores any station."""

    stations: ClassVar[dict[object, object]] = {}

    def active(self, *_: object) -> None:
        return None


@pytest.mark.parametrize(
    "error", [ValueError("the verdict breaks its contract"), RecordTooLargeError("a record of 9 MB is too large")]
)
@pytest.mark.parametrize("refused", [(Verdict,), (Verdict, DeadLetter)])
async def test_a_verdict_that_cannot_be_sent_at_all_does_not_hold_up_its_partition(
    error: Exception, refused: tuple[type[Event], ...], caplog: pytest.LogCaptureFixture
) -> None:
    frame = frame_of(8).model_copy(update={"deadline": datetime.now(UTC) + timedelta(minutes=1)})
    consumer, producer, stop = OneRecord(frame), Refusing(error, *refused), asyncio.Event()
    scorer = Scorer(
        cast(EventConsumer, consumer), cast(EventProducer, producer), cast(Models, NoModels()), ScorerSettings()
    )
    running = asyncio.create_task(scorer.run(stop))
    async with asyncio.timeout(10):
        await consumer.done.wait()
    stop.set()
    await running
    assert [type(event) for event in producer.sent] == ([] if DeadLetter in refused else [DeadLetter])
    assert any("has no verdict" in record.message for record in caplog.records)
    assert any("given up" in record.message for record in caplog.records) is (DeadLetter in refused)


@pytest.mark.parametrize("damaged", [None, b"{lot: L42", b'{"serial": 7}', b"\xff"])
async def test_a_frame_is_judged_with_its_identity_and_without_one_that_cannot_be_read(
    damaged: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    frame = frame_of(8).model_copy(update={"deadline": datetime.now(UTC) + timedelta(minutes=1)})
    consumer = OneRecord(frame, **({} if damaged is None else {"ce_identity": damaged}))
    producer, stop, lost = Refusing(ValueError()), asyncio.Event(), Mock()
    scorer = Scorer(
        cast(EventConsumer, consumer),
        cast(EventProducer, producer),
        cast(Models, NoModels()),
        ScorerSettings(),
        measured=replace(instruments(), identities_lost=lost),
    )
    running = asyncio.create_task(scorer.run(stop))
    async with asyncio.timeout(10):
        await consumer.done.wait()
    stop.set()
    await running
    (told,) = producer.sent
    assert isinstance(told, Verdict)
    assert (told.part, told.reason) == (frame.part, "no-model")
    assert (told.frame_partition, told.frame_offset) == (0, 0)
    assert told.identity == (frame.identity if damaged is None else None)
    assert lost.add.call_count == (0 if damaged is None else 1)
    assert ("is judged without its identity" in caplog.text) is (damaged is not None)


async def test_verdict_and_evidence_say_whose_picture_it_is_and_where_the_frame_lies() -> None:
    work, producer = work_of(1), Refusing(ValueError())
    work.arrival = replace(work.arrival, place=FramePlace(17, 90397))
    work.model = cast(Model, passing())
    emitter = Emitter(
        cast(EventProducer, producer), scales={}, workers=1, clock=lambda: datetime.now(UTC), measured=instruments()
    )
    await emitter.scored(work, NOTHING_FOUND)
    await emitter.for_statistics(work, NOTHING_FOUND, "late-frame")
    await emitter.late(work.arrival)
    emitter.close()
    for told in producer.sent:
        assert isinstance(told, (ScoredEvent, Evidence))
        assert told.identity == work.frame.identity is not None
        if isinstance(told, ScoredEvent):
            assert (told.frame_partition, told.frame_offset) == (17, 90397)
    assert [type(told).__name__ for told in producer.sent] == ["Verdict", "Evidence", "ShadowVerdict", "Verdict"]


NOTHING_FOUND = Inspection(Anomaly(score=0.1, anomaly_map=np.zeros((1, 1), np.float32)))


def test_passes_have_evidence_by_their_share_and_whatever_a_person_may_ask_for_always_has() -> None:
    frame = frame_of(8)
    frames = [frame.model_copy(update={"id": frame_id(datetime.now(UTC))}) for _ in range(400)]
    passes = Judgement(0.1, 1.0, reject=False, reason=None, unsure=False)

    def shown(share: float) -> list[str]:
        return [one.id for one in frames if kinds_of_evidence(one, passes, NOTHING_FOUND, passes_shown=share)]

    assert shown(0.0) == []
    assert shown(1.0) == [one.id for one in frames]
    assert 60 <= len(shown(0.25)) <= 140
    assert shown(0.25) == shown(0.25)
    unsure = Judgement(0.1, 1.0, reject=False, reason=None, unsure=True)
    reject = Judgement(0.1, 1.0, reject=True, reason="anomaly", unsure=False)
    assert kinds_of_evidence(frames[0], unsure, NOTHING_FOUND, passes_shown=0) == ("thumbnail",)
    assert kinds_of_evidence(frames[0], reject, NOTHING_FOUND, passes_shown=0) == ("overlay", "thumbnail")
    for flag in ("holdout", "challenge"):
        marked = frames[0].model_copy(update={flag: True})
        assert kinds_of_evidence(marked, passes, NOTHING_FOUND, passes_shown=0) == ("thumbnail",)


@pytest.mark.parametrize("error", [ValueError("it cannot be drawn"), RecordTooLargeError("a record of 9 MB")])
async def test_evidence_that_cannot_be_sent_at_all_leaves_the_verdict_as_it_was_told(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    work, producer = replace(work_of(1), model=cast(Model, passing())), Refusing(error, Evidence)
    emitter = Emitter(
        cast(EventProducer, producer), scales={}, workers=1, clock=lambda: datetime.now(UTC), measured=instruments()
    )
    await emitter.scored(work, NOTHING_FOUND)
    emitter.close()
    (told,) = producer.sent
    assert isinstance(told, Verdict)
    assert (told.decision, told.calibrated) == (Decision.PASS, passing().calibrated)
    assert "its evidence cannot be had" in caplog.text


def passing() -> SimpleNamespace:
    """What a model is to the emitter."""
    return SimpleNamespace(
        edited=None,
        calibration=Calibration(
            threshold=1.0, map_threshold=1.0, false_reject=0.1, confidence=0.95, normals=29, rank=29
        ),
        calibrated=CalibratedScores(count=40, quantiles=(0.4, 0.45, 0.5, 0.55, 0.6)),
        reference=ArtifactRef(name="part", version="1", digest=f"sha256:{'0' * 64}"),
        rules=DEFAULT_RULES,
        artifact=SimpleNamespace(map_threshold=1.0),
    )


def work_of(number: int, left_s: float = 60) -> Work:
    (example,) = (event for event in examples() if isinstance(event, Frame))
    frame = example.model_copy(update={"seq": number, "deadline": datetime.now(UTC) + timedelta(seconds=left_s)})
    times = Times(captured=frame.captured)
    return Work(Arrival(frame, times, {}), cast(Model, Slow()), Prepared(PIXELS, [PIXELS + np.uint8(number)]), times)


class InHalves:
    """Halves that take a while, note what they are given, and each stumble over one number."""

    def __init__(self, *, refused: Sequence[int] = (), seconds: float = 0.0) -> None:
        self._refused = refused
        self._seconds = seconds
        self.noted: list[tuple[str, float, float, list[int]]] = []
        """Which half, from when until when, and the numbers."""

    def embed(self, work: Sequence[tuple[Model, Prepared]]) -> list[Tensor]:
        numbers = [int(prepared.inputs[0][0, 0, 0]) for _, prepared in work]
        self._work("embed", numbers, self._refused[:1])
        return [torch.tensor([number]) for number in numbers]

    def judge(self, work: Sequence[tuple[Model, Prepared]], features: Sequence[Tensor]) -> list[Inspection]:
        numbers = [int(one) for one in features]
        self._work("judge", numbers, self._refused[1:])
        return [
            Inspection(Anomaly(score=float(number), anomaly_map=np.zeros((1, 1), np.float32))) for number in numbers
        ]

    def _work(self, half: str, numbers: list[int], refused: Sequence[int]) -> None:
        began = time.monotonic()
        time.sleep(self._seconds)
        self.noted.append((half, began, time.monotonic(), numbers))
        if set(numbers) & set(refused):
            raise ValueError("this one cannot be cut")


async def test_a_frame_that_a_model_stumbles_over_costs_no_other_frame_its_score() -> None:
    halves = InHalves(refused=(2, 1))
    batcher: DeadlineBatcher[Work] = DeadlineBatcher(max_batch=4, max_queue_delay_s=0, clock=time.time)
    compute = ComputeThreads(batcher, halves, instruments(), clock=lambda: datetime.now(UTC))
    work = [work_of(number) for number in range(4)]
    late = work_of(9, left_s=-1)
    for one in (*work, late):
        batcher.put(one, one.frame.deadline.timestamp(), one.frame.key)
    running = asyncio.create_task(compute.run())
    found = await asyncio.gather(*(one.scored for one in work), return_exceptions=True)
    with pytest.raises(LateError):
        await late.scored
    compute.close()
    await running
    assert [one.anomaly.score for one in found if isinstance(one, Inspection)] == [0, 3]
    assert isinstance(found[1], ValueError)
    assert isinstance(found[2], ValueError)
    assert all(one.times.scored is not None and one.times.batched is not None for one in work)


async def test_a_batch_is_searched_while_the_next_is_in_the_network_and_no_half_has_two() -> None:
    halves = InHalves(seconds=0.02)
    batcher: DeadlineBatcher[Work] = DeadlineBatcher(max_batch=2, max_queue_delay_s=0, clock=time.time)
    compute = ComputeThreads(batcher, halves, instruments(), clock=lambda: datetime.now(UTC))
    work = [work_of(number) for number in range(10)]
    for one in work:
        batcher.put(one, one.frame.deadline.timestamp(), one.frame.key)
    running = asyncio.create_task(compute.run())
    found = await asyncio.gather(*(one.scored for one in work))
    compute.close()
    await running
    assert [one.anomaly.score for one in found] == list(range(10))
    for half in ("embed", "judge"):
        turns = [(began, ended) for name, began, ended, _ in halves.noted if name == half]
        assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(sorted(turns)))
    assert any(
        one[1] < other[2] and other[1] < one[2]
        for one in halves.noted
        for other in halves.noted
        if one[0] == "embed" and other[0] == "judge"
    ), "nothing was searched while the network was at work"
