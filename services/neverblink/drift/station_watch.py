"""What is normal for one station, product and artifact, and how far the closed windows are from it. Pure.

It learns in two steps. During `FIRST_DAY_S` it only notes where each signal lies, shift by shift: with less than a
day the difference between night and day would be taken for drift. During the rest of `LEARNING_S` it already watches,
with wider limits, and learns how much the averages wander; what looks like drift is not learnt. Then what is normal
stands, until the next artifact: a reference that moved along would never see a slow creep.

A signal is expected where the same shift of the day lay, so a night shift that always differs raises nothing.

What is learnt is the line itself, and a line may be wrong from its first part on. So each shift is also compared with
the images that the model was calibrated with, from the first shift on.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from neverblink.drift.alerts import ACT_LEVEL, Observation, Signal
from neverblink.drift.comparisons import PSI_WATCH, Gap, at_least, at_most, calibration_gap, gap, mean_shift
from neverblink.drift.control_chart import WIDTH, ControlChart
from neverblink.drift.history import HOUR_S, Calendar, History, merged
from neverblink.drift.statistics import LEARNT_PARTS, Window, calibrated_from_json, calibrated_to_json
from neverblink.events import CalibratedScores

FIRST_DAY_S = 24 * HOUR_S
LEARNING_S = 7 * 24 * HOUR_S
"""Every weekday and shift once."""

BATCH_PARTS = 20
"""Passing parts at least whose mean is one value of the charts. Smaller than 50, a step is seen 30 to 60 parts sooner,
at the same rate of false alarms."""

_FEWEST_AVERAGES = 50

CHARTED: dict[Signal, tuple[str, float]] = {
    Signal.PASS_RATIO: ("pass_ratio", 0.25),
    Signal.BRIGHTNESS: ("brightness", 0.03),
    Signal.CONTRAST: ("contrast", 0.05),
    Signal.SHARPNESS: ("sharpness", 0.10),
    Signal.SATURATION: ("saturation", 0.005),
    Signal.INFERENCE: ("inference_ms", 0.25),
}
"""Field of a window, and the smallest change that matters: of the score in its standard deviations, of saturation
absolute, of the others as a share of what is expected."""

RATE_HOURS = 8
RATE_CHANCE = 1e-7
"""A rate alerts when chance explains it less often than this. A quarter has some 1,500 hourly looks at each of three
rates; the rest is margin for rates that are not quite what the dispersion says."""
_FEWEST_PARTS = 300
_MANY_TIMES = 1.5
_FEW_TIMES = 3.0
_UNSCORED_TIMES = 3.0

DISTRIBUTION_CHANCE = 1e-4

CALIBRATION_ABOVE = 0.2
"""Between normal distributions of one width, a shift of half a standard deviation is a distance of 0.197. Real lines
differ from calibration images by less; that, and chance (`calibration_gap`), raise nothing."""
CALIBRATION_BELOW = 0.5
"""A model scores good parts lower than its calibration's held-out images, which it had not learnt: only a shift of
1.35 standard deviations says that it may be blind."""
CALIBRATION_ALIKE = 4.0
"""Design effect until the charts know the line's own: twice what `scenarios.SHARED` of 20 neighbours makes."""

_FEWEST_CHALLENGES = 3
_ABSENT_TIMES = 2.5


@dataclass(slots=True)
class Rate:
    """A rate learnt from hours, and how much more it varies between them than chance has it."""

    hours: int = 0
    hits: int = 0
    parts: int = 0
    squares: float = 0.0

    def learn(self, hits: int, parts: int) -> None:
        """Take an hour."""
        if parts:
            self.hours += 1
            self.hits += hits
            self.parts += parts
            self.squares += hits * hits / parts

    @property
    def rate(self) -> float:
        """The learnt rate; half a hit is added, so that none seen is not taken for none possible."""
        return (self.hits + 0.5) / (self.parts + 1)

    @property
    def dispersion(self) -> float:
        """Pearson's χ² of the hours over its degrees of freedom, at least 1 (McCullagh and Nelder 1989, 4.5.2)."""
        if self.hours < 2 or not self.hits:
            return 1.0
        rate = self.hits / self.parts
        square = self.squares - 2 * rate * self.hits + rate * rate * self.parts
        return max(1.0, square / (rate * (1 - rate)) / (self.hours - 1)) if rate < 1 else 1.0

    def level_above(self, hits: int, parts: int, times: float) -> float:
        """Return how far above the learnt rate an observed one is, in limits: the lesser of chance and size."""
        thin = self.dispersion
        chance = at_least(math.floor(hits / thin), round(parts / thin), self.rate)
        return _level(chance, (hits / parts) / self.rate, times)

    def level_below(self, hits: int, parts: int, times: float) -> float:
        """Return the same for a rate that is too low."""
        thin = self.dispersion
        chance = at_most(math.ceil(hits / thin), round(parts / thin), self.rate)
        return _level(chance, self.rate * (parts + 1) / (hits + 0.5), times)


