"""Follows all verdicts, so that nobody scores what has been answered, and nobody tells as late what was in time."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

import orjson

from neverblink import telemetry
from neverblink.events.envelope import MAX_JSON_BYTES, PREFIX
from neverblink.kafka import EventConsumer, KafkaError, Place, Record
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.plant import Kafka, Plant
from neverblink.scorer.standby.answers import Answer, Answers
from neverblink.service_life.time_limit import time_limit

BY_STANDBY: Final = "/standby"
"""How the `ce_source` of a standby's verdicts ends."""

FROM_S: Final = 60.0
"""So far back it begins at least."""

# A verdict is known so late, and costs no request of its own.
_GATHER_S = 0.1
_AT_ONCE = 500
_AGAIN_S = 1.0
_CATCH_UP_S = 2.0
_STALE_S = 1.0
_ID = f"{PREFIX}id"
_SOURCE = f"{PREFIX}source"


class FramePlaced(NamedTuple):
    """A verdict about the frame that lies there."""

    partition: int
    offset: int
    verdict: str
    by_standby: bool


class AnswerFollower:
    """Reads the verdicts of all lines; every question to it ends, with a broker or without."""

    def __init__(self, kafka: Kafka, *, client_id: str, from_s: float = FROM_S, answers: Answers | None = None) -> None:
        self.answers = answers or Answers()
        self._kafka = kafka
        self._client_id = client_id
        self._from = timedelta(seconds=from_s)
        self._told: Callable[[FramePlaced], None] = lambda _: None
        self._asking: list[asyncio.Future[bool]] = []
        self._news = asyncio.Event()
        # When it had last read what there was; None while it does not follow.
        self._heard_at: float | None = None
        self._follows = asyncio.Event()
        self._recurring = telemetry.Recurring(telemetry.logger("scorer"))

    @classmethod
    def of(cls, plant: Plant, *, client_id: str) -> Self:
        """Return the follower of a scorer: what it has in hand when it comes again is two sessions old at most."""
        return cls(plant.kafka, client_id=f"{client_id}-answers", from_s=max(FROM_S, 2 * plant.scorer.session_s))

    def on_answer(self, callback: Callable[[FramePlaced], None]) -> None:
        """Call this for each verdict that says where its frame lies."""
        self._told = callback

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            consumer = EventConsumer(
                self._kafka, "verdicts", client_id=self._client_id, start="latest", gather_s=_GATHER_S
            )
            try:
                async with consumer:
                    await consumer.seek_to_time(datetime.now(UTC) - self._from)
                    await self._follow(consumer)
            except KafkaError as error:
                self._heard_at = None
                self._recurring.tell("unread", f"{error}; what other scorers answer is not known meanwhile")
                self._answer_askers(False)
                await asyncio.sleep(_AGAIN_S)

    async def known(self, within_s: float) -> None:
        """Wait until the topic has been read once, or so long."""
        with contextlib.suppress(TimeoutError):
            async with time_limit(within_s):
                await self._follows.wait()

    async def caught_up(self, within_s: float = 0.5) -> None:
        """After this process stood still, wait until what came meanwhile has been read, or so long; else not at all.

        Who cannot read the topic waits for nothing: frames do not wait for what nobody will tell.
        """
        heard = self._heard_at
        if heard is not None and asyncio.get_running_loop().time() - heard > _STALE_S:
            await self._current(within_s)

    async def is_answered(self, verdict: str, *, within_s: float = 1.0) -> bool:
        """Say whether a frame whose deadline has passed has a verdict, by all that the topic holds now.

        Where the topic cannot be read within that time, what is known counts.
        """
        if self.answers.first(verdict) is None:
            await self._current(within_s)
        return self.answers.first(verdict) is not None

    async def stands(self, verdict: str, place: Place, *, within_s: float = 5.0) -> bool:
        """Say whether the verdict at that place is the first of its id; False where nobody can tell in that time."""
        try:
            async with time_limit(within_s):
                while (first := self.answers.first(verdict)) is None:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return first.place == place

    async def _current(self, within_s: float) -> None:
        asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asking.append(asked)
        try:
            with contextlib.suppress(TimeoutError):
                async with time_limit(within_s):
                    await asked
        finally:
            if asked in self._asking:
                self._asking.remove(asked)

    async def _follow(self, consumer: EventConsumer) -> None:
        clock = asyncio.get_running_loop().time
        await self._catch_up(consumer)
        self._follows.set()
        self._heard_at = clock()
        while True:
            began = clock()
            self._take_all(await consumer.poll(_AT_ONCE, _GATHER_S))
            # It, or its broker, may have stood still: then what arrived first is not all.
            if self._asking or clock() - began > _STALE_S:
                await self._catch_up(consumer)
            self._heard_at = clock()

    async def _catch_up(self, consumer: EventConsumer) -> None:
        """Read what the topic holds now, and tell those who asked before."""
        asked, self._asking = self._asking, []
        read = False
        try:
            async with time_limit(_CATCH_UP_S):
                ends = await consumer.ends()
                while not read:
                    positions = await consumer.positions()
                    read = all(positions.get(place, 0) >= end for place, end in ends.items())
                    if not read:
                        self._take_all(await consumer.poll(_AT_ONCE, _GATHER_S))
        except CLIENT_FAULTS as error:
            self._recurring.tell("unread", f"the end of the verdicts is not known now: {error!r}")
        finally:
            _answer(asked, read)

    def _answer_askers(self, read: bool) -> None:
        asked, self._asking = self._asking, []
        _answer(asked, read)

    def _take_all(self, records: list[Record]) -> None:
        for record in records:
            self._take(record)
        if records:
            self._news.set()

    def _take(self, record: Record) -> None:
        headers = dict(record.headers)
        verdict = headers.get(_ID, b"").decode(errors="replace")
        if not verdict:
            return  # no verdict of ours: its other readers tell it
        by_standby = headers.get(_SOURCE, b"").decode(errors="replace").endswith(BY_STANDBY)
        self.answers.take(verdict, Answer(Place(record.partition, record.offset), by_standby))
        lies = _frame_place(record.value)
        if lies is not None:
            self._told(FramePlaced(*lies, verdict, by_standby))


def _answer(asked: list["asyncio.Future[bool]"], read: bool) -> None:
    for one in asked:
        if not one.done():
            one.set_result(read)


def _frame_place(value: bytes) -> tuple[int, int] | None:
    """Return partition and offset of a verdict's frame; only this is read of it, a hundred times a second."""
    if len(value) > MAX_JSON_BYTES:
        return None
    try:
        said = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, Mapping):
        return None
    partition, offset = said.get("frame_partition"), said.get("frame_offset")
    if type(partition) is int and type(offset) is int and partition >= 0 <= offset:
        return partition, offset
    return None
