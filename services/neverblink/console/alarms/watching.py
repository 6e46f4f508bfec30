"""Looks again and again at what stands, keeps it, and knows it for every page: a count costs no question."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from neverblink import telemetry
from neverblink.console.access.database import AccessDatabase, AccessError
from neverblink.console.alarms import book
from neverblink.console.alarms.book import Happened, Listed
from neverblink.console.alarms.condition import Condition, Origin
from neverblink.console.alarms.gathering import PATIENCE_S, LinesAmiss, from_records, of_the_console
from neverblink.console.alarms.state import State
from neverblink.console.line.feed import Feed
from neverblink.http_serving.asking import Asking, BusyError
from neverblink.kafka.trouble import Trouble, Watch
from neverblink.records.database import LedgerError
from neverblink.service_life import wait_or_stop

LOOK_EVERY_S: Final = 2.0
_SETTLES: Final = timedelta(seconds=PATIENCE_S + 5)
"""After the start the events of the last minutes are still being read: until then nothing is known to be gone."""

_OVERLAP: Final = timedelta(minutes=10)
"""The records may be behind: what ended so long before the last look is asked for again."""

_LONGEST_AWAY: Final = timedelta(days=1)
_UPKEEP_EVERY: Final = timedelta(days=1)
CALLING: Final = (State.UNACKNOWLEDGED, State.RETURNED)

Tell = Callable[[Happened], None]
Services = Callable[[datetime], Collection[Condition] | None]
"""What services tell of themselves and what their silence says; None while that cannot be known."""


def _nothing(_: datetime) -> Collection[Condition] | None:
    return None


def _quiet(_: Happened) -> None:
    return None


@dataclass(slots=True)
class AlarmBoard:
    """What stands, for whoever shows a page. `looked` is when that was last true; `tell` is told each step once."""

    standing: tuple[Listed, ...] = ()
    looked: datetime | None = None
    records: Watch = field(default_factory=Watch)
    own: Watch = field(default_factory=Watch)
    tell: Tell = _quiet

    def of(self, sees: Callable[[str], bool]) -> list[Listed]:
        """Return what stands on lines that may be seen and of the whole plant: what calls first, the worst first."""
        seen = [one for one in self.standing if one.line is None or sees(one.line)]
        return sorted(seen, key=lambda one: (one.state not in CALLING, -one.priority, -one.since.timestamp()))

    def calling(self, sees: Callable[[str], bool]) -> list[Listed]:
        """Return what nobody has acknowledged yet."""
        return [one for one in self.of(sees) if one.state in CALLING]

    @property
    def trouble(self) -> Trouble | None:
        """Return why the list may be old, None while it is not."""
        return self.own.now or self.records.now


class AlarmWatch:
    """The one who looks."""

    def __init__(
        self,
        board: AlarmBoard,
        access: AccessDatabase,
        feed: Feed,
        ask: Asking,
        clock: Callable[[], datetime],
        services: Services = _nothing,
    ) -> None:
        self._board = board
        self._access = access
        self._feed = feed
        self._ask = ask
        self._clock = clock
        self._services = services
        self._lines = LinesAmiss()
        self._since: datetime | None = None
        self._began: datetime | None = None
        self._kept_up: datetime | None = None
        self._log = telemetry.Recurring(telemetry.logger("console"))

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set."""
        while not stop.is_set():
            await self.look()
            await wait_or_stop(stop, LOOK_EVERY_S)

    async def look(self) -> None:
        """Look once; what cannot be asked stays as it was."""
        now = self._clock()
        self._began = self._began or now
        try:
            conditions, known = await self._gathered(now)
            if self._kept_up is None or now - self._kept_up >= _UPKEEP_EVERY:
                await self._access.change(lambda c: book.upkeep(c, now))
                self._kept_up = now
            happened = await self._access.change(lambda c: book.look(c, conditions, known, now))
            self._board.standing = await self._access.ask(book.listed)
        except AccessError as error:
            self._board.own.failed(str(error))
            self._log.tell("alarms", f"{error}; alarms stay as they were")
            return
        self._board.own.worked()
        self._board.looked = now
        for one in happened:
            self._board.tell(one)

    async def _gathered(self, now: datetime) -> tuple[list[Condition], set[Origin]]:
        conditions: list[Condition] = []
        known: set[Origin] = set()
        raised = await self._from_records(now)
        if raised is not None:
            conditions += raised
            known.add(Origin.RECORDS)
        services = self._services(now)
        if services is not None:
            conditions += services
            known.add(Origin.SERVICES)
        settled = self._began is not None and now - self._began >= _SETTLES
        if settled:
            conditions += of_the_console(self._feed.kafka, self._feed.database, now)
            known.add(Origin.CONSOLE)
        if settled and self._feed.reads:
            conditions += self._lines.conditions({name: one.amiss() for name, one in self._feed.boards.items()}, now)
            known.add(Origin.LINES)
        return conditions, known

    async def _from_records(self, now: datetime) -> list[Condition] | None:
        """Return what services have raised, None where the records cannot be asked now. Raises AccessError."""
        if self._since is None:
            last = await self._access.ask(book.last_step)
            self._since = max(last or now, now - _LONGEST_AWAY)
        since = self._since - _OVERLAP
        try:
            found = await self._ask(lambda session: from_records(session, self._feed.boards, since))
        except BusyError:
            return None
        except LedgerError as error:
            self._board.records.failed(str(error))
            return None
        self._board.records.worked()
        self._since = now
        return found


def told_by(board: AlarmBoard, happened: Sequence[Happened]) -> None:
    """Let the board know at once what somebody has just done."""
    new = {one.listed.number: one.listed for one in happened}
    after = [new.pop(one.number, one) for one in board.standing]
    board.standing = tuple(one for one in after if one.state is not State.NORMAL)
    for one in happened:
        board.tell(one)
