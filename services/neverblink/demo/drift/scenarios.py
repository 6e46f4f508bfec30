"""Weeks of a line's verdicts, drawn: parts, images and what goes wrong with them. Pure, and the same for a seed.

Parts come at a steady pace from Monday 06:00 to Saturday 06:00 in three shifts. The score of a good part, in standard
deviations, is the sum of

- a skewed part of its own (a standardised Gamma(6) variable: image scores have a longer upper tail);
- what it shares with its neighbours: an AR(1) series of standard deviation 0.15 and a correlation of 20 parts;
- the course of the day (a sine of amplitude 0.05), a draw for each shift (0.04) and for each day (0.03).

Brightness, contrast, sharpness, saturation and inference time have a course of the day, draws for shift and day and
noise too. A scenario adds to them from `onset_s` on. Parts above the threshold are false rejects; defects come on top.

These sizes are assumptions, not measurements of a line. What a chart can find depends on how much a line wanders by
itself, so they are stated here, and a table of detection delays is worth as much as they are (`Line.wander`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from neverblink.drift.moments import Moments
from neverblink.drift.score_sketch import ScoreSketch
from neverblink.drift.statistics import Challenges, Window
from neverblink.events import CalibratedScores

Array = npt.NDArray[np.float64]

DAY_S = 86400.0
WEEK_S = 7 * DAY_S
START = datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp()
"""A Monday, the beginning of the first shift."""

RATIO_MEAN = 0.55
RATIO_SIGMA = 0.08
DEFECTS = 0.004
UNSCORED = 0.001
CHALLENGE_EVERY_S = 4 * 3600.0
SHARED = 0.15
SHARED_PARTS = 20.0


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of one day, (n,) each; `score` in standard deviations from the mean."""

    moment: Array
    score: Array
    brightness: Array
    contrast: Array
    sharpness: Array
    saturation: Array
    inference_ms: Array

    @property
    def ratio(self) -> Array:
        """Score / threshold."""
        return np.maximum(RATIO_MEAN + RATIO_SIGMA * self.score, 0.01)


@dataclass(frozen=True, slots=True)
class Fates:
    """What becomes of parts, (n,) bool each."""

    passed: npt.NDArray[np.bool_]
    rejected: npt.NDArray[np.bool_]
    unscored: npt.NDArray[np.bool_]


Change = Callable[[Parts, Array], Parts]
"""What a scenario does to parts, given the seconds since its onset, below 0 before it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A story with a name.

    `drifts` says whether an alert is expected, `challenged` whether known parts keep coming, `from_start` that there is
    no calm before it.
    """

    name: str
    about: str
    change: Change
    drifts: bool = True
    challenged: bool = True
    from_start: bool = False

    @property
    def slug(self) -> str:
        """Return the name as a command's option takes it."""
        return self.name.lower().replace(" ", "-")


def _none(parts: Parts, since: Array) -> Parts:
    return parts


def _step(parts: Parts, since: Array) -> Parts:
    return replace(parts, score=parts.score + 0.5 * (since >= 0))


def _creep(parts: Parts, since: Array) -> Parts:
    return replace(parts, score=parts.score + 0.25 * np.maximum(since, 0) / WEEK_S)


def _leds(parts: Parts, since: Array) -> Parts:
    lost = 0.03 * np.maximum(since, 0) / WEEK_S
    light = np.exp(-lost)
    return replace(
        parts,
        brightness=parts.brightness * light,
        contrast=parts.contrast * light,
        sharpness=parts.sharpness * light**2,
        score=parts.score + 4.0 * lost,
    )


def _knock(parts: Parts, since: Array) -> Parts:
    hit = since >= 0
    return replace(
        parts,
        brightness=parts.brightness * np.where(hit, 0.97, 1.0),
        contrast=parts.contrast * np.where(hit, 0.95, 1.0),
        sharpness=parts.sharpness * np.where(hit, 0.7, 1.0),
        score=parts.score + 0.8 * hit,
    )


def _night(parts: Parts, since: Array) -> Parts:
    hour = parts.moment / 3600 % 24
    night = (hour >= 22) | (hour < 6)
    return replace(parts, score=parts.score + 0.4 * night, brightness=parts.brightness * np.where(night, 0.97, 1.0))


def wrong_from_start(by: float) -> Scenario:
    """Return a line whose scores lie so many standard deviations above the calibration's from its first part on."""

    def change(parts: Parts, since: Array) -> Parts:
        return replace(parts, score=parts.score + by * (since >= 0))

    about = f"scores lie {by:g} σ above the calibration's from the first part on"
    return Scenario("wrong from start", about, change, from_start=True)


SCENARIOS = (
    Scenario("none", "nothing happens", _none, drifts=False),
    Scenario("night shift", "nights always score 0.4 σ higher, 3 % darker", _night, drifts=False),
    Scenario("supplier", "a step of 0.5 σ in the scores", _step),
    Scenario("tool wear", "a creep of 0.25 σ a week", _creep),
    Scenario("LED ageing", "light falls 3 % a week, scores rise 0.12 σ a week", _leds),
    Scenario("camera knocked", "sharpness falls 30 %, contrast 5 %, light 3 %; scores rise 0.8 σ", _knock),
    Scenario("no challenge parts", "known defective parts no longer come", _none, challenged=False),
    wrong_from_start(1.5),
)


