"""One line as it is now, from its verdicts and actuations: the last parts, how fast they come, what is amiss."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from neverblink.events import Actuation, Decision, GateAction, Hold, Outcome, Verdict
from neverblink.events.actuation import HELD_CODE
from neverblink.events.hold import RELEASED
from neverblink.events.parts import Reason, Tracking

KEPT: Final = 60
"""Parts that a line's page shows; the wall shows the first of them."""

RATE_OVER: Final = timedelta(minutes=2)
_SHORTEST_RATE: Final = timedelta(seconds=15)
AMISS_OVER: Final = timedelta(minutes=5)
IDLE_AFTER: Final = timedelta(minutes=2)
_MOST_NOTED: Final = 20_000
_SAME_PART: Final = timedelta(minutes=30)
"""A number that comes again after so long is another part's: a PLC counts from the beginning."""

State = Literal["idle", "well", "watch", "act"]
_WORST = (Decision.REJECT, Decision.UNSCORED, Decision.PASS)
_OF_THE_CAMERA = frozenset(
    {
        Reason.NO_IMAGE, Reason.CORRUPT_IMAGE, Reason.IMAGE_TOO_LARGE, Reason.WRONG_TYPE, Reason.TOO_DARK,
        Reason.SATURATED, Reason.BLURRED, Reason.LOW_CONTRAST, Reason.FROZEN, Reason.WRONG_SIZE,
    }
)  # fmt: skip
_MANY = 3
"""So many of one kind within AMISS_OVER want somebody now; fewer want an eye on them."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the last parts. `verdict` leads to its page; `stations` are those that have decided."""

    key: tuple[object, ...]
    label: str
    captured: datetime
    decision: Decision | None = None
    reason: str | None = None
    verdict: str | None = None
    unsure: bool = False
    late: bool = False
    stations: frozenset[str] = frozenset()
    told: Outcome | None = None
    gate: GateAction | None = None
    incident: bool = False


@dataclass(frozen=True, slots=True)
class Chip:
    """How one step of the line does: `last` is when it last did something, `count` what is amiss in five minutes."""

    name: Literal["camera", "scorer", "bridge", "gate"]
    state: State
    last: datetime | None
    count: int = 0
    ms: float | None = None


@dataclass(frozen=True, slots=True)
class BoardView:
    """What a page shows of a line, from its events alone."""

    line: str
    product: str | None
    tiles: tuple[Tile, ...]
    per_minute: float
    last: datetime | None
    chips: tuple[Chip, ...]
    holds: tuple[Hold, ...] = ()


@dataclass(frozen=True, slots=True)
class Amiss:
    """How many parts of AMISS_OVER had no usable picture, no score, no word in time for PLC or gate, or were let by."""

    no_picture: int
    no_score: int
    not_told: int
    not_gated: int
    escaped: int


@dataclass(frozen=True, slots=True)
class Spare:
    """Seconds that were left before the deadline of the last parts: of the middle one and of the worst."""

    typical_s: float
    least_s: float
    of: int


@dataclass(slots=True)
class _Noted:
    """Instants of one kind of thing within AMISS_OVER."""

    at: deque[datetime] = field(default_factory=lambda: deque(maxlen=_MOST_NOTED))
    last: datetime | None = None

    def note(self, moment: datetime) -> None:
        self.at.append(moment)
        self.last = moment if self.last is None else max(self.last, moment)

    def since(self, moment: datetime) -> int:
        return sum(one >= moment for one in self.at)

    def forget(self, before: datetime) -> None:
        while self.at and self.at[0] < before:
            self.at.popleft()


