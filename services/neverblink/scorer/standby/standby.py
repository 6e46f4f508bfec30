"""Watches the partitions of other scorers, reads frames where one stands still, and answers what would be late.

Nothing of this scorer's own work waits for it: it has clients of its own, and what it scores goes through where nothing
else waits.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Final, Literal

from neverblink import telemetry
from neverblink.events import EventError, Frame
from neverblink.events.identity import verdict_id
from neverblink.kafka import KafkaError, Partition, Record, partition_of
from neverblink.kafka.group_progress import GroupProgress
from neverblink.plant import Plant
from neverblink.scorer.standby.answer_follower import AnswerFollower, FramePlaced
from neverblink.scorer.standby.hedging import Hedging
from neverblink.scorer.standby.schedule import RESERVE_S, HedgeSchedule, Owed
from neverblink.scorer.standby.stalls import LOOK_S, SILENT_S, Stalls
from neverblink.service_life.scoped_tasks import Start, scoped_tasks

DELIVERY_S: Final = 0.1
"""From Kafka's acknowledgement to the bridge: its fetch, a look at its other lines, and a full collection."""

_TICK_S = 0.02
_LEAST_EACH_S = 0.005
_BUSY = 2.0
"""Between two frames of others one of ours may come: so many times its engine time is a frame reckoned to take."""
_PATIENT = 4
"""A scorer that takes as long as so many of our batches is slow, and not silent."""
_AGAIN_S = 1.0
_MIB = 1024 * 1024