def calibrated(seed: int, images: int = 299) -> CalibratedScores | None:
    """Return what so many images of good parts scored at calibration, before anything wandered or went wrong."""
    own = _own(np.random.default_rng([seed, 9]), images)
    return CalibratedScores.of((RATIO_MEAN + RATIO_SIGMA * own).tolist(), 1.0)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that runs a scenario; parts a minute and seconds a window.

    `wander` scales what parts share: the course of the day, the draws for shift and day, the neighbours.
    """

    scenario: Scenario
    seed: int
    onset_s: float = 2 * WEEK_S
    per_minute: float = 10.0
    window_s: float = 300.0
    wander: float = 1.0

    def days(self, weeks: int) -> Iterator[Parts]:
        """Yield the parts of every working day, in order. The same line gives the same parts."""
        random = np.random.default_rng([self.seed, 7])
        shared = float(random.normal(0, self.wander * SHARED))
        for day in range(7 * weeks):
            if day % 7 < 5:
                parts, shared = self._day(random, START + day * DAY_S, shared)
                yield self.scenario.change(parts, parts.moment - START - self.onset_s)

    def windows(self, weeks: int) -> Iterator[Window]:
        """Yield the closed windows, as the drift service would make them of the verdicts."""
        random = np.random.default_rng([self.seed, 8])
        for parts in self.days(weeks):
            yield from self._windows_of(parts, random)

    def fates(self, parts: Parts, random: np.random.Generator) -> Fates:
        """Draw which parts are defective and which cannot be scored; what is above the threshold is rejected too."""
        defective = random.random(len(parts.moment)) < DEFECTS
        unscored = random.random(len(parts.moment)) < UNSCORED
        rejected = (defective | (parts.ratio > 1)) & ~unscored
        return Fates(~unscored & ~rejected, rejected, unscored)

    def is_challenged(self, since_start_s: float, span_s: float) -> bool:
        """Say whether a known defective part comes in a span that begins so long after the start."""
        stopped = not self.scenario.challenged and since_start_s >= self.onset_s
        return not stopped and since_start_s % CHALLENGE_EVERY_S < span_s

    def _day(self, random: np.random.Generator, begins: float, shared: float) -> tuple[Parts, float]:
        count = round(self.per_minute * DAY_S / 60)
        moment: Array = begins + np.arange(count, dtype=np.float64) * (60 / self.per_minute)
        sine = np.sin(2 * np.pi * (moment - begins) / DAY_S)
        shift = (3 * np.arange(count)) // count
        own = _own(random, count)
        together, shared = _autoregressive(random, count, shared, self.wander * SHARED)

        def wander(per_shift: float, per_day: float, course: float) -> Array:
            drawn: Array = random.normal(0, per_shift, 3)[shift] + random.normal(0, per_day) + course * sine
            return self.wander * drawn

        score = np.sqrt(1 - (self.wander * SHARED) ** 2) * own + together + wander(0.04, 0.03, 0.05)
        parts = Parts(
            moment=moment,
            score=score,
            brightness=0.45 * (1 + wander(0.002, 0.002, 0.004) + random.normal(0, 0.01, count)),
            contrast=0.17 * (1 + wander(0.003, 0.003, 0.004) + random.normal(0, 0.03, count)),
            sharpness=180 * (1 + wander(0.008, 0.008, 0.01) + random.normal(0, 0.08, count)),
            saturation=np.clip(0.003 + 0.0003 * wander(1, 1, 1) + random.normal(0, 0.0006, count), 0, 1),
            inference_ms=85 * (1 + wander(0.01, 0.01, 0.0) + random.gamma(2.0, 0.04, count)),
        )
        return parts, shared

    def _windows_of(self, parts: Parts, random: np.random.Generator) -> Iterator[Window]:
        fates = self.fates(parts, random)
        edges = np.arange(parts.moment[0], parts.moment[-1] + self.window_s, self.window_s)
        places = np.searchsorted(parts.moment, edges)
        for opened, first, last in zip(edges[:-1].tolist(), places[:-1], places[1:], strict=True):
            span = slice(int(first), int(last))
            good = np.flatnonzero(fates.passed[span]) + span.start
            rejected, lost = int(fates.rejected[span].sum()), int(fates.unscored[span].sum())
            yield Window(
                opened,
                opened + self.window_s,
                passed=len(good),
                rejected={"anomaly": rejected} if rejected else {},
                unscored={"late": lost} if lost else {},
                pass_ratio=Moments.of(parts.ratio[good]),
                brightness=Moments.of(parts.brightness[good]),
                contrast=Moments.of(parts.contrast[good]),
                sharpness=Moments.of(parts.sharpness[good]),
                saturation=Moments.of(parts.saturation[good]),
                inference_ms=Moments.of(parts.inference_ms[span]),
                sketch=ScoreSketch.of(parts.ratio[good]),
                challenges=Challenges(hits=int(self.is_challenged(opened - START, self.window_s))),
            )


def _own(random: np.random.Generator, count: int) -> Array:
    """Return (count,) values of the part of a score that no other part shares."""
    drawn: Array = (random.gamma(6.0, size=count) - 6.0) / np.sqrt(6.0)
    return drawn


def _autoregressive(random: np.random.Generator, count: int, last: float, deviation: float) -> tuple[Array, float]:
    """Return (count,) values of a stationary AR(1) series that goes on from `last`, and its own last value."""
    keep = float(np.exp(-1 / SHARED_PARTS))
    pushes = random.normal(0, deviation * np.sqrt(1 - keep**2), count).tolist()
    series = np.empty(count)
    for number, push in enumerate(pushes):
        last = keep * last + push
        series[number] = last
    return series, last
