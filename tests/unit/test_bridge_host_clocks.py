"""The clock of a scorer's host: told when it is certainly wrong, whatever Kafka and scoring take."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.bridge.host_clocks import HostClocks
from neverblink.bridge.trigger_clock import LEAST_S
from neverblink.events import Decision, Reason, Times, Tracking, Verdict

LOOK_S = 0.1
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def verdict(number: int, trigger: float, received: float, emitted: float) -> Verdict:
    times = Times(captured=at(trigger), published=at(trigger), received=at(received), emitted=at(emitted))
    return Verdict(
        id=f"v-{number}", frame_id=f"f-{number}", line="line-1", station="top", product="part", part=str(number),
        seq=number, tracking=Tracking(epoch=1, number=number), decision=Decision.UNSCORED, reason=Reason.LATE,
        times=times, deadline=at(trigger + 0.8),
    )  # fmt: skip


def hear(clocks: HostClocks, offset: float, number: int, way_s: float = 0.02, scoring_s: float = 0.05) -> None:
    """Let a verdict come of a scorer that is `offset` behind, `way_s` from trigger to it and from it to the bridge."""
    trigger = 10.0 * number
    received, emitted = trigger + way_s, trigger + way_s + scoring_s
    seen = NOON.timestamp() + trigger - LOOK_S / 2, NOON.timestamp() + trigger + LOOK_S / 2
    clocks.heard(
        verdict(number, trigger, received - offset, emitted - offset), seen, NOON.timestamp() + emitted + way_s
    )


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records]


@pytest.mark.parametrize(
    ("offset", "sentence"),
    [
        (1.0, "is 0.93 s behind ours: it takes late parts for early ones; set both by NTP or PTP"),
        (-1.0, "is 0.98 s ahead of ours: it gives up parts as late that have time; set both by NTP or PTP"),
    ],
)
def test_a_scorers_clock_that_is_wrong_is_told_once_and_again_when_it_is_set(
    offset: float, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    clocks = HostClocks("line-1", logging.getLogger("test-host-clocks"))
    for number in range(5):
        hear(clocks, offset, number)
    assert said(caplog) == [f"the clock of the scorer of line-1/top {sentence}"]
    hear(clocks, 0.0, 6)
    assert said(caplog)[1:] == ["the clock of the scorer of line-1/top agrees with ours again"]


@given(
    offset=st.floats(-3, 3),
    ways=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=30),
)
def test_no_delay_is_taken_for_a_clock(offset: float, ways: list[tuple[float, float]]) -> None:
    clocks = HostClocks("line-1", logging.getLogger("test-host-clocks"))
    for number, (way_s, scoring_s) in enumerate(ways):
        hear(clocks, offset, number, way_s, scoring_s)
    found = clocks._scorers["top"].seconds
    assert min(0.0, offset) - 1e-6 <= found <= max(0.0, offset) + 1e-6
    if abs(offset) <= LEAST_S:
        assert found == 0.0


def test_the_offset_of_a_camera_is_the_cameras_whatever_its_scorer_has() -> None:
    clocks = HostClocks("line-1", logging.getLogger("test-host-clocks"))
    hear(clocks, 2.0, 1)
    seen = NOON.timestamp() + 20 - LOOK_S, NOON.timestamp() + 20
    late = verdict(2, 20.0, 20.1 - 2.0, 20.2 - 2.0)
    assert clocks.heard(late, seen, NOON.timestamp() + 20.3) == 0.0
