"""Words of an alert: light is told from the camera and from the parts by the image itself."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from neverblink.drift.alerts import AlertBook, Observation, Signal
from neverblink.drift.causes import Cause, explained, likely_cause
from neverblink.drift.statistics import StationKey
from neverblink.events import AlertStage, DriftAlert, DriftState

TUESDAY = datetime(2026, 3, 3, 6, tzinfo=UTC).timestamp()
KEY = StationKey("line-1", "top", "pcb", "sha256:a")


def seen(signal: Signal, ratio: float = 1.0, level: float = 0.0, parts: int = 0) -> Observation:
    return Observation(signal, level, 0.5, 0.5 * ratio, TUESDAY, TUESDAY + 7200, parts=parts)


def image(brightness: float = 1.0, sharpness: float = 1.0, contrast: float = 1.0) -> dict[Signal, Observation]:
    """Newest observations; a level is the change in limits of 3, 5 and 10 %."""
    ratios = {
        Signal.BRIGHTNESS: (brightness, 0.03),
        Signal.CONTRAST: (contrast, 0.05),
        Signal.SHARPNESS: (sharpness, 0.1),
    }
    return {name: seen(name, ratio, abs(ratio - 1) / limit) for name, (ratio, limit) in ratios.items()}


def alert(observation: Observation, latest: Mapping[Signal, Observation]) -> DriftAlert:
    book = AlertBook()
    for later in range(3):
        for done in book.take(KEY, replace(observation, moment=observation.moment + later)):
            return explained(KEY, done, latest)
    raise AssertionError("no alert was raised")


@pytest.mark.parametrize("signal", [Signal.PASS_RATIO, Signal.REJECTS_MANY, Signal.DISTRIBUTION])
@pytest.mark.parametrize(
    ("latest", "cause"),
    [
        (image(), Cause.PARTS),
        (image(brightness=0.91, contrast=0.91, sharpness=0.83), Cause.LIGHT),
        (image(brightness=1.05, contrast=1.05, sharpness=1.1), Cause.LIGHT),
        (image(brightness=0.97, contrast=0.95, sharpness=0.7), Cause.CAMERA),
        (image(sharpness=0.8), Cause.CAMERA),
        ({}, Cause.PARTS),
    ],
)
def test_scores_that_rise_are_blamed_on_what_the_image_says(
    signal: Signal, latest: dict[Signal, Observation], cause: Cause
) -> None:
    assert likely_cause(signal, latest) is cause


@pytest.mark.parametrize(
    ("signal", "cause"),
    [
        (Signal.BRIGHTNESS, Cause.LIGHT),
        (Signal.CALIBRATION, Cause.SET_UP),
        (Signal.REJECTS_FEW, Cause.BLIND),
        (Signal.CHALLENGE_MISSED, Cause.BLIND),
        (Signal.CHALLENGE_ABSENT, Cause.PROCEDURE),
        (Signal.UNSCORED, Cause.IMAGES),
        (Signal.INFERENCE, Cause.COMPUTE),
    ],
)
def test_other_signals_speak_for_themselves(signal: Signal, cause: Cause) -> None:
    assert likely_cause(signal, image()) is cause


def test_scores_far_below_the_calibrations_mean_that_the_model_may_be_blind() -> None:
    said = alert(seen(Signal.CALIBRATION, 0.4, 1.1), {})
    assert "may have become blind" in said.cause
    assert "known defective part" in said.next_step
    assert "nearer to the threshold" in alert(seen(Signal.CALIBRATION, 1.3, 1.1), {}).cause


def test_an_alert_says_what_changed_how_much_since_when_and_what_to_do() -> None:
    latest = image(brightness=0.91)
    said = alert(seen(Signal.BRIGHTNESS, 0.91, 1.1), latest)
    assert said.change == "brightness fell 9 % (from 0.5 to 0.455) since Tue 2026-03-03 06:00 UTC"
    assert said.next_step.startswith("check lighting, lens and exposure before retraining")
    assert (said.stage, said.severity, said.artifact) == (AlertStage.RAISED, DriftState.WATCH, "sha256:a")
    assert said.since == datetime(2026, 3, 3, 6, tzinfo=UTC)


def test_parts_that_change_at_once_are_not_explained_as_wear() -> None:
    assert "supplier" in alert(seen(Signal.PASS_RATIO, 1.1, 1.2, parts=400), image()).cause
    assert "wears" in alert(seen(Signal.PASS_RATIO, 1.1, 1.2, parts=20_000), image()).cause


def test_rates_are_told_in_per_cent_with_their_reasons() -> None:
    level = Observation(Signal.UNSCORED, 2.5, 0.001, 0.02, TUESDAY, TUESDAY + 3600, detail="late 40")
    said = alert(level, image())
    assert said.change.startswith("the rate of unscored parts rose from 0.1 % to 2 % since Tue")
    assert said.change.endswith(": late 40")


def test_an_alert_keeps_its_id_from_raised_to_cleared() -> None:
    book = AlertBook()
    level = seen(Signal.CHALLENGE_MISSED, 0.5, 2.0)
    (raised,) = book.take(KEY, level)
    first = explained(KEY, raised, image())
    done = [found for n in range(1, 4) for found in book.take(KEY, replace(level, level=0.0, moment=level.moment + n))]
    last = explained(KEY, done[-1], image())
    assert (last.id, last.stage) == (first.id, AlertStage.CLEARED)
