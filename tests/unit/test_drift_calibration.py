"""Drift against the calibration: a line that is wrong from its first part is found, one like its calibration is not."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

import numpy as np
import orjson
import pytest

from neverblink.demo.drift.scenarios import SCENARIOS, START, Line, Scenario, calibrated, wrong_from_start
from neverblink.drift.alerts import ACT_LEVEL, Observation, Signal
from neverblink.drift.comparisons import calibration_gap
from neverblink.drift.history import HOUR_S, Calendar
from neverblink.drift.score_sketch import ScoreSketch
from neverblink.drift.station_watch import StationWatch
from neverblink.drift.stations import Stations
from neverblink.drift.statistics import Window, Windowing
from neverblink.events import AlertStage, ArtifactRef, CalibratedScores, Decision, DriftReport, Times, Verdict

CALENDAR = Calendar()
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
A_SHIFT = 96  # windows of five minutes
IMAGES = (40, 299, 1000)


def windows(scenario: Scenario, seed: int, shifts: int) -> Iterator[Window]:
    """The windows of the first shifts, and the one after them, which says that they are over."""
    return islice(Line(scenario, seed, onset_s=0.0).windows(1), A_SHIFT * shifts + 1)


def levels(
    found: Iterator[Window], told: CalibratedScores | None, watch: StationWatch | None = None
) -> list[Observation]:
    watch = watch or StationWatch()
    seen = [observation for window in found for observation in watch.take(window, CALENDAR, told)]
    return [observation for observation in seen if observation.signal is Signal.CALIBRATION]


def test_a_line_that_is_wrong_from_its_first_part_is_found_after_its_first_shift() -> None:
    (level,) = levels(windows(BY_NAME["wrong from start"], 1, 1), calibrated(1))
    assert 1 <= level.level < 2 * ACT_LEVEL
    assert level.moment == START + 8 * HOUR_S
    assert level.expected == pytest.approx(0.54, abs=0.01)
    assert level.found == pytest.approx(0.66, abs=0.01)


@pytest.mark.parametrize("images", IMAGES)
def test_a_line_like_its_calibration_raises_nothing(images: int) -> None:
    for seed in range(12):
        found = levels(windows(BY_NAME["none"], seed, 3), calibrated(seed, images))
        assert len(found) == 3
        assert max(level.level for level in found) < 0.5, seed


@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("by", [0.45, -0.8])
def test_a_modest_difference_raises_nothing(by: float, images: int) -> None:
    """Calibration images are never quite like the line, and a model scores lower what it is fitted on."""
    for seed in range(12):
        (level,) = levels(windows(wrong_from_start(by), seed, 1), calibrated(seed, images))
        assert level.level < 1, seed


def test_scores_far_below_the_calibrations_are_told_at_two_deviations() -> None:
    for seed in range(5):
        (level,) = levels(windows(wrong_from_start(-2.2), seed, 1), calibrated(seed))
        assert level.level >= 1
        assert level.found < level.expected


def test_few_calibration_images_need_a_larger_difference() -> None:
    few, many = (levels(windows(wrong_from_start(1.0), 3, 1), calibrated(3, images))[0] for images in (40, 1000))
    assert few.level < 1 < many.level


def test_verdicts_that_tell_no_calibration_are_compared_with_none() -> None:
    assert levels(windows(BY_NAME["wrong from start"], 1, 2), None) == []


def test_a_shift_in_which_the_threshold_was_changed_is_not_compared() -> None:
    before, after = calibrated(1), calibrated(2)
    whole, watch = list(windows(BY_NAME["none"], 1, 2)), StationWatch()
    assert levels(iter(whole[: A_SHIFT // 2]), before, watch) == []
    (level,) = levels(iter(whole[A_SHIFT // 2 :]), after, watch)
    assert after is not None
    assert (level.moment, level.expected) == (START + 16 * HOUR_S, after.quantiles[2])


def test_a_watch_that_was_kept_goes_on_and_one_of_an_older_version_begins_with_the_next_shift() -> None:
    told, whole = calibrated(1), list(windows(BY_NAME["wrong from start"], 1, 2))
    watch = StationWatch()
    levels(iter(whole[: A_SHIFT // 2]), told, watch)
    kept = orjson.loads(orjson.dumps(watch.to_json()))
    restored = StationWatch.from_json(kept, watch.history.archive())
    assert [level.moment for level in levels(iter(whole[A_SHIFT // 2 :]), told, restored)] == [
        START + 8 * HOUR_S,
        START + 16 * HOUR_S,
    ]
    del kept["calibrated"], kept["calibrated_since"]
    older = StationWatch.from_json(kept, watch.history.archive())
    assert [level.moment for level in levels(iter(whole[A_SHIFT // 2 :]), told, older)] == [START + 16 * HOUR_S]


# The comparison


def of(values: np.ndarray) -> CalibratedScores:
    found = CalibratedScores.of(values.tolist(), 1.0)
    assert found is not None
    return found


@pytest.mark.parametrize("images", [20, 40, 300])
def test_chance_alone_leaves_a_distance_less_often_than_stated(images: int) -> None:
    random = np.random.default_rng(images)
    sure = 0
    for _ in range(400):
        gap = calibration_gap(ScoreSketch.of(random.gamma(6, 0.05, 120)), of(random.gamma(6, 0.05, images)))
        sure += gap.above > 0 or gap.below > 0
    assert sure <= 4


def test_a_large_difference_is_measured_to_within_chance() -> None:
    """Normal distributions one deviation apart: 2·Φ(1/2) − 1 = 0.38, at the quantiles 0.34 to 0.38."""
    random = np.random.default_rng(1)
    base, line = random.normal(0.5, 0.05, 20_000), random.normal(0.55, 0.05, 20_000)
    up = calibration_gap(ScoreSketch.of(line), of(base))
    down = calibration_gap(ScoreSketch.of(base), of(line))
    assert (up.below, down.above) == (0, 0)
    assert 0.28 < up.above < 0.38
    assert 0.28 < down.below < 0.38
    assert up.beyond == pytest.approx(0.26, abs=0.03)


def test_scores_without_any_spread_agree_with_themselves() -> None:
    same = np.full(500, 0.5, dtype=np.float32)
    gap = calibration_gap(ScoreSketch.of(same), of(same))
    assert (gap.above, gap.below, gap.beyond) == (0, 0, 0)


def test_a_wider_line_of_the_same_median_is_a_difference_too() -> None:
    random = np.random.default_rng(1)
    gap = calibration_gap(ScoreSketch.of(random.normal(0.5, 0.15, 5000)), of(random.normal(0.5, 0.05, 5000)))
    assert gap.above > 0.15
    assert gap.beyond == pytest.approx(0.29, abs=0.03)


# Through the states of a worker


def verdict(number: int, told: CalibratedScores | None) -> Verdict:
    captured = datetime(2026, 3, 2, 6, tzinfo=UTC) + timedelta(minutes=number)
    return Verdict(
        id=f"v{number}", frame_id=f"f{number}", line="line-1", station="top", product="pcb", part="1", seq=1,
        decision=Decision.PASS, score=0.9, threshold=1.0, ratio=0.9,
        artifact=ArtifactRef(name="pcb", version="1", digest="sha256:" + "a" * 64), calibrated=told,
        times=Times(captured=captured), deadline=captured,
    )  # fmt: skip


def reports(told: CalibratedScores | None, *, restarted_at: int) -> list[DriftReport]:
    """The reports of a shift of one part a minute; the worker dies once and goes on from what it has kept."""
    table: dict[bytes, bytes] = {}
    found = []
    for number in range(8 * 60 + 3):
        if number in (0, restarted_at):
            stations = Stations(Windowing(60, 10), CALENDAR, table.get)
            stations.load(list(table), {0})
        taken = stations.take(verdict(number, told), (0, number), verdict(number, told).times.captured.timestamp())
        found += taken.reports
        table |= {key: value for key, value in taken.changes.items() if value is not None}
    return found


def test_the_alert_says_what_is_wrong_and_what_to_do_while_the_rest_still_learns() -> None:
    (alert,) = [alert for report in reports(calibrated(1), restarted_at=100) for alert in report.alerts]
    assert (alert.signal, alert.stage, alert.since) == (
        "calibration",
        AlertStage.RAISED,
        datetime(2026, 3, 2, 6, tzinfo=UTC),
    )
    assert alert.change == (
        "the median score / threshold of passing parts is 0.9 in the shift from Mon 2026-03-02 06:00 UTC and was 0.535"
        " at calibration: 100 % of them lie above what 5 % of 299 images exceeded"
    )
    assert "nearer to the threshold than those that the model was calibrated with" in alert.cause
    assert alert.next_step.startswith("check light, position and material before this is taken for normal")


def test_verdicts_of_an_older_scorer_raise_nothing() -> None:
    assert [alert for report in reports(None, restarted_at=100) for alert in report.alerts] == []
