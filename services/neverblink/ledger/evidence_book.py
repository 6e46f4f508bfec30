"""What is wanted of evidence, what lies in its store and what was lost: the rows of it. Everything here blocks."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from neverblink.events import Decision
from neverblink.events.drift import AlertStage
from neverblink.events.identity import derived_id, sample_place
from neverblink.plant import EvidencePolicy
from neverblink.records.columns import Table
from neverblink.records.database import Database
from neverblink.records.part_tables import EvidenceFileRow, EvidenceWantedRow, LedgerStateRow
from neverblink.records.tables import DriftAlertRow, VerdictRow

FRAME: Final = "frame"
UNNEEDED: Final = ("pass", "alert")
"""Why pictures are kept that nobody has to look at."""
TO_LOOK_AT: Final = ("reject", "unscored", "unsure", "holdout", "challenge")
"""Why pictures are kept that a person should look at: none of them goes before somebody has."""

NO_PLACE: Final = "no-place"

_STATE = "evidence"
_PAGE = 2000
_OVERLAP = timedelta(seconds=5)
"""Verdicts that were recorded so shortly before are looked at again: a clock may have been set back a little."""
_A_LITTLE = timedelta(microseconds=1)
_ALERTS_EVERY = timedelta(seconds=10)

_V, _W, _F = VerdictRow, EvidenceWantedRow, EvidenceFileRow
_FACTS = (
    _V.id, _V.frame_id, _V.line, _V.station, _V.product, _V.decision, _V.unsure, _V.holdout, _V.challenge,
    _V.captured, _V.frame_partition, _V.frame_offset, _V.recorded,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """A frame that shall be kept, and where its topic holds it."""

    id: str
    frame_id: str
    verdict_id: str
    line: str
    station: str
    product: str
    why: str
    captured: datetime
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that lies in the store, before its row is written."""

    id: str
    frame_id: str
    verdict_id: str
    line: str
    station: str
    product: str
    kind: str
    why: str
    captured: datetime
    digest: str
    bytes: int
    content_type: str


@dataclass(frozen=True, slots=True)
class _Window:
    """The time around one alert of a station. What was recorded before it was known is searched from `after` on."""

    id: str
    line: str
    station: str
    begins: datetime
    ends: datetime
    after: tuple[datetime, str] = field(default=(datetime.min.replace(tzinfo=UTC), ""))

    def holds(self, row: Any) -> bool:
        return (row.line, row.station) == (self.line, self.station) and self.begins <= row.captured <= self.ends


def picture_id(frame_id: str, kind: str) -> str:
    """Return the id of one kept picture of a frame."""
    return derived_id("evidence-file", frame_id, kind)


