"""What is counted about a station, in windows of event time. Pure: no clock, no Kafka, no Faust.

A window closes when event time has passed its end by the allowed lateness. Event time of a state is the
latest capture instant it has seen; while nothing arrives, it is assumed to run on at the pace of the wall
clock (`close_quiet`), so the last window of a shift is reported too. What belongs to a closed window is late:
it is counted as such and changes no report.

Kafka delivers a record at least once. The state keeps the offset of the last record it has taken of each
partition, so a record that comes again changes nothing, and the state that is restored after a crash is the
one that would have been without it.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Self

import orjson

from neverblink.drift.errors import LayoutError
from neverblink.drift.moments import Moments
from neverblink.drift.score_sketch import ScoreSketch
from neverblink.events import (
    CalibratedScores,
    Decision,
    DriftAlert,
    DriftReport,
    DriftState,
    Verdict,
)
from neverblink.events.identity import derived_id

NO_ARTIFACT = "none"

# With so many passing parts the mean is known to a tenth of their standard deviation (1/√100).
LEARNT_PARTS = 100

_REASONS = 32
_LONGEST_REASON = 64
OTHER = "other"
"""Where reasons are counted that come after so many different ones."""

_LAYOUT = 3
_READ_LAYOUTS = (1, 2, _LAYOUT)
"""The first had counts, score and brightness alone, both older ones what is now learnt by the watch. They are read, so
that an update loses no open window."""


class StationKey(NamedTuple):
    """Whose state it is. All of a line's keys lie in one partition, because verdicts are keyed by line."""

    line: str
    station: str
    product: str
    artifact: str

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """Return the key of a verdict."""
        artifact = verdict.artifact.digest if verdict.artifact is not None else NO_ARTIFACT
        return cls(verdict.line, verdict.station, verdict.product, artifact)

    def to_bytes(self) -> bytes:
        """Return the key as the table knows it. No part of it can hold a slash."""
        return "/".join(self).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a table's key."""
        return cls(*raw.decode().split("/"))


LOOKS = ("brightness", "contrast", "sharpness", "saturation")
"""What is measured of the image itself, fields of `Quality`."""


@dataclass(slots=True)
class Challenges:
    """What became of known defective parts that were sent to prove the system; unscored ones were turned away too."""

    hits: int = 0
    misses: int = 0
    unscored: int = 0

    def add(self, decision: Decision) -> None:
        """Count one."""
        match decision:
            case Decision.PASS:
                self.misses += 1
            case Decision.REJECT:
                self.hits += 1
            case Decision.UNSCORED:
                self.unscored += 1

    def merge(self, other: "Challenges") -> None:
        """Take another's counts."""
        self.hits += other.hits
        self.misses += other.misses
        self.unscored += other.unscored

    @property
    def count(self) -> int:
        """How many were sent."""
        return self.hits + self.misses + self.unscored


def as_of_a_defect(verdict: Verdict) -> Verdict:
    """Return the verdict of a good reference part so that it counts as a defective one's would: a pass is a hit."""
    swapped = {Decision.PASS: Decision.REJECT, Decision.REJECT: Decision.PASS}
    return verdict.model_copy(update={"decision": swapped.get(verdict.decision, verdict.decision)})


