"""Drift statistics: every verdict is counted once, in the window of its capture, whatever comes twice or late."""

import math
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.drift.errors import LayoutError
from neverblink.drift.moments import Moments
from neverblink.drift.statistics import (
    StationKey,
    StationState,
    Window,
    Windowing,
    as_of_a_defect,
    event_time,
    report,
)
from neverblink.events import ArtifactRef, Decision, DriftReport, DriftState, Quality, Times, Verdict

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTES = Windowing(length_s=60, allowed_lateness_s=10)
ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)


def verdict(at_s: float, decision: Decision = Decision.PASS, **changes: Any) -> Verdict:
    captured = START + timedelta(seconds=at_s)
    scored = decision is not Decision.UNSCORED
    fields: dict[str, Any] = {
        "id": f"v{at_s}",
        "frame_id": f"f{at_s}",
        "line": "line-1",
        "station": "top",
        "product": "pcb",
        "part": "1",
        "seq": 1,
        "decision": decision,
        "reason": {Decision.REJECT: "anomaly", Decision.UNSCORED: "late"}.get(decision),
        "score": 1.0 if scored else None,
        "threshold": 2.0 if scored else None,
        "ratio": 0.5 if scored else None,
        "artifact": ARTIFACT if scored else None,
        "quality": Quality(brightness=0.4, contrast=0.1, sharpness=1, saturation=0),
        "times": Times(captured=captured),
        "deadline": captured,
    }
    return Verdict(**{**fields, **changes})


def feed(state: StationState, *verdicts: Verdict, first: int = 0, windowing: Windowing = MINUTES) -> list[Window]:
    closed = []
    for offset, item in enumerate(verdicts, start=first):
        closed += state.take(item, (0, offset), event_time(item, item.times.captured.timestamp()), windowing)
    return closed


def seen(windows: list[Window]) -> list[tuple[int, int, int]]:
    return [(w.passed, sum(w.rejected.values()), sum(w.unscored.values())) for w in windows]


def test_a_window_closes_when_event_time_has_passed_its_end_by_the_allowed_lateness() -> None:
    state = StationState()
    assert feed(state, verdict(1), verdict(59), verdict(69.9)) == []
    assert seen(feed(state, verdict(70), first=3)) == [(2, 0, 0)]


def test_what_is_out_of_order_within_the_allowed_lateness_counts_in_its_own_window() -> None:
    state = StationState()
    closed = feed(state, verdict(1), verdict(65), verdict(58), verdict(80))
    assert seen(closed) == [(2, 0, 0)]
    assert state.late == 0


def test_what_comes_after_its_window_closed_is_late_and_changes_nothing() -> None:
    state = StationState()
    feed(state, verdict(1), verdict(80))
    assert feed(state, verdict(30), first=2) == []
    assert state.late == 1
    assert seen(state.windows) == [(1, 0, 0)]


def test_only_passing_parts_say_how_good_parts_look() -> None:
    state = StationState()
    feed(
        state,
        verdict(1, ratio=0.4),
        verdict(2, ratio=0.6),
        verdict(3, Decision.REJECT, ratio=5.0),
        verdict(4, Decision.UNSCORED),
        verdict(5, Decision.UNSCORED, reason="too-dark"),
    )
    window = state.windows[0]
    looks = window.pass_ratio.distribution()
    assert looks is not None
    assert (looks.count, looks.minimum, looks.maximum) == (2, 0.4, 0.6)
    assert looks.mean == pytest.approx(0.5)
    assert looks.deviation == pytest.approx(math.sqrt(0.02))
    assert window.rejected == {"anomaly": 1}
    assert window.unscored == {"late": 1, "too-dark": 1}
    assert window.brightness.count == 2


def test_a_good_reference_part_is_a_hit_when_it_passes_and_a_miss_when_it_is_rejected() -> None:
    window = Window(0, 60)
    for decision in (Decision.PASS, Decision.PASS, Decision.REJECT, Decision.UNSCORED):
        window.add(as_of_a_defect(verdict(1, decision, challenge=True)))
    assert (window.challenges.hits, window.challenges.misses, window.challenges.unscored) == (2, 1, 1)


def test_a_challenge_part_says_nothing_about_production() -> None:
    state = StationState()
    feed(state, verdict(1), verdict(2, challenge=True))
    assert seen(state.windows) == [(1, 0, 0)]


def test_a_record_that_comes_again_changes_nothing() -> None:
    state = StationState()
    feed(state, verdict(1), verdict(2), verdict(80))
    before = state.to_bytes()
    assert feed(state, verdict(1), verdict(2), verdict(80)) == []
    assert state.to_bytes() == before


def test_a_silent_station_reports_its_last_window_once() -> None:
    state = StationState()
    feed(state, verdict(30))
    assert state.close_quiet(39.9, MINUTES) == []
    assert seen(state.close_quiet(40, MINUTES)) == [(1, 0, 0)]
    assert state.close_quiet(4000, MINUTES) == []