class Standby:
    """One scorer's spare time for the others, until something ends it: then a new one begins."""

    def __init__(
        self,
        progress: GroupProgress,
        answers: AnswerFollower,
        hedging: Hedging,
        plant: Plant,
        own: Callable[[], Collection[Partition]],
        taken: Callable[[], Mapping[Partition, int]],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        """`own` are the partitions that this scorer has itself, `taken` those of which it has read, and how far."""
        settings = plant.scorer
        self._progress = progress
        self._answers = answers
        self._hedging = hedging
        self._own = own
        self._taken = taken
        self._clock = clock
        self._mode: Literal["all", "lines", "none"] = settings.standby
        self._places = [(line.name, f"{line.name}/{station.name}") for line, station in plant.stations()]
        self._write_s = {
            line.name: DELIVERY_S + (0.0 if line.plc is None else line.plc.write_budget_max_ms / 1000)
            for line in plant.lines
        }
        self._stalls = Stalls()
        self._most = settings.max_batch
        self._schedule: HedgeSchedule[Record] = HedgeSchedule(
            bound=max(2 * settings.max_batch, settings.max_queue_size // 4),
            max_bytes=settings.max_queue_mib * _MIB // 8,
            now=clock().timestamp(),
        )
        # The next offset of each partition that is read.
        self._next: dict[int, int] = {}
        self._silent: dict[int, float] = {}
        self._scoring: set[str] = set()
        self._looking: asyncio.Task[object] | None = None
        self._look_at = 0.0
        self._recurring = telemetry.Recurring(telemetry.logger("scorer"))
        # The last one that stands by is told.
        answers.on_answer(self._take_answer)

    async def run(self) -> None:
        """Work until cancelled."""
        async with scoped_tasks() as start:
            while True:
                self._look_when_due(start)
                try:
                    await self._read()
                except KafkaError as error:
                    self._recurring.tell("unread", f"frames of other scorers cannot be read now: {error}")
                    await asyncio.sleep(_AGAIN_S)
                self._begin_what_is_due(start)

    def _look_when_due(self, start: Start) -> None:
        """Have one look at a time under way; a broker that does not answer holds up none of the frames in hand."""
        now = asyncio.get_running_loop().time()
        if self._looking is not None:
            if not self._looking.done():
                return
            looked, self._looking = self._looking, None
            looked.result()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._looking = start(self._look())

    async def _look(self) -> None:
        try:
            found = await self._progress.look(self._others())
        except KafkaError as error:
            self._recurring.tell("look", f"how far other scorers are is not known now: {error}")
            return
        now = asyncio.get_running_loop().time()
        ours = self._at_work()  # they may have moved meanwhile
        self._stalls.looked({number: one for number, one in found.items() if number not in ours}, now)
        silent = self._stalls.silent(now, patience_s=max(SILENT_S, _PATIENT * self._hedging.each_s()))
        for number in sorted(silent.keys() - self._silent.keys()):
            self._recurring.tell(
                "silent",
                f"the scorer that has partition {number} of the frames is silent: what would be late of it is"
                " answered here",
            )
        self._silent = silent

    def _others(self) -> set[int]:
        """Return the partitions whose frames are answered here although this scorer is not at work on them."""
        numbers = self._progress.partitions
        if self._mode == "lines" and numbers:
            ours = {number for _, number in self._own()}
            at = {key: partition_of(key, len(numbers)) for _, key in self._places}
            lines = {line for line, key in self._places if at[key] in ours}
            numbers = {at[key] for line, key in self._places if line in lines}
        return numbers - self._at_work().keys()

    def _at_work(self) -> dict[int, int]:
        """Return the partitions that this scorer serves itself, and how far it has read each.

        While the group is shared out anew nobody reads; and who has just been given a partition has still to find its
        place in it: until then its frames wait as those of any other that is silent.
        """
        return {number: offset for (_, number), offset in self._taken().items()}

    async def _read(self) -> None:
        """Read where something stands still and there is room; else wait for the next look, or until one is due."""
        # What was silent may have come to this scorer since the last look.
        ours = self._at_work()
        # One that this scorer has been given it will read in a moment, unless the group is shared out for long.
        coming = {number for _, number in self._own()}
        stalled = {number: begin for number, begin in self._stalls.stalled().items() if number not in coming}
        found = stalled | {number: self._stalls.first_open(number) for number in self._silent}
        wanted = {number: begin for number, begin in found.items() if begin is not None and number not in ours}
        self._schedule.keep_only(wanted, ours)
        for number in self._next.keys() - wanted.keys():
            del self._next[number]
        for number, begin in wanted.items():
            self._next[number] = max(begin, self._next.get(number, begin))
        offsets = {
            number: offset for number, offset in self._next.items() if self._schedule.has_room(number, len(wanted))
        }
        if not offsets:
            await asyncio.sleep(_TICK_S if len(self._schedule) else self._until_next_look())
            return
        self._hedging.is_ready()  # has it found out while the frames are under way
        for record in await self._progress.read(offsets, most=self._most, within_s=_TICK_S):
            self._next[record.partition] = record.offset + 1
            self._hold(record)

    def _until_next_look(self) -> float:
        return min(LOOK_S, max(_TICK_S, self._look_at - asyncio.get_running_loop().time()))

    def _hold(self, record: Record) -> None:
        try:
            frame, _ = record.read(Frame)
        except EventError:
            return  # its own scorer tells it
        verdict = verdict_id(frame.id)
        if verdict in self._scoring or self._answers.answers.first(verdict) is not None:
            return
        if self._hedging.model_of(frame) is None:
            self._hedging.count(frame, "left")
            return
        by = frame.deadline.timestamp() - self._write_s.get(frame.line, DELIVERY_S)
        size = len(record.value) + sum(len(value) for _, value in record.headers)
        self._schedule.hold(Owed(by, record.partition, record.offset, verdict, size, record))

    def _begin_what_is_due(self, start: Start) -> None:
        if not len(self._schedule):
            return
        now = self._clock().timestamp()
        each_s = max(_LEAST_EACH_S, self._hedging.each_s())
        for owed in self._schedule.too_late(now, each_s):
            self._hedging.count(owed.item.read(Frame)[0], "too-late")
        if not (self._hedging.is_ready() and self._hedging.has_room):
            return
        room = self._most - len(self._scoring)
        # What is held of one that has come here waited for another.
        silent = self._silent | dict.fromkeys(self._at_work(), RESERVE_S)
        due = self._schedule.due(
            now + _TICK_S, needs_s=self._hedging.needs_s(), each_s=_BUSY * each_s, silent=silent, room=room
        )
        for owed in due:
            self._scoring.add(owed.verdict)
            start(self._score(owed))

    async def _score(self, owed: Owed[Record]) -> None:
        try:
            await self._hedging.score(owed.item)
        finally:
            self._scoring.discard(owed.verdict)

    def _take_answer(self, answer: FramePlaced) -> None:
        now = asyncio.get_running_loop().time()
        self._stalls.answered(answer.partition, answer.offset, now, by_standby=answer.by_standby)
        self._schedule.let_go(answer.verdict)
