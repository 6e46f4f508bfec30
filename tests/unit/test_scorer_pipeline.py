"""The scorer's parts, each alone: what is fetched, who decodes first, and whose fault costs whom."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import pytest

from neverblink.events import Frame, Times
from neverblink.events.examples import examples
from neverblink.kafka import EventConsumer, Partition, Record
from neverblink.scorer.compute_thread import ComputeThread
from neverblink.scorer.deadline_batcher import DeadlineBatcher, LateError
from neverblink.scorer.decode_pool import DecodePool
from neverblink.scorer.fetcher import Fetcher
from neverblink.scorer.models import Model
from neverblink.scorer.watermark import Watermark
from neverblink.scorer.work import Arrival, Work
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Prepared
from neverblink.vision.patchcore import Anomaly

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

    def prepare_defects(self, image: Any) -> Prepared:
        self.seen.append(int(image[0, 0, 0]))
        time.sleep(0.01)
        return Prepared(image, [image])


async def test_the_frame_with_the_earliest_deadline_is_decoded_first() -> None:
    slow, pool = Slow(), DecodePool(None, workers=1)
    model = cast(Model, slow)

    async def ask(number: int, deadline: float) -> None:
        await pool._run(deadline, lambda: model.inspector.prepare_defects(np.full((1, 1, 3), number, np.uint8)))

    asked = [asyncio.create_task(ask(*one)) for one in ((0, 9.0), (1, 3.0), (2, 1.0), (3, 2.0))]
    given_up = asyncio.create_task(ask(4, 0.5))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(*asked)
    pool.close()
    assert slow.seen == [0, 2, 3, 1]


def work_of(number: int, left_s: float = 60) -> Work:
    (example,) = (event for event in examples() if isinstance(event, Frame))
    frame = example.model_copy(update={"seq": number, "deadline": datetime.now(UTC) + timedelta(seconds=left_s)})
    times = Times(captured=frame.captured)
    return Work(Arrival(frame, times, {}), cast(Model, Slow()), Prepared(PIXELS, [PIXELS + np.uint8(number)]), times)


async def test_a_frame_that_a_model_stumbles_over_costs_no_other_frame_its_score() -> None:
    def score(work: Sequence[tuple[Model, Prepared]]) -> list[Inspection]:
        numbers = [int(prepared.inputs[0][0, 0, 0]) for _, prepared in work]
        if 2 in numbers:
            raise ValueError("this one cannot be cut")
        return [
            Inspection(Anomaly(score=float(number), anomaly_map=np.zeros((1, 1), np.float32))) for number in numbers
        ]

    batcher: DeadlineBatcher[Work] = DeadlineBatcher(max_batch=4, max_queue_delay_s=0, clock=time.time)
    compute = ComputeThread(batcher, score, clock=lambda: datetime.now(UTC))
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
    assert [one.anomaly.score for one in found if isinstance(one, Inspection)] == [0, 1, 3]
    assert isinstance(found[2], ValueError)
    assert all(one.times.scored is not None and one.times.batched is not None for one in work)