def test_a_backlog_after_a_silence_finds_the_windows_after_the_one_that_closed() -> None:
    state = StationState()
    feed(state, verdict(30))
    state.close_quiet(3600, MINUTES)
    feed(state, verdict(40), verdict(90), first=1)
    assert state.late == 1
    assert seen(state.windows) == [(1, 0, 0)]


def test_a_camera_clock_that_runs_ahead_closes_no_window_early() -> None:
    state = StationState()
    ahead = verdict(3600)
    state.take(verdict(1), (0, 0), event_time(verdict(1), START.timestamp() + 1), MINUTES)
    assert state.take(ahead, (0, 1), event_time(ahead, START.timestamp() + 2), MINUTES) == []
    assert seen(state.windows) == [(2, 0, 0)]


def test_the_report_of_a_window_has_the_same_id_whenever_it_is_made() -> None:
    def made() -> DriftReport:
        state = StationState()
        closed = feed(state, verdict(1), verdict(2, Decision.REJECT), verdict(80))
        return report(StationKey.of(verdict(1)), closed[0], DriftState.STEADY)

    found = made()
    assert found == made()
    assert (found.opened, found.closed) == (START, START + timedelta(seconds=60))
    assert (found.passed, found.rejected) == (1, 1)
    assert found.artifact == ARTIFACT.digest


def test_parts_that_no_model_scored_have_a_state_of_their_own() -> None:
    assert StationKey.of(verdict(1, Decision.UNSCORED)).artifact == "none"
    key = StationKey.of(verdict(1))
    assert StationKey.from_bytes(key.to_bytes()) == key


def test_a_state_of_another_layout_is_refused() -> None:
    with pytest.raises(LayoutError, match="layout 9; this program reads 3"):
        StationState.from_bytes(b'{"layout": 9}')


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=2, max_size=200))
def test_running_moments_equal_the_moments_of_all_values(values: list[float]) -> None:
    moments = Moments()
    for value in values:
        moments.add(value)
    found = moments.distribution()
    assert found is not None
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-9)
    assert found.deviation == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)
    assert (found.minimum, found.maximum) == (min(values), max(values))


@settings(max_examples=60, deadline=None)
@given(
    moments=st.lists(st.integers(min_value=0, max_value=600), min_size=1, max_size=80),
    crashes=st.sets(st.integers(min_value=0, max_value=79), max_size=4),
    back=st.integers(min_value=1, max_value=30),
)
def test_crashes_and_repeated_records_leave_the_same_counts(moments: list[int], crashes: set[int], back: int) -> None:
    """Every record is counted once or late once: after crashes that replay records, as without them."""
    stream = [verdict(moment, list(Decision)[moment % 3]) for moment in moments]
    calm = StationState()
    expected = seen(feed(calm, *stream))

    state, closed = StationState(), []
    for offset, item in enumerate(stream):
        closed += feed(state, item, first=offset)
        if offset in crashes:
            state = StationState.from_bytes(state.to_bytes())
            first = max(0, offset - back)
            closed += feed(state, *stream[first : offset + 1], first=first)
    assert seen(closed) == expected
    assert state.to_bytes() == calm.to_bytes()
    counted = sum(sum(counts) for counts in seen(closed) + seen(state.windows))
    assert counted + state.late == len(stream)


def test_an_open_window_of_the_first_layout_is_read_and_goes_on() -> None:
    """Counts, score and brightness of a service that ran before the other signals were counted."""
    old = (
        b'{"layout":1,"marks":{"0":1},"clock":1772452801.0,"closed_until":null,"windows":[{"opened":1772452800.0,'
        b'"closed":1772452860.0,"passed":1,"rejected":{},"unscored":{},"pass_ratio":[1,0.5,0.0,0.5,0.5],'
        b'"brightness":[1,0.4,0.0,0.4,0.4]}],"learnt":0,"late":0}'
    )
    state = StationState.from_bytes(old)
    feed(state, verdict(2), first=2)
    (window,) = state.windows
    assert (window.passed, window.pass_ratio.count, window.brightness.count) == (2, 2, 2)
    assert (window.contrast.count, window.sketch.count) == (1, 1)


def test_what_became_of_challenge_parts_is_counted_apart() -> None:
    state = StationState()
    feed(
        state,
        verdict(1, Decision.REJECT, challenge=True),
        verdict(2, challenge=True),
        verdict(3, Decision.UNSCORED, challenge=True),
    )
    window = state.windows[0]
    assert (window.challenges.hits, window.challenges.misses, window.challenges.unscored) == (1, 1, 1)
    assert window.taken == 0


def test_a_report_tells_every_signal() -> None:
    state = StationState()
    captured = START + timedelta(seconds=1)
    times = Times(captured=captured, batched=captured, scored=captured + timedelta(milliseconds=80))
    closed = feed(state, verdict(1, times=times), verdict(2, Decision.REJECT), verdict(80))
    told = report(StationKey.of(verdict(1)), closed[0], DriftState.STEADY)
    for found in (told.contrast, told.sharpness, told.saturation, told.inference_ms):
        assert found is not None
        assert found.count == 1
    assert told.inference_ms is not None
    assert told.inference_ms.mean == pytest.approx(80)
    assert told.rejected_by_reason == {"anomaly": 1}
