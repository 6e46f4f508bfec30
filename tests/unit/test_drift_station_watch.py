"""A station's watch over simulated weeks: what drifts is found, what only wanders is not."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from neverblink.demo.drift.scenarios import DAY_S, SCENARIOS, START, WEEK_S, Line
from neverblink.drift.alerts import AlertBook, Signal, Transition
from neverblink.drift.causes import Cause, likely_cause
from neverblink.drift.history import Calendar
from neverblink.drift.station_watch import LEARNING_S, Rate, StationWatch
from neverblink.drift.statistics import Challenges, StationKey, Window

KEY = StationKey("line-1", "top", "part", "none")
CALENDAR = Calendar()
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def line(name: str, seed: int = 3) -> Line:
    """A scenario that begins after eight days."""
    return Line(BY_NAME[name], seed, onset_s=WEEK_S + DAY_S)


def fed(
    windows: list[Window], watch: StationWatch | None = None
) -> tuple[StationWatch, list[tuple[Transition, Cause]]]:
    watch, book = watch or StationWatch(), AlertBook()
    done = []
    for window in windows:
        for observation in watch.take(window, CALENDAR):
            cause = likely_cause(observation.signal, watch.latest)
            done += [(transition, cause) for transition in book.take(KEY, observation)]
    return watch, done


def raised(done: list[tuple[Transition, Cause]]) -> dict[Signal, tuple[float, Cause]]:
    found: dict[Signal, tuple[float, Cause]] = {}
    for transition, cause in done:
        if transition.stage == "raised":
            found.setdefault(transition.alert.last.signal, (transition.alert.raised, cause))
    return found


@pytest.mark.parametrize("name", ["none", "night shift"])
def test_a_line_that_only_wanders_raises_nothing(name: str) -> None:
    _, done = fed(list(line(name).windows(3)))
    assert done == []


def test_another_supplier_is_found_within_500_parts_and_blamed_on_the_parts() -> None:
    scenario = line("supplier")
    _, done = fed(list(scenario.windows(2)))
    moment, cause = raised(done)[Signal.PASS_RATIO]
    assert 0 < (moment - START - scenario.onset_s) / 60 * scenario.per_minute <= 500
    assert cause is Cause.PARTS


def test_a_camera_that_was_knocked_is_blamed_at_once() -> None:
    scenario = line("camera knocked")
    _, done = fed(list(scenario.windows(2)))
    moment, cause = raised(done)[Signal.SHARPNESS]
    assert (moment - START - scenario.onset_s) / 60 * scenario.per_minute <= 500
    assert cause is Cause.CAMERA


def test_ageing_light_is_blamed_on_the_light() -> None:
    _, done = fed(list(line("LED ageing").windows(4)))
    found = raised(done)
    assert found[Signal.BRIGHTNESS][1] is Cause.LIGHT
    assert {cause for _, cause in found.values()} == {Cause.LIGHT}


def test_challenge_parts_that_no_longer_come_are_missed() -> None:
    _, done = fed(list(line("no challenge parts").windows(2)))
    assert list(raised(done)) == [Signal.CHALLENGE_ABSENT]


def test_a_challenge_part_that_passes_is_told_even_while_learning() -> None:
    windows = list(line("none").windows(1))[:20]
    windows[10] = replace(windows[10], challenges=Challenges(misses=1))
    _, done = fed(windows)
    assert list(raised(done)) == [Signal.CHALLENGE_MISSED]


def test_a_reject_rate_that_is_suspiciously_low_is_told() -> None:
    windows = list(line("none").windows(2))
    blind = [replace(w, rejected={}) if w.opened >= START + LEARNING_S else w for w in windows]
    _, done = fed(blind)
    found = raised(done)
    assert list(found) == [Signal.REJECTS_FEW]
    assert found[Signal.REJECTS_FEW][1] is Cause.BLIND


def test_verdicts_that_come_late_are_told_with_their_reason() -> None:
    windows = list(line("none").windows(2))
    late = [replace(w, unscored={"late": 5}) if w.opened >= START + LEARNING_S + DAY_S else w for w in windows]
    _, done = fed(late)
    first = next(transition for transition, _ in done)
    assert first.alert.last.signal is Signal.UNSCORED
    assert first.alert.last.detail.startswith("late ")


def test_a_state_that_was_kept_and_replayed_raises_the_same_alerts() -> None:
    windows = list(line("supplier").windows(2))
    crash = len(windows) * 3 // 4
    calm, expected = fed(windows)
    before, first = fed(windows[:crash])
    restored = StationWatch.from_json(orjson.loads(orjson.dumps(before.to_json())), before.history.archive())
    assert fed(windows[crash - 50 : crash], restored)[1] == []
    after, _ = fed(windows[crash:], restored)
    assert len(first) <= len(expected)
    assert after.charts == calm.charts
    assert [span.passed for span in after.history.shifts] == [span.passed for span in calm.history.shifts]
    assert (after.rejects, after.challenges) == (calm.rejects, calm.challenges)


def test_a_state_stays_within_its_stated_size() -> None:
    watch, _ = fed(list(Line(BY_NAME["none"], 1, window_s=1800).windows(14)))
    assert len(orjson.dumps(watch.to_json())) < 24_000
    assert len(watch.history.archive()) < 48_000


def test_a_shift_is_compared_with_what_was_learnt_and_with_earlier_weeks() -> None:
    watch, _ = fed(list(line("supplier").windows(3)))
    compared = watch.compare_shift(watch.history.shifts[-1], CALENDAR)
    assert compared.against_reference is not None
    assert compared.against_reference.psi > 0.15
    assert compared.against_earlier is not None
    assert compared.shift_in_errors is not None


def test_the_dispersion_of_hours_is_found_and_weakens_the_evidence() -> None:
    random = np.random.default_rng(1)
    steady, bursty = Rate(), Rate()
    for _ in range(2000):
        steady.learn(int(random.binomial(600, 0.01)), 600)
        bursty.learn(int(random.binomial(600, 0.01 * random.gamma(2, 0.5))), 600)
    assert steady.dispersion == pytest.approx(1, abs=0.1)
    # Beta-binomial: 1 + n·p·cv² for rates that vary by cv² = 1/2.
    assert bursty.dispersion == pytest.approx(1 + 600 * 0.01 / 2, rel=0.15)
    assert bursty.level_above(20, 600, 1.5) < steady.level_above(20, 600, 1.5)
