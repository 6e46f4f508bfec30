"""Takes records in, fairly over partitions, and no more than the scorer can hold."""

import asyncio
from collections.abc import Awaitable, Callable

from neverblink import telemetry
from neverblink.kafka import EventConsumer, KafkaError, Partition, Record
from neverblink.scorer.watermark import Watermark
from neverblink.service_life.time_limit import time_limit

_RETRY_S = 0.5
_STALLED_S = 30.0
_POLL_S = 0.2
_POLL_PAUSED_S = 0.02


class Fetcher:
    """Holds at most `bound` records, from fetch to acknowledgement: that is the bound on the scorer's memory.

    A partition that has its share of them is paused until half of it is through. The share leaves room for one more
    station than there are at work, so a station without a backlog finds room at once.
    """

    def __init__(
        self,
        consumer: EventConsumer,
        watermark: Watermark,
        handle: Callable[[Record], Awaitable[None]],
        *,
        bound: int,
        per_turn: int,
    ) -> None:
        """`handle` carries a record to its acknowledged effects; a partition gives at most `per_turn` at a time."""
        self._consumer = consumer
        self._watermark = watermark
        self._handle = handle
        self._bound = bound
        self._per_turn = per_turn
        self._in_hand: dict[tuple[Partition, int], asyncio.Task[None]] = {}
        self._paused: frozenset[Partition] = frozenset()
        self._freed = asyncio.Event()
        self._recurring = telemetry.Recurring(telemetry.logger("scorer"))

    async def run(self) -> None:
        """Fetch until cancelled."""
        while True:
            room = self._bound - len(self._in_hand)
            try:
                if room <= 0:
                    await self._until_freed()
                    continue
                self._paused = self._with_their_share()
                records = await self._consumer.poll(
                    room,
                    _POLL_PAUSED_S if self._paused else _POLL_S,
                    per_partition=self._per_turn,
                    pause=self._paused,
                )
            except KafkaError as error:
                self._recurring.tell("unread", str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            for record in records:
                self._take(record)

    async def finish(self, within_s: float) -> None:
        """Wait until nothing is in hand, at most that long."""
        if self._in_hand:
            await asyncio.wait(self._in_hand.values(), timeout=within_s)

    async def close(self) -> None:
        """Leave what is in hand; it is fetched again by whoever owns its partition next."""
        tasks = list(self._in_hand.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_freed(self) -> None:
        self._freed.clear()
        try:
            async with time_limit(_STALLED_S):
                await self._freed.wait()
        except TimeoutError:
            # The group must not take a member for dead that only waits for a broker.
            await self._consumer.poll(1, 0, pause=frozenset(self._consumer.assignment))

    def _with_their_share(self) -> frozenset[Partition]:
        held = {place: self._watermark.in_hand(place) for place in self._consumer.assignment}
        at_work = sum(count > 0 for count in held.values())
        share = max(self._per_turn, self._bound // (at_work + 1))
        return frozenset(
            place for place, count in held.items() if count >= (share // 2 if place in self._paused else share)
        )

    def _take(self, record: Record) -> None:
        self._watermark.opened(record.place, record.offset)
        key = record.place, record.offset
        if key in self._in_hand:
            return  # fetched again after the group was shared out anew; its verdict is on its way
        task = asyncio.create_task(self._carried(record))
        self._in_hand[key] = task
        task.add_done_callback(lambda _: self._let_go(key))

    async def _carried(self, record: Record) -> None:
        await self._handle(record)
        self._watermark.finished(record.place, record.offset)

    def _let_go(self, key: tuple[Partition, int]) -> None:
        del self._in_hand[key]
        self._freed.set()
