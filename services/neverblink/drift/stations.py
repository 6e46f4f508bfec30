"""All the states of a worker's lines: a verdict in, reports and what to keep out. Pure: no clock, no Kafka, no Faust.

What is kept of a state lies under three keys, because it changes at three paces:

- its key itself, with every verdict: marks and open windows (`StationState`);
- `watch:` and its key, with every window: what is normal, charts, the running hour, shift and week (`StationWatch`);
- `past:` and its key, with every shift: the shifts and weeks that are over (`packed_span`).

`alerts:LINE/STATION` is the `AlertBook` of a station, over all its products and artifacts; `ids:LINE/STATION/…` are
the pages of its `VerdictMemory`.

A process may die between any two of these writes. Each of them knows by itself what it has taken: the state by its
marks, the watch by the end of its last window, the book by the moment of each signal, the memory by its offset. So they
are written in the order alerts, past, watch, state, ids, and whatever comes again changes only what had not been
written.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from neverblink.drift.alerts import AlertBook, Observation, Signal, Transition
from neverblink.drift.causes import explained
from neverblink.drift.errors import LayoutError
from neverblink.drift.history import Calendar
from neverblink.drift.station_watch import StationWatch
from neverblink.drift.statistics import (
    NO_ARTIFACT,
    StationKey,
    StationState,
    Window,
    Windowing,
    report,
)
from neverblink.drift.verdict_memory import IDS, MemoryKey, VerdictMemory
from neverblink.events import DriftAlert, DriftReport, DriftState, Verdict

ARTIFACTS_KEPT = 4
"""States of a station's product that are kept: the artifact that scores, and those that a rollback may bring back."""

ALERTS, PAST, WATCH = b"alerts:", b"past:", b"watch:"
_LAYOUT = 1
# What reading a damaged value raises: it is JSON of the wrong shape, or none.
_DAMAGE = (ValueError, TypeError, KeyError, AttributeError, IndexError)
_COUNTED_ALONE = {Signal.CHALLENGE_MISSED, Signal.CHALLENGE_ABSENT}

Read = Callable[[bytes], bytes | None]


@dataclass(slots=True)
class Taken:
    """What a verdict leads to; `state` is the key of what counts it, `changes` go in this order: None deletes.

    One that `is_second` is about a frame that had its verdict.
    """

    state: bytes
    reports: list[DriftReport] = field(default_factory=list)
    changes: dict[bytes, bytes | None] = field(default_factory=dict)
    is_new: bool = False
    is_second: bool = False
    late: int = 0


@dataclass(slots=True)
class _Station:
    """A state, its watch once it was needed, and what of it has changed since it was written."""

    key: StationKey
    state: StationState
    place: tuple[str, str, str]
    """Its line, station and product."""
    watch: StationWatch | None = None
    past_changed: bool = False
    watch_changed: bool = False


