"""How soon drift is found and how often it is imagined, over scenarios and seeds, beside two simple ways.

Every line runs two calm weeks, then its scenario begins. `fixed` alerts when the mean score of 500 passing parts is a
quarter of a standard deviation from that of the first week; `daily` when a day's mean is three standard errors of
independent parts from it. Both see the scores alone, and an unbroken run of alerts counts once.

Seeds 0 to 29 are for tuning; the table that counts is of seeds that tuned nothing: --first 30 --seeds 20.
"""

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from neverblink.demo.drift.scenarios import DAY_S, SCENARIOS, START, WEEK_S, Line, Scenario
from neverblink.drift.alerts import AlertBook, Signal
from neverblink.drift.causes import Cause, likely_cause
from neverblink.drift.comparisons import mean_shift
from neverblink.drift.history import Calendar
from neverblink.drift.moments import Moments
from neverblink.drift.station_watch import StationWatch
from neverblink.drift.statistics import StationKey, Window

KEY = StationKey("line-1", "top", "part", "none")
CALM_WEEKS = 2
CALENDAR = Calendar()
MONTHS_PER_WEEK = 12 / 52.18
EXPECTED_CAUSE = {
    "supplier": Cause.PARTS,
    "tool wear": Cause.PARTS,
    "LED ageing": Cause.LIGHT,
    "camera knocked": Cause.CAMERA,
    "no challenge parts": Cause.PROCEDURE,
}


@dataclass(slots=True)
class Alarm:
    """When one way spoke: event time, parts taken until then, and what it said."""

    moment: float
    parts: int
    signal: str = "mean"
    cause: Cause | None = None


Way = Callable[[Window], Iterator[tuple[str, Cause | None]]]


class Watch:
    """The drift service's own statistics and alerts."""

    def __init__(self) -> None:
        self.watch, self.book = StationWatch(), AlertBook()

    def __call__(self, window: Window) -> Iterator[tuple[str, Cause | None]]:
        """Yield what was raised."""
        for observation in self.watch.take(window, CALENDAR):
            for transition in self.book.take(KEY, observation):
                if transition.stage == "raised":
                    signal: Signal = observation.signal
                    yield signal.value, likely_cause(signal, self.watch.latest)


@dataclass(slots=True)
class Simple:
    """A mean held against that of the first week: `far` decides, over blocks that `ends` closes."""

    ends: Callable[[Moments, Window], bool]
    far: Callable[[Moments, Moments], bool]
    learnt: Moments = field(default_factory=Moments)
    block: Moments = field(default_factory=Moments)
    alarmed: bool = False

    def __call__(self, window: Window) -> Iterator[tuple[str, Cause | None]]:
        """Yield once when a run of alerts begins."""
        if window.opened < START + WEEK_S:
            self.learnt.merge(window.pass_ratio)
            return
        self.block.merge(window.pass_ratio)
        if self.ends(self.block, window):
            alarmed, self.block = self.far(self.block, self.learnt), Moments()
            if alarmed and not self.alarmed:
                yield "mean", None
            self.alarmed = alarmed


def fixed() -> Simple:
    """Return the fixed threshold on the mean of 500 parts."""
    return Simple(
        lambda block, _: block.count >= 500,
        lambda block, learnt: abs(block.mean - learnt.mean) > 0.25 * learnt.deviation,
    )


def daily() -> Simple:
    """Return the z-test per day."""
    return Simple(
        lambda _, window: (window.closed - START) % DAY_S == 0,
        lambda block, learnt: abs(mean_shift(block, learnt)) > 3,
    )


WAYS: dict[str, Callable[[], Way]] = {"neverblink": Watch, "fixed": fixed, "daily": daily}