@dataclass(slots=True)
class Window:
    """What was seen between two instants of event time, in seconds since the epoch."""

    opened: float
    closed: float
    passed: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    unscored: dict[str, int] = field(default_factory=dict)
    pass_ratio: Moments = field(default_factory=Moments)
    brightness: Moments = field(default_factory=Moments)
    contrast: Moments = field(default_factory=Moments)
    sharpness: Moments = field(default_factory=Moments)
    saturation: Moments = field(default_factory=Moments)
    inference_ms: Moments = field(default_factory=Moments)
    sketch: ScoreSketch = field(default_factory=ScoreSketch)
    challenges: Challenges = field(default_factory=Challenges)

    def add(self, verdict: Verdict) -> None:
        """Count a verdict; only parts that passed say how good parts look, a challenge nothing of production."""
        if verdict.challenge:
            self.challenges.add(verdict.decision)
            return
        match verdict.decision:
            case Decision.PASS:
                self._add_pass(verdict)
            case Decision.REJECT:
                _count(self.rejected, verdict.reason)
            case Decision.UNSCORED:
                _count(self.unscored, verdict.reason)
        if verdict.times.scored is not None and verdict.times.batched is not None:
            self.inference_ms.add((verdict.times.scored - verdict.times.batched).total_seconds() * 1000)

    def _add_pass(self, verdict: Verdict) -> None:
        self.passed += 1
        if verdict.ratio is not None:
            self.pass_ratio.add(verdict.ratio)
            self.sketch.add(verdict.ratio)
        if verdict.quality is not None:
            looks = verdict.quality
            self.brightness.add(looks.brightness)
            self.contrast.add(looks.contrast)
            self.sharpness.add(looks.sharpness)
            self.saturation.add(looks.saturation)

    def merge(self, other: "Window") -> None:
        """Take all that another window saw, and its span of time; the other stays as it is."""
        self.opened = min(self.opened, other.opened)
        self.closed = max(self.closed, other.closed)
        self.passed += other.passed
        for mine, theirs in ((self.rejected, other.rejected), (self.unscored, other.unscored)):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count
        for name in SIGNALS:
            self.moments(name).merge(other.moments(name))
        self.sketch.merge(other.sketch)
        self.challenges.merge(other.challenges)

    def counts(self) -> "Window":
        """Return what rates are made of alone: how many parts were passed, rejected and unscored."""
        return Window(
            self.opened, self.closed, passed=self.passed, rejected=dict(self.rejected), unscored=dict(self.unscored)
        )

    def moments(self, name: str) -> Moments:
        """Return the moments of a signal by its name."""
        found: Moments = getattr(self, name)
        return found

    @property
    def decided(self) -> int:
        """How many parts were passed or rejected."""
        return self.passed + sum(self.rejected.values())

    @property
    def taken(self) -> int:
        """How many parts of production there were."""
        return self.decided + sum(self.unscored.values())

    def to_json(self) -> dict[str, Any]:
        """Return the window as JSON values."""
        return {
            "opened": self.opened,
            "closed": self.closed,
            "passed": self.passed,
            "rejected": self.rejected,
            "unscored": self.unscored,
            **{name: self.moments(name).to_list() for name in SIGNALS},
            "sketch": self.sketch.to_text(),
            "challenges": [self.challenges.hits, self.challenges.misses, self.challenges.unscored],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """Read what `to_json` wrote, of the first layout too."""
        read = {
            **{name: Moments.from_list(found[name]) for name in SIGNALS if name in found},
            "sketch": ScoreSketch.from_text(found.get("sketch", "")),
            "challenges": Challenges(*found.get("challenges", ())),
        }
        return cls(**(found | read))


SIGNALS = ("pass_ratio", *LOOKS, "inference_ms")
"""The fields of a window that are moments."""


@dataclass(frozen=True, slots=True)
class Windowing:
    """How long a window is and how long it waits, in seconds."""

    length_s: float
    allowed_lateness_s: float

    def window_of(self, moment: float) -> Window:
        """Return the empty window that an instant falls into; windows begin at multiples of their length."""
        number = math.floor(moment / self.length_s)
        return Window(number * self.length_s, (number + 1) * self.length_s)

    def is_over(self, window: Window, clock: float) -> bool:
        """Say whether a window no longer waits at that event time."""
        return clock >= window.closed + self.allowed_lateness_s


@dataclass(slots=True)
class StationState:
    """The open windows of one station, product and artifact, and how far the stream has been taken.

    `calibrated` is what the newest verdict that tells it said of the artifact's calibration.
    """

    marks: dict[int, int] = field(default_factory=dict)
    clock: float = -math.inf
    closed_until: float = -math.inf
    windows: list[Window] = field(default_factory=list)
    late: int = 0
    calibrated: CalibratedScores | None = None

    def forget_mark(self, partition: int, end: int) -> bool:
        """Drop the mark of a partition that ends before it, and say whether there was one."""
        if self.marks.get(partition, -1) < end:
            return False
        del self.marks[partition]
        return True

    def has_taken(self, partition: int, offset: int) -> bool:
        """Say whether this record is counted already."""
        return offset <= self.marks.get(partition, -1)

    def take(self, verdict: Verdict, place: tuple[int, int], moment: float, windowing: Windowing) -> list[Window]:
        """Count a verdict at `place` (partition, offset) and return the windows that close, oldest first.

        `moment` is from `event_time`. A record that was taken before changes nothing.
        """
        partition, offset = place
        if self.has_taken(partition, offset):
            return []
        self.marks[partition] = offset
        self.calibrated = verdict.calibrated or self.calibrated
        self._count(verdict, moment, windowing)
        self.clock = max(self.clock, moment)
        return self._close([window for window in self.windows if windowing.is_over(window, self.clock)])

    def close_quiet(self, silent_s: float, windowing: Windowing) -> list[Window]:
        """Return the windows that close because nothing has arrived for so many seconds.

        Event time itself does not move: a backlog that arrives later still finds the windows after these.
        """
        clock = self.clock + silent_s
        return self._close([window for window in self.windows if windowing.is_over(window, clock)])

    def _count(self, verdict: Verdict, moment: float, windowing: Windowing) -> None:
        window = self._window_at(moment, windowing)
        if window is None:
            self.late += 1
        else:
            window.add(verdict)

    def _window_at(self, moment: float, windowing: Windowing) -> Window | None:
        """Return the open window of an instant, None when it is closed already."""
        for window in self.windows:
            if window.opened <= moment < window.closed:
                return window
        window = windowing.window_of(moment)
        if window.closed <= self.closed_until or windowing.is_over(window, self.clock):
            return None
        self.windows.append(window)
        self.windows.sort(key=lambda other: other.opened)
        return window

    def _close(self, over: list[Window]) -> list[Window]:
        for window in over:
            self.windows.remove(window)
            self.closed_until = max(self.closed_until, window.closed)
        return over

    def to_bytes(self) -> bytes:
        """Return the state as JSON; floats are written so that they are read back to the last bit."""
        return orjson.dumps(
            {
                "layout": _LAYOUT,
                "marks": {str(partition): offset for partition, offset in self.marks.items()},
                "clock": _finite(self.clock),
                "closed_until": _finite(self.closed_until),
                "windows": [window.to_json() for window in self.windows],
                "late": self.late,
                "calibrated": calibrated_to_json(self.calibrated),
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes | None) -> Self:
        """Read what `to_bytes` wrote; nothing is a new state. Raises LayoutError for another layout."""
        if raw is None:
            return cls()
        found = orjson.loads(raw)
        if found["layout"] not in _READ_LAYOUTS:
            raise LayoutError("the drift state", found["layout"], _LAYOUT)
        return cls(
            marks={int(partition): offset for partition, offset in found["marks"].items()},
            clock=_or_never(found["clock"]),
            closed_until=_or_never(found["closed_until"]),
            windows=[Window.from_json(window) for window in found["windows"]],
            late=found["late"],
            calibrated=calibrated_from_json(found.get("calibrated")),
        )


def calibrated_to_json(scores: CalibratedScores | None) -> dict[str, Any] | None:
    """Return them as JSON values."""
    return None if scores is None else scores.model_dump(mode="json")


def calibrated_from_json(found: dict[str, Any] | None) -> CalibratedScores | None:
    """Read what `calibrated_to_json` wrote."""
    return None if found is None else CalibratedScores.model_validate(found)


def event_time(verdict: Verdict, written_s: float) -> float:
    """Return when the part was captured, in seconds since the epoch, but not after the record was written.

    A camera clock that runs ahead would otherwise close every window before its parts arrive. Nothing is from before
    1970.
    """
    return max(0.0, min(verdict.times.captured.timestamp(), written_s))


def report(
    key: StationKey,
    window: Window,
    state: DriftState,
    alerts: tuple[DriftAlert, ...] = (),
    expected: dict[str, float] | None = None,
    levels: dict[str, float] | None = None,
) -> DriftReport:
    """Return the report of a closed window. The same window of a station always has the same id."""
    opened, end = _instant(window.opened), _instant(window.closed)
    signals: dict[str, Any] = {name: window.moments(name).distribution() for name in SIGNALS}
    return DriftReport(
        id=derived_id("drift-report", *key, opened.isoformat(), end.isoformat()),
        **key._asdict(),
        opened=opened,
        closed=end,
        passed=window.passed,
        rejected=sum(window.rejected.values()),
        unscored=window.unscored,
        **signals,
        rejected_by_reason=window.rejected,
        challenge_hits=window.challenges.hits,
        challenge_misses=window.challenges.misses,
        challenge_unscored=window.challenges.unscored,
        alerts=alerts,
        state=state,
        expected=expected or {},
        levels=levels or {},
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _instant(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


def _count(by_reason: dict[str, int], reason: str | None) -> None:
    word = (reason or "anomaly")[:_LONGEST_REASON]
    if word not in by_reason and len(by_reason) >= _REASONS:
        word = OTHER
    by_reason[word] = by_reason.get(word, 0) + 1


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _or_never(number: float | None) -> float:
    return -math.inf if number is None else number