class EvidenceBook:
    """The rows of evidence in the records' database. For one thread at a time; raises LedgerError.

    What is wanted becomes a row before anything is fetched: whoever is killed between two steps goes on with it.
    `forgotten_after` is for how long the frames topic holds a frame.
    """

    def __init__(self, database: Database, policy: EvidencePolicy, forgotten_after: timedelta) -> None:
        self._database = database
        self._policy = policy
        self._horizon = forgotten_after
        self._cursor: tuple[datetime, str] | None = None
        self._windows: tuple[_Window, ...] = ()
        self._windows_at: datetime | None = None
        self._searched: set[str] = set()
        self._to_search: deque[_Window] = deque()

    def look(self, now: datetime) -> bool:
        """Write down which frames the newly recorded verdicts and alerts want; return whether there is more to see."""
        with self._database.writing() as connection:
            self._know_alerts(connection, now)
            if self._to_search:
                self._search_window(connection, now)
                return True
            return self._look_at_verdicts(connection, now)

    def looked_until(self) -> datetime | None:
        """Return up to which instant of recording the verdicts have been looked at; None before the first."""
        with self._database.asking() as connection:
            return _mark(connection)

    def next_wanted(self, each: int, most: int, without: Collection[str] = ()) -> list[Wanted]:
        """Return what to fetch next, of every line the same number: first what a person should look at, oldest first.

        `without` are ids that are not to be tried now.
        """
        found: list[Wanted] = []
        with self._database.asking() as connection:
            line = ""
            while len(found) < most and (line := _next_line(connection, line)):
                query = (
                    select(
                        _W.id, _W.frame_id, _W.verdict_id, _W.line, _W.station, _W.product, _W.why, _W.captured,
                        _W.frame_partition, _W.frame_offset,
                    )
                    .where(_W.lost.is_(None), _W.line == line)
                    .order_by(_W.urgency, _W.captured)
                    .limit(each + len(without))
                )  # fmt: skip
                rows: list[Any] = [row for row in connection.execute(query) if row.id not in without]
                found += [Wanted(*row) for row in rows[:each]]
        return found[:most]

    def keep(self, pictures: Sequence[Picture], now: datetime) -> None:
        """Write the rows of pictures that lie in the store now."""
        rows = [
            {name: getattr(one, name) for name in Picture.__dataclass_fields__} | {"kept": now, "deleted": None}
            for one in pictures
        ]
        with self._database.writing() as connection:
            _insert_new(connection, _F, rows)
            connection.execute(delete(_W).where(_W.id.in_([one.id for one in pictures])))

    def lose(self, lost: Mapping[str, str]) -> None:
        """Write down why wanted frames cannot be had: a word by id."""
        with self._database.writing() as connection:
            for identity, why in lost.items():
                connection.execute(update(_W).where(_W.id == identity).values(lost=why))

    def forget_lost(self, before: datetime) -> None:
        """Delete the rows of what was lost and captured before an instant."""
        with self._database.writing() as connection:
            connection.execute(delete(_W).where(_W.lost.is_not(None), _W.captured < before))

    def known_digests(self, digests: Collection[str]) -> set[str]:
        """Return those digests that a row says lie in the store."""
        with self._database.asking() as connection:
            query = select(_F.digest).where(_F.digest.in_(list(digests)), _F.deleted.is_(None))
            return set(connection.scalars(query))

    def kept_bytes(self) -> int:
        """Return how many bytes lie in the store, by the rows; what lies there once counts once."""
        once = select(func.max(_F.bytes).label("bytes")).where(_F.deleted.is_(None)).group_by(_F.digest).subquery()
        with self._database.asking() as connection:
            return int(connection.scalar(select(func.coalesce(func.sum(once.c.bytes), 0))) or 0)

    def wanted_of(self, verdicts: Collection[str]) -> dict[str, tuple[str, str, datetime]]:
        """Return why, product and capture of the frames that are kept or wanted, by the id of their verdict."""
        with self._database.asking() as connection:
            found = {}
            for table, only in ((_F, _F.kind == FRAME), (_W, _W.why != "")):
                query = select(table.verdict_id, table.why, table.product, table.captured)
                for row in connection.execute(query.where(table.verdict_id.in_(list(verdicts)), only)):
                    found[row.verdict_id] = (row.why, row.product, row.captured)
            return found

    def looked_at(self, verdicts: Collection[str]) -> set[str]:
        """Return those verdicts whose frames have been wanted or not: the others are not recorded yet."""
        with self._database.asking() as connection:
            mark = _mark(connection)
            if mark is None:
                return set()
            return set(connection.scalars(select(_V.id).where(_V.id.in_(list(verdicts)), _V.recorded <= mark)))

    def want_again(self, identity: str, now: datetime) -> bool:
        """Let a picture go whose file is not there, and want its frame again while the topic has it.

        Returns whether it is wanted again.
        """
        with self._database.writing() as connection:
            row = connection.execute(select(_F).where(_F.id == identity)).mappings().one()
            verdict = connection.execute(select(*_FACTS).where(_V.id == row["verdict_id"])).one_or_none()
            young = row["kind"] == FRAME and row["captured"] > now - self._horizon
            if young and verdict is not None and verdict.frame_offset is not None:
                connection.execute(delete(_F).where(_F.id == identity))
                self._want(connection, [(verdict, row["why"])])
                return True
            connection.execute(update(_F).where(_F.id == identity).values(deleted=now))
            return False

    def rows_of_shelf(self, shelf: str) -> dict[str, list[str]]:
        """Return the ids of the rows whose files shall lie on one shelf of the store, by digest."""
        found: dict[str, list[str]] = {}
        # The digests are hexadecimal, so what follows a shelf's name begins below its name with a `g`.
        query = select(_F.digest, _F.id).where(_F.digest >= shelf, _F.digest < f"{shelf}g", _F.deleted.is_(None))
        with self._database.asking() as connection:
            for digest, identity in connection.execute(query):
                found.setdefault(digest, []).append(identity)
        return found

    def delete(
        self, of: ColumnElement[bool], most: int, now: datetime, enough: int | None = None
    ) -> tuple[int, list[tuple[str, int]]]:
        """Mark the oldest rows of a kind as deleted; return how many, and the files that no row needs now.

        At most `most` rows, and where `enough` is given only until the files have so many bytes together.
        """
        with self._database.writing() as connection:
            query = select(_F.id, _F.digest, _F.bytes).where(_F.deleted.is_(None), of)
            rows = connection.execute(query.order_by(_F.captured, _F.id).limit(most)).all()
            gone: list[tuple[str, int]] = []
            taken = 0
            for row in rows:
                if enough is not None and sum(size for _, size in gone) >= enough:
                    break
                taken += 1
                connection.execute(update(_F).where(_F.id == row.id).values(deleted=now))
                others = select(func.count()).where(_F.digest == row.digest, _F.deleted.is_(None))
                if not connection.scalar(others):
                    gone.append((row.digest, row.bytes))
            return taken, gone

    def counts(self, of: ColumnElement[bool]) -> dict[str, int]:
        """Return how many pictures of a kind there are, by why they were kept."""
        query = select(_F.why, func.count()).where(_F.deleted.is_(None), of).group_by(_F.why)
        with self._database.asking() as connection:
            found: list[Any] = list(connection.execute(query))
            return dict(found)

    def _know_alerts(self, connection: Connection, now: datetime) -> None:
        if self._windows_at is not None and timedelta() <= now - self._windows_at < _ALERTS_EVERY:
            return
        around = timedelta(minutes=self._policy.around_alerts_min)
        self._windows_at = now
        if not around:
            return
        a = DriftAlertRow
        query = select(a.id, a.stage, a.line, a.station, a.at).where(
            a.stage.in_([AlertStage.RAISED.value, AlertStage.ESCALATED.value]), a.at >= now - self._horizon - around
        )
        self._windows = tuple(
            _Window(f"{row.id}/{row.stage}", row.line, row.station, row.at - around, row.at + around)
            for row in connection.execute(query)
        )
        known = {window.id for window in self._windows}
        self._to_search.extend(window for window in self._windows if window.id not in self._searched)
        self._searched = known

    def _search_window(self, connection: Connection, now: datetime) -> None:
        """Want a page of the passes around an alert that were recorded before it was known."""
        window = self._to_search.popleft()
        begins = max(window.begins, now - self._horizon)
        after, identity = max(window.after, (begins, ""))
        query = (
            select(*_FACTS)
            .where(_V.line == window.line, _V.station == window.station)
            .where(_V.captured >= after, _V.captured <= window.ends)
            .where(or_(_V.captured > after, _V.id > identity))
            .order_by(_V.captured, _V.id)
            .limit(_PAGE)
        )
        rows = connection.execute(query).all()
        self._want(connection, [(row, self._why(row) or "alert") for row in rows])
        if len(rows) == _PAGE:
            self._to_search.appendleft(replace(window, after=(rows[-1].captured, rows[-1].id)))

    def _look_at_verdicts(self, connection: Connection, now: datetime) -> bool:
        known = _mark(connection)
        mark = known or now - self._horizon
        since, identity = self._cursor or (min(mark, now) - _OVERLAP, "")
        query = select(*_FACTS).where(
            _V.recorded >= since, or_(_V.recorded > since, and_(_V.recorded == since, _V.id > identity))
        )
        if not self._policy.passes and not self._windows:
            flagged = or_(_V.unsure.is_(True), _V.holdout.is_(True), _V.challenge.is_(True))
            query = query.where(or_(_V.decision != Decision.PASS.value, flagged))
        rows = connection.execute(query.order_by(_V.recorded, _V.id).limit(_PAGE)).all()
        self._want(connection, [(row, why) for row in rows if (why := self._why(row)) is not None])
        self._cursor = (rows[-1].recorded, rows[-1].id) if len(rows) == _PAGE else None
        if rows:
            # Of the last instant of a full page there may be more.
            mark = max(mark, rows[-1].recorded) if self._cursor is None else rows[-1].recorded - _A_LITTLE
        if mark != known:
            _set_mark(connection, mark, now)
        return self._cursor is not None

    def _why(self, row: Any) -> str | None:
        """Return why a verdict's frame is kept, None when it is not."""
        if row.challenge:
            return "challenge"
        if row.holdout:
            return "holdout"
        if row.decision != Decision.PASS.value:
            return str(row.decision)
        if row.unsure:
            return "unsure"
        if any(window.holds(row) for window in self._windows):
            return "alert"
        return "pass" if sample_place(row.frame_id) < self._policy.passes else None

    def _want(self, connection: Connection, wanted: Iterable[tuple[Any, str]]) -> None:
        rows = [
            {
                "id": picture_id(row.frame_id, FRAME),
                "frame_id": row.frame_id,
                "verdict_id": row.id,
                "line": row.line,
                "station": row.station,
                "product": row.product,
                "why": why,
                "urgency": int(why in UNNEEDED),
                "captured": row.captured,
                "frame_partition": row.frame_partition,
                "frame_offset": row.frame_offset,
                "lost": None if row.frame_offset is not None else NO_PLACE,
            }
            for row, why in wanted
            # A camera node says by itself that a part has no picture: nothing is lost there.
            if row.frame_offset is not None or row.decision != Decision.UNSCORED.value
        ]
        if not rows:
            return
        kept = set(connection.scalars(select(_F.id).where(_F.id.in_([row["id"] for row in rows]))))
        _insert_new(connection, _W, [row for row in rows if row["id"] not in kept])


def _next_line(connection: Connection, after: str) -> str:
    """Return the line of which something is wanted that comes next by name, empty where there is none."""
    return connection.scalar(select(func.min(_W.line)).where(_W.lost.is_(None), _W.line > after)) or ""


def _mark(connection: Connection) -> datetime | None:
    value = connection.scalar(select(LedgerStateRow.value).where(LedgerStateRow.name == _STATE))
    return None if value is None else datetime.fromisoformat(value["looked_until"])


def _set_mark(connection: Connection, mark: datetime, now: datetime) -> None:
    said: dict[str, Any] = {"value": {"looked_until": mark.isoformat()}, "at": now}
    if not connection.execute(update(LedgerStateRow).where(LedgerStateRow.name == _STATE).values(**said)).rowcount:
        connection.execute(_dialect(connection).insert(LedgerStateRow).values(name=_STATE, **said))


def _insert_new(connection: Connection, table: type[Table], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose ids are not there yet."""
    if rows:
        connection.execute(
            _dialect(connection).insert(table).on_conflict_do_nothing(index_elements=("id",)), list(rows)
        )


def _dialect(connection: Connection) -> Any:
    return sqlite if connection.dialect.name == "sqlite" else postgresql
