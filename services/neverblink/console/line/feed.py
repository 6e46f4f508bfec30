"""Keeps every line's board up to date: events from Kafka, counts and open alarms from the records.

Either may be away: the other goes on, and what is stale says since when.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from neverblink import telemetry
from neverblink.console.line.board import LineBoard
from neverblink.events import Actuation, EventError, Hold, Verdict
from neverblink.http_serving.asking import Asking, BusyError
from neverblink.kafka import EventConsumer, KafkaError, Record
from neverblink.kafka.followed_topic import FollowedTopic
from neverblink.kafka.trouble import Trouble, Watch
from neverblink.plant import Plant
from neverblink.records.database import LedgerError
from neverblink.records.questions.line_state import LineCounts, OpenTrouble, counts_by_line, open_troubles
from neverblink.records.reading import ReadOnlyRecords
from neverblink.service_life import wait_or_stop

BACK: Final = timedelta(minutes=15)
"""So much of the topics is read at the start: enough for the last parts and the rates."""

COUNT_EVERY_S: Final = 5.0
_POLL_S = 0.2
_AT_ONCE = 500
_AGAIN_S = 3.0


class LateRecords:
    """The records, opened when they are first asked: the ledger may be younger than the console."""

    def __init__(self, url: str, *, answer_s: float, most: int) -> None:
        self._url, self._answer_s, self._most = url, answer_s, most
        self._opening = threading.Lock()
        self._opened: ReadOnlyRecords | None = None

    @contextlib.contextmanager
    def asking(self) -> Iterator[Session]:
        """Give a session for one question. Raises LedgerError, LedgerAbsent while there is none."""
        with self._opening:
            if self._opened is None:
                self._opened = ReadOnlyRecords(self._url, answer_s=self._answer_s, most=self._most)
            opened = self._opened
        with opened.asking() as session:
            yield session

    def close(self) -> None:
        """Close every connection."""
        if self._opened is not None:
            self._opened.close()


class Feed:
    """What is known of every line now. `kafka` and `database` say what cannot be read, and since when."""

    def __init__(self, plant: Plant, ask: Asking, clock: Callable[[], datetime]) -> None:
        self._plant = plant
        self._ask = ask
        self._clock = clock
        self._shifts = plant.shift_plan()
        self._log = telemetry.Recurring(telemetry.logger("console"))
        self._kafka, self._database = Watch(), Watch()
        self.boards = {
            line.name: LineBoard(line.name, has_plc=line.plc is not None, clock=clock) for line in plant.lines
        }
        self.counts: dict[str, LineCounts] = {}
        self.counted: datetime | None = None
        self.since: datetime | None = None
        """Since when `counts` count: the begin of the shift."""
        self.troubles: tuple[OpenTrouble, ...] = ()
        self.counts_version = 0
        self.scored: dict[tuple[str, str], tuple[str, datetime]] = {}
        """Which artifact each (line, station) was last scored by, and when."""
        self._consumer: EventConsumer | None = None
        self.holds = FollowedTopic(
            plant.kafka, Hold, "word of lines on hold", self.hear, client_id="console-holds", service="console"
        )

    @property
    def kafka(self) -> Trouble | None:
        """Return what cannot be read of Kafka now, None while all can."""
        return self._kafka.now or (self._consumer.trouble if self._consumer is not None else None)

    @property
    def reads(self) -> bool:
        """Say whether events are being read now."""
        return self._consumer is not None and self.kafka is None

    @property
    def database(self) -> Trouble | None:
        """Return why the records cannot be asked now, None while they can."""
        return self._database.now

    def of(self, line: str) -> tuple[OpenTrouble, ...]:
        """Return what is open of a line."""
        return tuple(one for one in self.troubles if one.line == line)

    async def follow(self, stop: asyncio.Event) -> None:
        """Read verdicts and actuations until `stop` is set."""
        while not stop.is_set():
            try:
                consumer = EventConsumer(
                    self._plant.kafka, Verdict.TOPIC, Actuation.TOPIC, client_id="console", start="latest"
                )
                async with consumer:
                    await consumer.seek_to_time(self._clock() - BACK)
                    self._consumer = consumer
                    while not stop.is_set():
                        for record in await consumer.poll(_AT_ONCE, _POLL_S):
                            self.take(record)
                        self._kafka.worked()
            except KafkaError as error:
                self._kafka.failed(str(error))
                self._log.tell("kafka", f"{error}; the pages say so")
                await wait_or_stop(stop, _AGAIN_S)
            finally:
                self._consumer = None

    def take(self, record: Record) -> None:
        """Take one event; one that cannot be read is told by those whose work it is."""
        try:
            event = record.read(Verdict, Actuation)[0]
        except EventError:
            return
        if not isinstance(event, Verdict | Actuation) or event.line not in self.boards:
            return  # a line of another plant file
        board = self.boards[event.line]
        if isinstance(event, Verdict):
            board.decided(event)
            if event.artifact is not None:
                self.scored[event.line, event.station] = (event.artifact.digest, event.occurred)
        else:
            board.acted(event)

    def hear(self, said: Iterable[tuple[str, Hold | None]]) -> None:
        """Take what is said of lines on hold."""
        for _, hold in said:
            if hold is not None and hold.line in self.boards:
                self.boards[hold.line].held(hold)

    async def count(self, stop: asyncio.Event) -> None:
        """Ask the records every five seconds, until `stop` is set."""
        while not stop.is_set():
            await self.count_once()
            await wait_or_stop(stop, COUNT_EVERY_S)

    async def count_once(self) -> None:
        """Ask the records for the counts of the shift and what is open."""
        now = self._clock()
        since = self._shifts.began(now)
        try:
            counts, troubles = await self._ask(
                lambda session: (counts_by_line(session, since), open_troubles(session, self.boards))
            )
        except BusyError:
            return  # the next look is in five seconds
        except LedgerError as error:
            self._database.failed(str(error))
            self._log.tell("records", f"{error}; the pages say so")
            return
        self._database.worked()
        if (counts, troubles, since) != (self.counts, self.troubles, self.since):
            self.counts_version += 1
        self.counts, self.troubles, self.since, self.counted = counts, troubles, since, now