class Stations:
    """The states that one worker holds. `read` returns what is kept under a key; watches are read when needed.

    `limit_factor` widens (above 1) or narrows every limit of a measured signal or a rate.
    """

    def __init__(self, windowing: Windowing, calendar: Calendar, read: Read, *, limit_factor: float = 1.0) -> None:
        self._windowing = windowing
        self._calendar = calendar
        self._read = read
        self._limit_factor = limit_factor
        self._held: dict[bytes, _Station] = {}
        self._books: dict[tuple[str, str], AlertBook] = {}
        self._books_changed: set[tuple[str, str]] = set()
        self._memories: dict[MemoryKey, VerdictMemory] = {}
        # What is to be written, by partition: states, memories, and states that are no more.
        self._unwritten: dict[int, dict[bytes, None]] = {}
        self._unwritten_ids: dict[int, dict[MemoryKey, None]] = {}
        self._forgotten: dict[int, dict[bytes, None]] = {}
        # Per line, station and product, the state of the part that was captured last: its artifact scores now.
        self._current: dict[tuple[str, str, str], bytes] = {}
        self._siblings: dict[tuple[str, str, str], list[bytes]] = {}

    def load(self, kept: Iterable[bytes], owned: set[int]) -> list[tuple[bytes, str]]:
        """Take the states of these partitions from what is kept; return the keys of what cannot be read, and why.

        Raises LayoutError for a state of another program.
        """
        self.clear()
        damaged: list[tuple[bytes, str]] = []
        pages: dict[MemoryKey, dict[bytes, bytes]] = {}
        for raw in kept:
            if raw.startswith(IDS):
                with _begun_anew():
                    pages.setdefault(MemoryKey.from_page(raw), {})[raw] = self._read(raw) or b""
            if raw.startswith((ALERTS, PAST, WATCH, IDS)):
                continue
            try:
                state = StationState.from_bytes(self._read(raw))
                key = StationKey.from_bytes(raw)
            except _DAMAGE as error:
                damaged.append((raw, repr(error)))
                continue
            if owned.issuperset(state.marks):
                self._hold(raw, key, state)
        for raw, station in self._held.items():
            self._note_current(raw, station)
        for remembered, found in pages.items():
            if remembered.partition in owned:
                self._memories[remembered] = VerdictMemory.from_pages(found, damaged)
        return damaged

    def forget_marks(self, partition: int, end: int) -> bool:
        """Drop every mark of a partition that lies beyond its end; say whether there was one."""
        for key, memory in self._memories.items():
            if key.partition == partition:
                memory.forget_offsets(end)
        forgotten = [raw for raw, station in self._held.items() if station.state.forget_mark(partition, end)]
        return bool(forgotten)

    def clear(self) -> None:
        """Forget everything; it is kept elsewhere."""
        self._held.clear()
        self._books.clear()
        self._books_changed.clear()
        self._memories.clear()
        self._unwritten.clear()
        self._unwritten_ids.clear()
        self._forgotten.clear()
        self._current.clear()
        self._siblings.clear()

    def __iter__(self) -> Iterator[tuple[bytes, StationState]]:
        """Iterate over keys and states, as they are now."""
        return iter([(raw, station.state) for raw, station in self._held.items()])

    def place_of(self, verdict: Verdict) -> bytes:
        """Return the key of the state that counts a verdict.

        One that no artifact scored belongs to the artifact that scores the product at that station now: a rate of
        unscored parts needs both in one state.
        """
        key = StationKey.of(verdict)
        if key.artifact == NO_ARTIFACT:
            return self._current.get(key[:3], key.to_bytes())
        return key.to_bytes()

    def turns(self, verdict: Verdict) -> bool:
        """Say whether it belongs to another state than the product's verdicts at its station do now.

        Such a verdict is written alone: what has no artifact belongs to the state that is current, and after a crash
        that must be read from the states as it was.
        """
        current = self._current.get((verdict.line, verdict.station, verdict.product))
        artifact = verdict.artifact
        return current is not None and artifact is not None and artifact.digest != self._held[current].key.artifact

    def take(self, verdict: Verdict, place: tuple[int, int], moment: float) -> Taken:
        """Count a verdict and return with it what is to be written for its partition."""
        taken = self.count(verdict, place, moment)
        taken.changes = self.changes(place[0])
        return taken

    def count(self, verdict: Verdict, place: tuple[int, int], moment: float) -> Taken:
        """Count a verdict at `place` (partition, offset); `changes` of the partition are to be written afterwards.

        One that was counted before changes nothing, and neither does a second one about a frame, whatever it says: the
        first in the partition stands.
        """
        partition, offset = place
        raw = self.place_of(verdict)
        remembered = MemoryKey.of(verdict, partition)
        memory = self._memories.get(remembered)
        if memory is None:
            memory = self._memories[remembered] = VerdictMemory()
        if offset <= memory.until:
            return Taken(raw)
        if memory.has_seen(verdict.id):
            return Taken(raw, is_second=True)
        station = self._held.get(raw)
        if station is None:
            key = StationKey.from_bytes(raw)
            self._forgotten.setdefault(partition, {}).update(dict.fromkeys(self._outdated(key)))
            station = self._hold(raw, key, self._state(raw))
        if station.state.has_taken(*place):
            taken = Taken(raw)
        else:
            late = station.state.late
            closed = station.state.take(verdict, place, moment, self._windowing)
            self._unwritten.setdefault(partition, {})[raw] = None
            self._note_current(raw, station)
            reports = self._watched(station, closed) if closed else []
            taken = Taken(raw, reports, is_new=True, late=station.state.late - late)
        # A verdict that could not be counted is not remembered: it may be sent again once the program is mended.
        memory.remember(verdict.id, offset)
        self._unwritten_ids.setdefault(partition, {})[remembered] = None
        return taken

    def close_quiet(self, raw: bytes, silent_s: float) -> list[DriftReport]:
        """Report the windows of a state that has been silent for so long; it is written with the next verdict."""
        station = self._held[raw]
        return self._watched(station, station.state.close_quiet(silent_s, self._windowing))

    def states_now(self) -> Iterator[tuple[str, str, DriftState]]:
        """Yield line, station and what is said of it, of each station whose alerts or watch were needed so far."""
        found: dict[tuple[str, str], DriftState] = {}
        for raw in self._current.values():
            station = self._held[raw]
            if station.watch is not None:
                place, said = station.key[:2], self._said(station)
                found[place] = max(found.get(place, said), said, key=list(DriftState).index)
        return ((*place, said) for place, said in found.items())

    def _state(self, raw: bytes) -> StationState:
        try:
            return StationState.from_bytes(self._read(raw))
        except _DAMAGE:
            return StationState()  # `load` has told of it

    def _hold(self, raw: bytes, key: StationKey, state: StationState) -> _Station:
        station = self._held[raw] = _Station(key, state, key[:3])
        self._siblings.setdefault(station.place, []).append(raw)
        return station

    def _note_current(self, raw: bytes, station: _Station) -> None:
        """Take the artifact for the one that scores now, unless another has scored a part that was captured later.

        A scorer that has not heard of an activation may still answer first for a frame: its verdict counts, and turns
        nothing back.
        """
        place = station.place
        current = self._held.get(self._current.get(place, b""))
        if current is station:
            return
        if current is None or current.key.artifact == NO_ARTIFACT:
            takes_over = True
        else:
            takes_over = station.key.artifact != NO_ARTIFACT and _newest(station) >= _newest(current)
        if takes_over:
            self._current[place] = raw

    def _watched(self, station: _Station, closed: list[Window]) -> list[DriftReport]:
        reports = []
        if closed:
            for partition in station.state.marks:
                self._unwritten.setdefault(partition, {})[station.key.to_bytes()] = None
        for window in closed:
            watch = self._watch(station)
            before = watch.history.newest_past
            observations = watch.take(window, self._calendar, station.state.calibrated)
            station.past_changed |= watch.history.newest_past != before
            station.watch_changed = True
            alerts = self._alerts(station, window, observations)
            expected = {signal.value: one.expected for signal, one in watch.latest.items()}
            levels = {signal.value: one.level / self._limit_factor for signal, one in watch.latest.items()}
            reports.append(report(station.key, window, self._said(station), tuple(alerts), expected, levels))
        return reports

    def _alerts(self, station: _Station, window: Window, observations: list[Observation]) -> list[DriftAlert]:
        key, place = station.key, station.key[:2]
        if self._held.get(self._current.get(key[:3], b"")) is not station:
            return []  # what an artifact saw last, after another one has taken over
        book = self._book(place)
        self._books_changed.add(place)
        done: list[tuple[Transition, dict[Signal, Observation]]] = []
        for transition in book.swap(key, window.closed):
            old = self._held.get(key._replace(artifact=transition.alert.artifact).to_bytes())
            done.append((transition, self._watch(old).latest if old is not None else {}))
        for observation in observations:
            if observation.signal not in _COUNTED_ALONE:
                observation = replace(observation, level=observation.level / self._limit_factor)
            done += [(transition, self._watch(station).latest) for transition in book.take(key, observation)]
        return [explained(key, transition, latest, self._calendar.zone) for transition, latest in done]

    def _said(self, station: _Station) -> DriftState:
        alerts = self._book(station.key[:2]).open.values()
        if alerts:
            return DriftState.ACT if any(alert.acts for alert in alerts) else DriftState.WATCH
        learning = self._watch(station).is_learning(station.state.closed_until)
        return DriftState.LEARNING if learning else DriftState.STEADY

    def _watch(self, station: _Station) -> StationWatch:
        if station.watch is None:
            raw = station.key.to_bytes()
            kept = self._read(WATCH + raw)
            station.watch = StationWatch()
            if kept is not None:
                with _begun_anew():
                    station.watch = StationWatch.from_json(_checked(kept), self._read(PAST + raw) or b"")
        return station.watch

    def _book(self, place: tuple[str, str]) -> AlertBook:
        book = self._books.get(place)
        if book is None:
            kept = self._read(_book_key(place))
            book = AlertBook()
            if kept is not None:
                with _begun_anew():
                    book = AlertBook.from_json(_checked(kept))
            self._books[place] = book
        return book

    def changes(self, partition: int) -> dict[bytes, bytes | None]:
        """Return what is to be written for a partition since the last call, in this order: None deletes."""
        changes: dict[bytes, bytes | None] = dict(self._forgotten.pop(partition, {}))
        mine = {raw: self._held[raw] for raw in self._unwritten.pop(partition, ()) if raw in self._held}
        if self._books_changed:
            for place in {held.key[:2] for held in mine.values()} & self._books_changed:
                changes[_book_key(place)] = _kept(self._books[place].to_json())
                self._books_changed.discard(place)
        for raw, held in mine.items():
            if held.watch is not None and held.watch_changed:
                if held.past_changed:
                    changes[PAST + raw] = held.watch.history.archive()
                changes[WATCH + raw] = _kept(held.watch.to_json())
                held.past_changed = held.watch_changed = False
            changes[raw] = held.state.to_bytes()
        for key in self._unwritten_ids.pop(partition, ()):
            changes |= self._memories[key].unwritten(key)
        return changes

    def _outdated(self, key: StationKey) -> list[bytes]:
        """Forget a product's oldest artifacts before one more comes, and return what is to be deleted."""
        siblings = self._siblings.get(key[:3], [])
        siblings.sort(key=lambda raw: _newest(self._held[raw]))
        deleted: list[bytes] = []
        while len(siblings) >= ARTIFACTS_KEPT:
            raw = siblings.pop(0)
            del self._held[raw]
            deleted += (WATCH + raw, PAST + raw, raw)
        return deleted


@contextlib.contextmanager
def _begun_anew() -> Iterator[None]:
    """Go on with what is new where what is kept cannot be read: nobody learns from what is damaged."""
    try:
        yield
    except _DAMAGE:
        return


def _newest(station: _Station) -> tuple[float, int]:
    return station.state.clock, max(station.state.marks.values(), default=-1)


def _book_key(place: tuple[str, str]) -> bytes:
    return ALERTS + "/".join(place).encode()


def _kept(values: dict[str, Any]) -> bytes:
    return orjson.dumps({"layout": _LAYOUT} | values)


def _checked(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(raw)
    layout = found.pop("layout")
    if layout != _LAYOUT:
        raise LayoutError("the drift state", layout, _LAYOUT)
    return found
