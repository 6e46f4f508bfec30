"""A simulated line's parts as verdicts, in their order, for the service itself to count."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np

from neverblink.demo.drift.scenarios import START, WEEK_S, Line, Parts, calibrated
from neverblink.events import ArtifactRef, Decision, Quality, Reason, Times, Verdict
from neverblink.events.identity import verdict_id

LINE, STATION, PRODUCT = "line-1", "top", "part"
ARTIFACT = ArtifactRef(name="simulated", version="1", digest="sha256:" + "0" * 64)
_CALIBRATED = calibrated(0)
_DEADLINE = timedelta(seconds=1)


def weeks_back(weeks: int, now: datetime) -> float:
    """Return by how many seconds scenarios must be moved to end before `now`, in whole weeks."""
    return ((now.timestamp() - START - weeks * WEEK_S) // WEEK_S) * WEEK_S


def verdicts(line: Line, weeks: int, moved_s: float, after_s: float) -> Iterator[Verdict]:
    """Yield the verdicts of that many weeks, `moved_s` later than the scenario's calendar.

    A last part, `after_s` after the others, lets the windows before it close.
    """
    random = np.random.default_rng([line.seed, 8])
    gap = 60 / line.per_minute
    number = 0
    for parts in line.days(weeks):
        fates = line.fates(parts, random)
        for place, moment in enumerate(parts.moment.tolist()):
            if line.is_challenged(moment - START, gap):
                yield _verdict(parts, place, number, Decision.REJECT, moved_s, challenge=True)
                number += 1
            decision = (
                Decision.PASS
                if fates.passed[place]
                else Decision.REJECT
                if fates.rejected[place]
                else Decision.UNSCORED
            )
            yield _verdict(parts, place, number, decision, moved_s)
            number += 1
    if number:
        yield _verdict(parts, place, number, Decision.UNSCORED, moved_s + after_s)


def _verdict(
    parts: Parts, place: int, number: int, decision: Decision, moved_s: float, *, challenge: bool = False
) -> Verdict:
    captured = datetime.fromtimestamp(parts.moment[place] + moved_s, UTC)
    scored = decision is not Decision.UNSCORED
    # Defects and challenges lie well above the threshold; what is rejected for its score has its own.
    ratio = max(float(parts.ratio[place]), 1.5 if decision is Decision.REJECT else 0.0) if scored else None
    done = captured + timedelta(milliseconds=float(parts.inference_ms[place]))
    return Verdict(
        id=verdict_id(f"simulated-{number}"),
        frame_id=f"simulated-{number}",
        line=LINE,
        station=STATION,
        product=PRODUCT,
        part=str(number),
        seq=number,
        decision=decision,
        reason=None if decision is Decision.PASS else Reason.LATE if decision is Decision.UNSCORED else "anomaly",
        score=ratio,
        threshold=1.0 if scored else None,
        ratio=ratio,
        artifact=ARTIFACT if scored else None,
        calibrated=_CALIBRATED if scored else None,
        quality=Quality(
            brightness=float(parts.brightness[place]),
            contrast=float(parts.contrast[place]),
            sharpness=float(parts.sharpness[place]),
            saturation=float(parts.saturation[place]),
        ),
        times=Times(captured=captured, batched=captured, scored=done, emitted=done),
        deadline=captured + _DEADLINE,
        challenge=challenge,
    )
