"""What an alert means in words: what changed, the likely cause, the next step. Pure.

Light is told from parts by the image itself. When light falls to a share g of what it was, luma scales by g: brightness
and contrast fall by g and sharpness, a variance, by g². Sharpness that has left this law is focus, position or
vibration; an image that is as ever under scores that are not means that the parts have changed.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import NamedTuple

from neverblink.drift.alerts import Observation, OpenAlert, Signal, Transition
from neverblink.drift.statistics import StationKey
from neverblink.events import AlertStage, DriftAlert, DriftState
from neverblink.events.identity import derived_id

_LIGHT_MOVED = 0.6
"""Level of brightness, contrast or saturation from which the light is suspected: its alert may come a little later."""
_FOCUS_MOVED = 0.12
"""Change of log sharpness beyond what light explains: far more than a change of the day or the shift, about 0.02 in
`scenarios`, and well within a factor that an eye would see."""
_SUDDEN_PARTS = 2000


class Cause(StrEnum):
    """What is likely behind an alert."""

    LIGHT = "light"
    CAMERA = "camera"
    PARTS = "parts"
    SET_UP = "set-up"
    BLIND = "blind"
    IMAGES = "images"
    COMPUTE = "compute"
    PROCEDURE = "procedure"


class _Words(NamedTuple):
    cause: str
    next_step: str


_WORDS = {
    Cause.LIGHT: _Words(
        "the light: lamps age or are dirty, or the exposure was changed",
        "check lighting, lens and exposure before retraining: a model that is fitted to bad light only hides it",
    ),
    Cause.CAMERA: _Words(
        "the camera: out of focus, moved, vibrating, or a dirty lens",
        "check mounting, focus and lens before retraining, and compare a picture with one of the days before",
    ),
    Cause.PARTS: _Words(
        "the parts: the image is as bright and sharp as before",
        "look at the newest passes and rejects; if these parts are good, confirm them in the review and retrain",
    ),
    Cause.SET_UP: _Words(
        "the set-up: this line's good parts lie nearer to the threshold than those that the model was calibrated with,"
        " as under other light or with other material",
        "check light, position and material before this is taken for normal; if they are right, calibrate or retrain"
        " on this line's parts",
    ),
    Cause.BLIND: _Words(
        "the model may have become blind: wrong artifact or threshold, or a picture that shows the part no longer",
        "send a known defective part through the station now",
    ),
    Cause.IMAGES: _Words(
        "pictures that cannot be judged, or verdicts that come too late",
        "look at the reasons, then at the camera node or the scorer that gives them",
    ),
    Cause.COMPUTE: _Words(
        "the scorer: more stations on it, another process beside it, or a hot processor",
        "compare its load with the day the change began; late parts are rejected",
    ),
    Cause.PROCEDURE: _Words(
        "known defective parts are no longer sent, or no longer flagged as such",
        "ask the shift for its check, and whether the line's program still flags these parts",
    ),
}

_NAMES = {
    Signal.PASS_RATIO: "score / threshold of passing parts",
    Signal.DISTRIBUTION: "the highest twentieth of the passing scores",
    Signal.BRIGHTNESS: "brightness",
    Signal.CONTRAST: "contrast",
    Signal.SHARPNESS: "sharpness",
    Signal.SATURATION: "the share of clipped pixels",
    Signal.INFERENCE: "inference time",
    Signal.REJECTS_MANY: "the reject rate",
    Signal.REJECTS_FEW: "the reject rate",
    Signal.UNSCORED: "the rate of unscored parts",
    Signal.CHALLENGE_MISSED: "the share of known defective parts that are rejected",
}
_SHARES = {Signal.REJECTS_MANY, Signal.REJECTS_FEW, Signal.UNSCORED, Signal.CHALLENGE_MISSED}


def likely_cause(signal: Signal, latest: Mapping[Signal, Observation], *, fell: bool = False) -> Cause:
    """Return what is likely behind an alert, given the newest observation of each charted signal.

    `fell` says whether the alert is about a signal that is lower than expected.
    """
    match signal:
        case Signal.CALIBRATION:
            return Cause.BLIND if fell else Cause.SET_UP
        case Signal.CHALLENGE_ABSENT:
            return Cause.PROCEDURE
        case Signal.CHALLENGE_MISSED | Signal.REJECTS_FEW:
            return Cause.BLIND
        case Signal.UNSCORED:
            return Cause.IMAGES
        case Signal.INFERENCE:
            return Cause.COMPUTE
    sharpness = _moved(Signal.SHARPNESS, latest)
    # Sharpness that stayed where the light did not, as with a dimmer background, is no fault of the focus.
    if abs(sharpness) >= _FOCUS_MOVED / 2 and abs(sharpness - 2 * _moved(Signal.BRIGHTNESS, latest)) >= _FOCUS_MOVED:
        return Cause.CAMERA
    light = (Signal.BRIGHTNESS, Signal.CONTRAST, Signal.SATURATION)
    if signal in (*light, Signal.SHARPNESS) or any(
        latest[name].level >= _LIGHT_MOVED for name in light if name in latest
    ):
        return Cause.LIGHT
    return Cause.PARTS


def explained(
    key: StationKey, transition: Transition, latest: Mapping[Signal, Observation], zone: tzinfo = UTC
) -> DriftAlert:
    """Return what travels of a transition. The same alert has the same id from raised to cleared."""
    alert = transition.alert
    seen = alert.last
    cause = likely_cause(seen.signal, latest, fell=seen.found < seen.expected)
    words = _WORDS[cause]
    return DriftAlert(
        id=derived_id("drift-alert", key.line, key.station, alert.product, alert.artifact, seen.signal, alert.raised),
        signal=seen.signal,
        stage=AlertStage(transition.stage),
        severity=DriftState.ACT if alert.acts else DriftState.WATCH,
        since=_instant(alert.since),
        raised=_instant(alert.raised),
        at=_instant(seen.moment),
        artifact=alert.artifact,
        expected=seen.expected,
        found=seen.found,
        level=seen.level,
        change=f"{_change(alert, zone)}; {transition.why}" if transition.why else _change(alert, zone),
        cause=f"{words.cause}{_pace(seen) if cause is Cause.PARTS else ''}",
        next_step=words.next_step,
    )


def _change(alert: OpenAlert, zone: tzinfo) -> str:
    seen = alert.last
    since = _local(alert.since, zone)
    if seen.signal is Signal.CHALLENGE_ABSENT:
        return (
            f"no known defective part for {seen.found:.0f} parts; the longest wait that was learnt is "
            f"{seen.expected:.0f}"
        )
    if seen.signal is Signal.CALIBRATION:
        shift = _local(seen.since, zone)
        return (
            f"the median score / threshold of passing parts is {seen.found:.3g} in the shift from {shift} and was"
            f" {seen.expected:.3g} at calibration: {seen.detail}"
        )
    verb = "rose" if seen.found > seen.expected else "fell"
    if seen.signal in _SHARES:
        size = f"from {100 * seen.expected:.3g} % to {100 * seen.found:.3g} %"
    elif seen.signal is Signal.SATURATION or not seen.expected:
        size = f"from {seen.expected:.3g} to {seen.found:.3g}"
    else:
        percent = 100 * abs(seen.found / seen.expected - 1)
        size = f"{percent:.2g} % (from {seen.expected:.3g} to {seen.found:.3g})"
    detail = f": {seen.detail}" if seen.detail else ""
    return f"{_NAMES[seen.signal]} {verb} {size} since {since}{detail}"


def _local(seconds: float, zone: tzinfo) -> str:
    return datetime.fromtimestamp(seconds, zone).strftime("%a %Y-%m-%d %H:%M %Z")


def _pace(seen: Observation) -> str:
    if not seen.parts:
        return ""
    if seen.parts <= _SUDDEN_PARTS:
        return "; suddenly, as with another supplier, lot or setting"
    return "; slowly, as with a tool that wears"


def _moved(signal: Signal, latest: Mapping[Signal, Observation]) -> float:
    """Return the logarithm of found over expected, 0 where it is not known."""
    seen = latest.get(signal)
    if seen is None or seen.found <= 0 or seen.expected <= 0:
        return 0.0
    return math.log(seen.found / seen.expected)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