class LineBoard:
    """Takes a line's events in whatever order they come; `version` grows with each that changes something."""

    def __init__(self, line: str, *, has_plc: bool, clock: Callable[[], datetime]) -> None:
        self._line = line
        self._has_plc = has_plc
        self._clock = clock
        self._tiles: OrderedDict[tuple[object, ...], Tile] = OrderedDict()
        self._product: str | None = None
        self._parts, self._scored, self._told, self._acted = _Noted(), _Noted(), _Noted(), _Noted()
        self._no_picture, self._no_score, self._not_told, self._not_gated = _Noted(), _Noted(), _Noted(), _Noted()
        self._escaped = _Noted()
        self._score_ms: deque[float] = deque(maxlen=50)
        self._slack_ms: deque[float] = deque(maxlen=50)
        self._left_s: deque[float] = deque(maxlen=50)
        self._told_left_s: deque[float] = deque(maxlen=50)
        self._holds: dict[str, Hold] = {}
        self.version = 0

    def decided(self, verdict: Verdict) -> None:
        """Take a verdict."""
        label = verdict.part if verdict.identity is None else verdict.identity.serial or verdict.part
        tile = self._tile(verdict.tracking, verdict.part, verdict.times.captured, label)
        if verdict.station in tile.stations:
            return  # it came before
        if not tile.stations:
            self._parts.note(tile.captured)
        self._product = verdict.product
        self._scored.note(verdict.occurred)
        if verdict.times.emitted is not None:
            self._left_s.append((verdict.deadline - verdict.times.emitted).total_seconds())
        if verdict.decision is Decision.UNSCORED:
            kind = self._no_picture if verdict.reason in _OF_THE_CAMERA else self._no_score
            kind.note(verdict.times.captured)
        elif verdict.times.emitted is not None:
            self._score_ms.append((verdict.times.emitted - verdict.times.captured).total_seconds() * 1000)
        changed = replace(tile, stations=tile.stations | {verdict.station}, label=label)
        changed = replace(changed, unsure=tile.unsure or verdict.unsure, late=tile.late or verdict.late)
        if _counts_more(verdict, tile):
            changed = replace(changed, decision=verdict.decision, reason=verdict.reason, verdict=verdict.id)
        elif tile.verdict is None:
            changed = replace(changed, verdict=verdict.id)
        self._put(changed)

    def acted(self, actuation: Actuation) -> None:
        """Take what the PLC was told, or what its gate did."""
        identity = actuation.identity
        name = actuation.part or f"{actuation.tracking.epoch}-{actuation.tracking.number}"
        label = name if identity is None else identity.serial or name
        tile = self._tile(actuation.tracking, name, actuation.at, label)
        if actuation.outcome is not None and tile.told is None:
            self._told.note(actuation.at)
            if actuation.deadline is not None and actuation.code != HELD_CODE:
                self._told_left_s.append((actuation.deadline - actuation.at).total_seconds())
            if actuation.outcome is not Outcome.CONFIRMED and actuation.code != HELD_CODE:
                self._not_told.note(actuation.at)
            elif actuation.slack_ms is not None:
                self._slack_ms.append(actuation.slack_ms)
            self._put(replace(tile, told=actuation.outcome, decision=tile.decision or actuation.decision))
        elif actuation.gate is not None and tile.gate is None:
            self._acted.note(actuation.at)
            if actuation.gate not in (GateAction.PASSED, GateAction.REJECTED):
                self._not_gated.note(actuation.at)
            if actuation.incident:
                self._escaped.note(actuation.at)
            self._put(replace(tile, gate=actuation.gate, incident=actuation.incident))

    def held(self, hold: Hold) -> None:
        """Take what people or the PLC say of the line: on hold, in bypass, or released."""
        self._holds.pop(hold.source, None)
        if hold.state != RELEASED:
            self._holds[hold.source] = hold
        self.version += 1

    def view(self) -> BoardView:
        """Return the line as it is now."""
        now = self._clock()
        for noted in (self._no_picture, self._no_score, self._not_told, self._not_gated, self._escaped, self._parts):
            noted.forget(now - AMISS_OVER)
        tiles = sorted(self._tiles.values(), key=lambda tile: tile.captured, reverse=True)
        return BoardView(
            line=self._line,
            product=self._product,
            tiles=tuple(tiles[:KEPT]),
            per_minute=self._per_minute(now),
            last=self._parts.last,
            chips=self._chips(now),
            holds=tuple(self._holds.values()),
        )

    def spare(self) -> tuple[Spare | None, Spare | None]:
        """Return what was left when parts were decided, and when the PLC was told; None where that is not known."""
        return _spare(self._left_s), _spare(self._told_left_s)

    def amiss(self) -> Amiss:
        """Return what is amiss now."""
        since = self._clock() - AMISS_OVER
        kinds = (self._no_picture, self._no_score, self._not_told, self._not_gated, self._escaped)
        return Amiss(*(kind.since(since) for kind in kinds))

    def _per_minute(self, now: datetime) -> float:
        """Return how fast parts come: over two minutes, or since the first where that is shorter."""
        count = self._parts.since(now - RATE_OVER)
        if not count:
            return 0.0
        known = now - min(self._parts.at)
        return count / (min(RATE_OVER, max(known, _SHORTEST_RATE)) / timedelta(minutes=1))

    def _chips(self, now: datetime) -> tuple[Chip, ...]:
        found = [
            self._chip("camera", now, self._parts, self._no_picture),
            replace(self._chip("scorer", now, self._scored, self._no_score), ms=_middle(self._score_ms)),
        ]
        if self._has_plc:
            gate = self._chip("gate", now, self._acted, self._not_gated)
            if escaped := self._escaped.since(now - AMISS_OVER):
                gate = replace(gate, state="act", count=gate.count + escaped)
            bridge = replace(self._chip("bridge", now, self._told, self._not_told), ms=_middle(self._slack_ms))
            found += [bridge, gate]
        return tuple(found)

    def _chip(
        self, name: Literal["camera", "scorer", "bridge", "gate"], now: datetime, done: _Noted, amiss: _Noted
    ) -> Chip:
        count = amiss.since(now - AMISS_OVER)
        state: State = "act" if count >= _MANY else "watch" if count else "well"
        if state == "well" and (done.last is None or now - done.last > IDLE_AFTER):
            state = "idle"
        return Chip(name, state, done.last, count)

    def _tile(self, tracking: Tracking | None, part: str, moment: datetime, label: str) -> Tile:
        """Return the tile of a part, a new one where it is not known yet."""
        key: tuple[object, ...] = (part,) if tracking is None else (tracking.epoch, tracking.number)
        known = self._tiles.get(key)
        if known is not None and abs(moment - known.captured) < _SAME_PART:
            return known
        return Tile(key, label, moment)

    def _put(self, tile: Tile) -> None:
        self._tiles[tile.key] = tile
        self.version += 1
        if len(self._tiles) > 2 * KEPT:
            oldest = sorted(self._tiles.values(), key=lambda one: one.captured)[:KEPT]
            for one in oldest:
                del self._tiles[one.key]


def _counts_more(verdict: Verdict, tile: Tile) -> bool:
    """Say whether a verdict is worse than what is known, or says why of what the PLC was told already."""
    if tile.decision is None:
        return True
    own, known = _WORST.index(verdict.decision), _WORST.index(tile.decision)
    return own < known or (own == known and (tile.reason is None or tile.verdict is None))


def _spare(left_s: deque[float]) -> Spare | None:
    middle = _middle(left_s)
    return None if middle is None else Spare(middle, min(left_s), len(left_s))


def _middle(values: deque[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