def run(scenario: Scenario, seed: int, weeks: int, *, wander: float, window_s: float) -> dict[str, list[Alarm]]:
    """Run one line and return each way's alarms."""
    ways = {name: make() for name, make in WAYS.items()}
    alarms: dict[str, list[Alarm]] = {name: [] for name in ways}
    parts = 0
    line = Line(scenario, seed, onset_s=CALM_WEEKS * WEEK_S, wander=wander, window_s=window_s)
    for window in line.windows(CALM_WEEKS + weeks):
        parts += window.taken
        for name, way in ways.items():
            alarms[name] += [Alarm(window.closed, parts, *said) for said in way(window)]
    return alarms


def calm_row(scenario: Scenario, name: str, runs: list[list[Alarm]], weeks: int) -> str:
    """Return what a way imagined where nothing drifts."""
    months = len(runs) * (CALM_WEEKS + weeks) * MONTHS_PER_WEEK
    said = Counter(alarm.signal for alarms in runs for alarm in alarms)
    words = ", ".join(f"{signal} {count}" for signal, count in said.most_common()) or "–"
    return f"| {scenario.name} | {name} | {said.total()} in {months:.0f} | {said.total() / months:.3f} | {words} |"


def drift_row(scenario: Scenario, name: str, runs: list[list[Alarm]]) -> str:
    """Return how soon a way found a drift: delay in parts, days, and what it took for its cause."""
    onset = START + CALM_WEEKS * WEEK_S
    before = round(CALM_WEEKS * 5 * DAY_S / 6)
    early = sum(alarm.moment <= onset for alarms in runs for alarm in alarms)
    first = [next((alarm for alarm in alarms if alarm.moment > onset), None) for alarms in runs]
    found = [alarm for alarm in first if alarm is not None]
    delays = sorted(alarm.parts - before for alarm in found)
    days = sorted((alarm.moment - onset) / DAY_S for alarm in found)
    if not found:
        return f"| {scenario.name} | {name} | 0 of {len(runs)} | – | – | – | – | {early} | – | – |"
    signals = Counter(alarm.signal for alarm in found).most_common()
    soon = sum(delay <= 500 for delay in delays)
    right = sum(alarm.cause is EXPECTED_CAUSE[scenario.name] for alarm in found)
    cause = f"{right} of {len(found)}" if name == "neverblink" else "–"
    return (
        f"| {scenario.name} | {name} | {len(found)} of {len(runs)} | {soon} | {statistics.median(delays):.0f} | "
        f"{delays[-1]} | {days[-1]:.1f} | {early} | {cause} | {', '.join(f'{s} {n}' for s, n in signals)} |"
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=30, help="first seed")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--calm-weeks", type=int, default=13, help="weeks after the onset where nothing drifts")
    parser.add_argument("--drift-weeks", type=int, default=4, help="weeks after the onset where something does")
    parser.add_argument("--only", nargs="*", help="names of scenarios")
    parser.add_argument(
        "--wander", type=float, default=1.0, help="how much more than assumed the line wanders by itself"
    )
    parser.add_argument("--window", type=float, default=60.0, help="seconds a window")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.seeds)
    known = [scenario for scenario in SCENARIOS if not scenario.from_start]  # all ways need calm weeks first
    chosen = [scenario for scenario in known if not given.only or scenario.name in given.only]
    calm = [scenario for scenario in chosen if not scenario.drifts and scenario.challenged]
    drifting = [scenario for scenario in chosen if scenario not in calm]
    print(
        "| no drift | way | false alarms in line-months | a line-month | of which |\n|---|---|---|---|---|", flush=True
    )
    for scenario in calm:
        runs = [run(scenario, seed, given.calm_weeks, wander=given.wander, window_s=given.window) for seed in seeds]
        for name in WAYS:
            print(calm_row(scenario, name, [alarms[name] for alarms in runs], given.calm_weeks), flush=True)
    print(
        "\n| drift | way | found | within 500 parts | median, parts | worst, parts | worst, days | false before "
        "| right cause | by |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    for scenario in drifting:
        runs = [run(scenario, seed, given.drift_weeks, wander=given.wander, window_s=given.window) for seed in seeds]
        for name in WAYS:
            print(drift_row(scenario, name, [alarms[name] for alarms in runs]), flush=True)


if __name__ == "__main__":
    main()