def _level(chance: float, ratio: float, times: float) -> float:
    if ratio <= 1:
        return 0.0
    improbable = math.log(max(chance, 1e-300)) / math.log(RATE_CHANCE)
    return min(improbable, math.log(ratio) / math.log(times))


@dataclass(frozen=True, slots=True)
class ShiftComparison:
    """A whole shift against what was learnt and against the same weekday's shift of earlier weeks."""

    opened: float
    passed: int
    against_reference: Gap | None
    against_earlier: Gap | None
    shift_in_errors: float | None


@dataclass(slots=True)
class StationWatch:
    """The history, the reference and the charts of one state.

    `calibrated` is what verdicts tell of the artifact's calibration, since `calibrated_since`: another threshold makes
    other ratios.
    """

    history: History = field(default_factory=History)
    began: float = -math.inf
    learnt_parts: int = 0
    batch: Window | None = None
    # Per shift of the day, what was learnt: at most as many as a day has shifts.
    slots: dict[int, Window] = field(default_factory=dict)
    charts: dict[Signal, ControlChart] = field(default_factory=lambda: {name: ControlChart() for name in CHARTED})
    rejects: Rate = field(default_factory=Rate)
    unscored: Rate = field(default_factory=Rate)
    parts_since_challenge: int = 0
    longest_wait: int = 0
    challenges: int = 0
    latest: dict[Signal, Observation] = field(default_factory=dict)
    calibrated: CalibratedScores | None = None
    calibrated_since: float = -math.inf

    def take(self, window: Window, calendar: Calendar, calibrated: CalibratedScores | None = None) -> list[Observation]:
        """Take a closed window and return the levels that it completes; a window taken before yields nothing.

        `calibrated` is what the verdicts said of the artifact's calibration.
        """
        hours, shift = self.history.hours[-1:], self.history.shift
        if not self.history.take(window, calendar):
            return []
        if not math.isfinite(self.began):
            self.began = window.opened
        # A span is complete when the history has opened the next one.
        found = list(self._challenge_levels(window))
        if hours and self.history.hours[-1] is not hours[0]:
            found += self._rate_levels(hours[0])
        if shift is not None and self.history.shift is not shift:
            found += self._distribution_levels(shift, calendar)
            found += self._calibration_levels(shift)
        if calibrated is not None and calibrated != self.calibrated:
            self.calibrated, self.calibrated_since = calibrated, window.opened
        return found + self._chart_levels(window, calendar)

    def is_learning(self, moment: float) -> bool:
        """Say whether nothing is held against anything yet."""
        return moment < self.began + FIRST_DAY_S or self.learnt_parts < LEARNT_PARTS

    def is_settled(self, moment: float) -> bool:
        """Say whether what is normal no longer changes: after a week, and on a slow line once its chart has limits."""
        return moment >= self.began + LEARNING_S and self.learnt_parts >= LEARNT_PARTS and self._has_limits

    @property
    def _has_limits(self) -> bool:
        return self.charts[Signal.PASS_RATIO].averages.count >= _FEWEST_AVERAGES

    def reference(self) -> Window | None:
        """Return all that was learnt, merged over the shifts of the day."""
        return merged(iter(self.slots.values()))

    def compare_shift(self, shift: Window, calendar: Calendar) -> ShiftComparison:
        """Compare a whole shift with the learnt shift of the day and with earlier weeks."""
        effect = self._design_effect()
        learnt = self.slots.get(calendar.shift_of(shift.opened).number)
        earlier = self.history.same_shift_before(shift.opened, calendar)
        return ShiftComparison(
            shift.opened,
            shift.passed,
            _gap(shift, learnt, effect),
            _gap(shift, earlier, effect),
            mean_shift(shift.pass_ratio, earlier.pass_ratio, design_effect=effect) if earlier is not None else None,
        )

    def _design_effect(self) -> float:
        """Return what parts are worth less for being alike: from batches to parts, and from averages to batches."""
        chart, learnt = self.charts[Signal.PASS_RATIO], self.reference()
        if learnt is None or not learnt.pass_ratio.variance:
            return 1.0
        of_batches = chart.batches.variance * chart.batch_parts / learnt.pass_ratio.variance
        return max(1.0, of_batches) * chart.design_effect

    def _chart_levels(self, window: Window, calendar: Calendar) -> list[Observation]:
        if self.batch is None:
            self.batch = Window(window.opened, window.closed)
        self.batch.merge(window)
        if self.batch.passed < BATCH_PARTS:
            return []
        batch, self.batch = self.batch, None
        moment = batch.closed
        slot = calendar.shift_of(batch.opened).number
        if self.is_learning(moment):
            self._learn(slot, batch)
            return []
        expected = self._expected(slot)
        days = (moment - self.began) / FIRST_DAY_S
        # Until a week is known, limits come from few days and few shifts: 1 + 1/days makes up for it.
        width = WIDTH if self.is_settled(moment) else WIDTH * (1 + 1 / days)
        found = [
            self._chart(signal, batch, expected, width)
            for signal in CHARTED
            if batch.moments(CHARTED[signal][0]).count and expected.moments(CHARTED[signal][0]).count
        ]
        self.latest = {level.signal: level for level in found}
        calm = all(level.level < 1 for level in found)
        if not self.is_settled(moment) and calm:
            self._learn(slot, batch)
        return found if self._has_limits else []

    def _chart(self, signal: Signal, batch: Window, expected: Window, width: float) -> Observation:
        name, least = CHARTED[signal]
        chart = self.charts[signal]
        normal = expected.moments(name).mean
        deviation = batch.moments(name).mean - normal
        if signal is Signal.PASS_RATIO:
            least *= expected.pass_ratio.deviation
        elif signal is not Signal.SATURATION:
            least *= abs(normal)
        settled = self.is_settled(batch.closed)
        if settled or (chart.averages.count >= _FEWEST_AVERAGES and abs(chart.level(least, width)) >= 1):
            chart.watch(deviation, batch.closed, batch.passed)
        else:
            chart.learn(deviation, batch.closed, batch.passed)
        level = abs(chart.level(least, width))
        return Observation(
            signal,
            level,
            normal,
            normal + chart.average,
            chart.side_since,
            batch.closed,
            parts=chart.side_parts,
        )

    def _expected(self, slot: int) -> Window:
        """Return what was learnt of a shift of the day, or of all while it is new."""
        learnt = self.slots.get(slot)
        if learnt is not None and learnt.passed >= LEARNT_PARTS:
            return learnt
        return self.reference() or Window(0.0, 0.0)

    def _learn(self, slot: int, batch: Window) -> None:
        self.learnt_parts += batch.passed
        self.slots.setdefault(slot, Window(batch.opened, batch.closed)).merge(batch)

    def _rate_levels(self, hour: Window) -> Iterator[Observation]:
        rejected, unscored = sum(hour.rejected.values()), sum(hour.unscored.values())
        if not self.is_settled(hour.closed):
            self.rejects.learn(rejected, hour.decided)
            self.unscored.learn(unscored, hour.taken)
            return
        settled = self.began + LEARNING_S
        kept = [span for span in self.history.hours if hour.closed - RATE_HOURS * HOUR_S <= span.opened < hour.closed]
        recent = merged(span for span in kept if span.opened >= settled)
        if recent is None or recent.decided < _FEWEST_PARTS:
            return
        hits, decided = sum(recent.rejected.values()), recent.decided
        seen = self.rejects.rate, hits / decided, recent.opened, hour.closed
        words = _by_reason(recent.rejected)
        yield Observation(
            Signal.REJECTS_MANY, self.rejects.level_above(hits, decided, _MANY_TIMES), *seen, detail=words
        )
        yield Observation(Signal.REJECTS_FEW, self.rejects.level_below(hits, decided, _FEW_TIMES), *seen)
        hits, taken = sum(recent.unscored.values()), recent.taken
        level = self.unscored.level_above(hits, taken, _UNSCORED_TIMES)
        seen = self.unscored.rate, hits / taken, recent.opened, hour.closed
        yield Observation(Signal.UNSCORED, level, *seen, detail=_by_reason(recent.unscored))

    def _distribution_levels(self, shift: Window, calendar: Calendar) -> Iterator[Observation]:
        if not self.is_settled(shift.closed) or shift.passed < _FEWEST_PARTS:
            return
        whole = self.compare_shift(shift, calendar)
        compared = whole.against_reference
        learnt = self.slots.get(calendar.shift_of(shift.opened).number)
        if compared is None or learnt is None:
            return
        # Of thousands of parts any difference is certain: its size decides, and chance must not explain it.
        level = compared.psi / PSI_WATCH if compared.p <= DISTRIBUTION_CHANCE else 0.0
        yield Observation(
            Signal.DISTRIBUTION,
            level,
            learnt.sketch.quantile(0.95),
            shift.sketch.quantile(0.95),
            shift.opened,
            shift.closed,
            detail=_compared(compared, whole.against_earlier),
        )

    def _calibration_levels(self, shift: Window) -> Iterator[Observation]:
        calibrated = self.calibrated
        if calibrated is None or shift.opened < self.calibrated_since or shift.sketch.count < LEARNT_PARTS:
            return
        effect = max(CALIBRATION_ALIKE, self._design_effect())
        found = calibration_gap(shift.sketch, calibrated, design_effect=effect)
        yield Observation(
            Signal.CALIBRATION,
            max(found.above / CALIBRATION_ABOVE, found.below / CALIBRATION_BELOW),
            calibrated.quantiles[len(calibrated.quantiles) // 2],
            shift.sketch.quantile(0.5),
            shift.opened,
            shift.closed,
            detail=f"{100 * found.beyond:.0f} % of them lie above what 5 % of {calibrated.count} images exceeded",
        )

    def _challenge_levels(self, window: Window) -> Iterator[Observation]:
        sent = window.challenges
        if sent.count:
            # What was turned away unscored proves nothing about the model, and is no miss.
            if sent.hits or sent.misses:
                level = ACT_LEVEL if sent.misses else 0.0
                yield Observation(
                    Signal.CHALLENGE_MISSED,
                    level,
                    1.0,
                    sent.hits / (sent.hits + sent.misses),
                    window.opened,
                    window.closed,
                )
            if not self.is_settled(window.closed) and self.challenges:
                self.longest_wait = max(self.longest_wait, self.parts_since_challenge)
            self.challenges += sent.count
            self.parts_since_challenge = 0
        else:
            self.parts_since_challenge += window.taken
        if self.challenges >= _FEWEST_CHALLENGES and self.longest_wait and self.is_settled(window.closed):
            level = self.parts_since_challenge / (_ABSENT_TIMES * self.longest_wait)
            yield Observation(
                Signal.CHALLENGE_ABSENT,
                level,
                float(self.longest_wait),
                float(self.parts_since_challenge),
                window.closed,
                window.closed,
            )

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values, without `history.archive`."""
        return {
            "history": self.history.to_json(),
            "began": self.began if math.isfinite(self.began) else None,
            "learnt_parts": self.learnt_parts,
            "batch": self.batch.to_json() if self.batch is not None else None,
            "slots": {str(slot): span.to_json() for slot, span in self.slots.items()},
            "charts": {signal.value: chart.to_json() for signal, chart in self.charts.items()},
            "rejects": _numbers(self.rejects),
            "unscored": _numbers(self.unscored),
            "latest": [asdict(observation) for observation in self.latest.values()],
            "challenges": [self.parts_since_challenge, self.longest_wait, self.challenges],
            "calibrated": calibrated_to_json(self.calibrated),
            "calibrated_since": self.calibrated_since if self.calibrated is not None else None,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any], archive: bytes = b"") -> Self:
        """Read what `to_json` and `history.archive` wrote. Raises ValueError when the history has another layout."""
        since, longest, challenges = found["challenges"]
        calibrated = calibrated_from_json(found.get("calibrated"))
        return cls(
            history=History.from_json(found["history"], archive),
            began=-math.inf if found["began"] is None else found["began"],
            learnt_parts=found["learnt_parts"],
            batch=None if found["batch"] is None else Window.from_json(found["batch"]),
            slots={int(slot): Window.from_json(span) for slot, span in found["slots"].items()},
            charts={Signal(name): ControlChart.from_json(chart) for name, chart in found["charts"].items()},
            rejects=Rate(*found["rejects"]),
            unscored=Rate(*found["unscored"]),
            parts_since_challenge=since,
            longest_wait=longest,
            challenges=challenges,
            latest={seen.signal: seen for seen in map(Observation.from_json, found["latest"])},
            calibrated=calibrated,
            calibrated_since=-math.inf if calibrated is None else found["calibrated_since"],
        )


def _numbers(rate: Rate) -> list[float]:
    return [rate.hours, rate.hits, rate.parts, rate.squares]


def _gap(shift: Window, other: Window | None, effect: float) -> Gap | None:
    if other is None or not shift.sketch.count or not other.sketch.count:
        return None
    return gap(shift.sketch, other.sketch, design_effect=effect)


def _compared(learnt: Gap, earlier: Gap | None) -> str:
    words = f"PSI {learnt.psi:.2f}, Kolmogorov–Smirnov {learnt.ks:.2f}"
    if earlier is None:
        return words
    return f"{words}; against the same weekday's shift of earlier weeks PSI {earlier.psi:.2f}"


def _by_reason(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{reason} {count}" for reason, count in ordered[:3])
