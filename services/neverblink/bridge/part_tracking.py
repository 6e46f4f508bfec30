"""Which verdicts belong to one part, and what they decide together. Pure.

A part is released when every station passed it, rejected when one does not, and left to the PLC's fail-safe
when a station is missing at the deadline. The first decision stands.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from neverblink.events import Actuation, Decision, Identity, Verdict
from neverblink.plc.contract import Code
from neverblink.plc.word import NUMBERS, parts_behind

MEMORY = 4096
_AHEAD = NUMBERS // 2

_CODES = {Decision.PASS: Code.PASS, Decision.REJECT: Code.REJECT, Decision.UNSCORED: Code.UNSURE}


class Effect(StrEnum):
    """What a verdict did."""

    DECIDED = "decided"
    WAITING = "waiting"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    SPOKEN_TWICE = "spoken-twice"
    LATE = "late"
    FOREIGN_STATION = "foreign-station"
    REFUSED_COUNT = "refused-count"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class PartDecision:
    """What is to be told about a part. `missing` names the stations that did not speak in time.

    `trace` is the trace of the verdict that decided, or of the last that was heard, `others` are those of the verdicts
    before it; `reason` and `late` are that verdict's.

    One that is `held` is told as that, whatever the stations say: its line was on hold while it was on the belt.
    """

    epoch: int
    number: int
    part: str | None
    decision: Decision
    verdicts: tuple[str, ...]
    deadline: float
    triggered: float
    trace: Mapping[str, str]
    missing: tuple[str, ...] = ()
    identity: Identity | None = None
    holdout: bool = False
    held: bool = False
    others: tuple[Mapping[str, str], ...] = ()
    reason: str | None = None
    late: bool = False

    @property
    def code(self) -> int:
        """Return the code of the verdict word."""
        return Code.HELD if self.held else _CODES[self.decision]


@dataclass(slots=True)
class _Closed:
    heard: set[str]
    in_time: bool
    spoke: set[str] = field(default_factory=set)
    held: bool = False


@dataclass(slots=True)
class _Open:
    triggered: float
    deadline: float
    seen: tuple[float, float] | None = None
    stated: bool = False
    part: str | None = None
    traces: list[Mapping[str, str]] = field(default_factory=list)
    spoke: dict[str, str] = field(default_factory=dict)
    identity: Identity | None = None
    holdout: bool = False


class PartTracking:
    """The parts between trigger and gate of one line. Times are seconds of one wall clock."""

    def __init__(self, stations: Sequence[str], budget_s: float) -> None:
        self._stations = tuple(stations)
        self._budget_s = budget_s
        self._open: dict[tuple[int, int], _Open] = {}
        self._closed: OrderedDict[tuple[int, int], _Closed] = OrderedDict()
        self._epoch: int | None = None
        self._last: int = 0

    @property
    def open_parts(self) -> int:
        """Return how many parts wait for a decision."""
        return len(self._open)

    def triggered(
        self,
        epoch: int,
        last: int,
        at: float,
        at_most: int,
        *,
        budget_s: float | None = None,
        seen: tuple[float, float] | None = None,
    ) -> int:
        """Open the parts that the PLC has triggered since the last call, at most so many.

        The first call is the baseline. `budget_s` is the time from `at` to their deadline, where it is not the line's;
        `seen` between which instants they were triggered, where that is known.
        Returns how many were too many to open.
        """
        if self._epoch is None or not self._stations:
            self._epoch, self._last = epoch, last
            return 0
        new = parts_behind(last, self._last)
        if epoch != self._epoch and (new >= _AHEAD or last <= at_most):
            # It counts from 1, and may have passed the old epoch's last number before we look.
            new = last
        elif new >= _AHEAD:
            new = 0
        self._epoch, self._last = epoch, last
        for back in range(min(new, at_most) - 1, -1, -1):
            key = epoch, (last - back) % NUMBERS
            if key not in self._open and key not in self._closed:
                self._open[key] = _Open(at, at + (self._budget_s if budget_s is None else budget_s), seen)
        return max(0, new - at_most)

    def seen(self, epoch: int, number: int) -> tuple[float, float] | None:
        """Return between which instants an open part was triggered, None where that is not known."""
        part = self._open.get((epoch, number))
        return None if part is None else part.seen

    def add(
        self, verdict: Verdict, deadline: float, trace: Mapping[str, str], captured: float | None = None
    ) -> tuple[Effect, PartDecision | None]:
        """Take a station's verdict on a tracked part; `deadline` is when the PLC must have the word.

        `captured` is when its picture was taken by our clock, where that is not the verdict's own instant.
        """
        assert verdict.tracking is not None
        key = verdict.tracking.epoch, verdict.tracking.number
        if verdict.station not in self._stations:
            return Effect.FOREIGN_STATION, None
        if (closed := self._closed.get(key)) is not None:
            return _after_the_end(closed, verdict), None
        captured = verdict.times.captured.timestamp() if captured is None else captured
        part = self._open.setdefault(key, _Open(captured, deadline))
        if (said := part.spoke.get(verdict.station)) is not None:
            return (Effect.DUPLICATE if said == verdict.id else Effect.SPOKEN_TWICE), None
        # The PLC is polled, so its trigger is known late; the camera's instant is the truth.
        part.deadline = min(part.deadline, deadline) if part.stated else deadline
        part.triggered = min(part.triggered, captured) if part.stated else captured
        part.stated, part.part = True, verdict.part
        if trace:
            part.traces.append(trace)
        part.identity = part.identity or verdict.identity
        part.holdout = part.holdout or verdict.holdout
        part.spoke[verdict.station] = verdict.id
        if verdict.decision is not Decision.PASS:
            decision = self._close(key, verdict.decision)
            return Effect.DECIDED, replace(decision, reason=verdict.reason, late=verdict.late)
        if len(part.spoke) < len(self._stations):
            return Effect.WAITING, None
        return Effect.DECIDED, self._close(key, Decision.PASS)

    def settled(self, decision: PartDecision) -> None:
        """Take that this part was decided and reported by the bridge before this one."""
        self._close_for_good((decision.epoch, decision.number), _Closed(set(decision.verdicts), in_time=True))

    def expire(self, now: float) -> list[PartDecision]:
        """Close the parts whose deadline has passed with a station missing."""
        due = [key for key, part in self._open.items() if part.deadline <= now]
        return [self._close(key, Decision.UNSCORED, in_time=False) for key in due]

    def abandon(self, *, but_epoch: int | None = None) -> Iterator[PartDecision]:
        """Close all undecided parts, or those of every other epoch."""
        for key in list(self._open):
            if key[0] != but_epoch:
                yield self._close(key, Decision.UNSCORED, in_time=False)

    def hold(self) -> list[PartDecision]:
        """Close all undecided parts as held: nobody waits for what their stations would say."""
        return [self._close(key, Decision.UNSCORED, in_time=False, held=True) for key in list(self._open)]

    def _close_for_good(self, key: tuple[int, int], closed: _Closed) -> None:
        self._closed[key] = closed
        if len(self._closed) > MEMORY:
            self._closed.popitem(last=False)

    def _close(
        self, key: tuple[int, int], decision: Decision, *, in_time: bool = True, held: bool = False
    ) -> PartDecision:
        part = self._open.pop(key)
        self._close_for_good(key, _Closed(set(part.spoke.values()), in_time, set(part.spoke), held))
        missing = () if in_time or held else tuple(name for name in self._stations if name not in part.spoke)
        return PartDecision(
            *key,
            part.part,
            decision,
            tuple(part.spoke.values()),
            part.deadline,
            part.triggered,
            part.traces[-1] if part.traces else {},
            missing,
            part.identity,
            part.holdout,
            held,
            tuple(part.traces[:-1]),
        )


def inherited(told: Actuation) -> PartDecision:
    """Return what another bridge decided about a part, from the outcome that it reported."""
    at = told.at.timestamp()
    return PartDecision(
        told.tracking.epoch,
        told.tracking.number,
        told.part,
        told.decision or Decision.UNSCORED,
        told.verdicts,
        at if told.deadline is None else told.deadline.timestamp(),
        at - (told.trigger_to_told_ms or 0.0) / 1000,
        {},
        identity=told.identity,
        held=told.code == Code.HELD,
    )


def _after_the_end(closed: _Closed, verdict: Verdict) -> Effect:
    if verdict.id in closed.heard:
        return Effect.DUPLICATE
    closed.heard.add(verdict.id)
    if closed.held:
        return Effect.HELD
    if not closed.in_time:
        return Effect.LATE
    if verdict.station in closed.spoke:
        return Effect.SPOKEN_TWICE
    # Another station had rejected the part before: the first decision stands.
    closed.spoke.add(verdict.station)
    return Effect.SUPERSEDED
