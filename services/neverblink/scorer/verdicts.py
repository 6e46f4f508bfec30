"""From what was computed to what is said: pure functions from frame and score to events."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from neverblink.decisions.judgement import Judgement
from neverblink.events import (
    ArtifactRef,
    Decision,
    Frame,
    Identity,
    Reason,
    ShadowVerdict,
    Times,
    Tracking,
    Verdict,
)
from neverblink.events.envelope import Part
from neverblink.events.identity import shadow_verdict_id, verdict_id
from neverblink.events.parts import Reference
from neverblink.events.verdict import Scored
from neverblink.scorer.work import Cause, FramePlace


class _Marks(Part):
    """What a part is besides a part of the line."""

    holdout: bool = False
    challenge: bool = False
    holdout_share: float | None = Field(default=None, gt=0, le=1)
    reference: Reference | None = None


def about(frame: Frame, place: FramePlace | None) -> dict[str, object]:
    """Return the fields that every verdict takes over from its frame and from where it lies."""
    return {
        "frame_id": frame.id,
        "line": frame.line,
        "station": frame.station,
        "product": frame.product,
        "part": frame.part,
        "seq": frame.seq,
        "tracking": frame.tracking,
        "quality": frame.quality,
        "deadline": frame.deadline,
        "holdout": frame.holdout,
        "challenge": frame.challenge,
        "holdout_share": frame.holdoutshare,
        "reference": frame.reference,
        "identity": frame.identity,
        **_fields(place),
    }


def scored(
    kind: type[Scored],
    frame: Frame,
    *,
    judgement: Judgement,
    artifact: ArtifactRef,
    times: Times,
    place: FramePlace | None = None,
    **more: object,
) -> Scored:
    """Return the verdict of a scored frame."""
    return kind.model_validate(
        {
            **about(frame, place),
            "decision": judgement.decision,
            "reason": judgement.reason,
            "score": judgement.score,
            "threshold": judgement.threshold,
            "ratio": judgement.ratio,
            "artifact": artifact,
            "defects": judgement.defects,
            "regions": judgement.regions,
            "unsure": judgement.unsure,
            "times": times,
            **more,
        }
    )


def in_time(frame: Frame, evidence: tuple[str, ...], **facts: Any) -> Verdict:
    """Return the verdict that acts."""
    return scored(Verdict, frame, id=verdict_id(frame.id), evidence=evidence, **facts)


def for_statistics(frame: Frame, artifact: ArtifactRef, cause: Cause, **facts: Any) -> ShadowVerdict:
    """Return a score that must not act; its id tells models and causes apart."""
    return scored(
        ShadowVerdict,
        frame,
        artifact=artifact,
        id=shadow_verdict_id(frame.id, artifact.digest, cause),
        cause=cause,
        late=cause == "late-frame",
        **facts,
    )


def unscored(frame: Frame, reason: Reason, detail: str, times: Times, place: FramePlace | None = None) -> Verdict:
    """Return the verdict of a frame without a score: the part is not good."""
    late = reason is Reason.LATE or (times.emitted is not None and times.emitted > frame.deadline)
    return Verdict.model_validate(
        {
            **about(frame, place),
            "id": verdict_id(frame.id),
            "decision": Decision.UNSCORED,
            "reason": reason,
            "detail": detail[:1000],
            "times": times,
            "late": late,
        }
    )


def unreadable(
    frame: str,
    key: str,
    attributes: dict[str, str],
    reason: Reason,
    detail: str,
    now: datetime,
    place: FramePlace | None = None,
) -> Verdict | None:
    """Return the verdict of a record that is no frame, from what can be read of it.

    None when not even line and station are known: then only the PLC's own default protects the part.
    """
    line, _, station = key.partition("/")
    sure: dict[str, Any] = {
        "line": line,
        "station": station,
        "product": "unknown",
        "part": f"unknown/{frame}"[:128],
        "id": verdict_id(frame),
        "frame_id": frame,
        "seq": _count(attributes.get("seq", "")),
        "tracking": _tracking(attributes),
        "decision": Decision.UNSCORED,
        "reason": reason,
        "detail": detail[:1000],
        "times": {"captured": _instant(attributes.get("captured"), now), "emitted": now},
        "deadline": _instant(attributes.get("deadline"), now),
        "identity": _identity(attributes),
        **_marks(attributes),
        **_fields(place),
    }
    told = {name: attributes[name] for name in ("line", "station", "product", "part") if name in attributes}
    try:
        return Verdict.model_validate(sure | told)
    except ValidationError as error:
        # What else is wrong with the record must not cost its part the verdict.
        wrong = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
    try:
        return Verdict.model_validate(sure | {name: text for name, text in told.items() if name not in wrong})
    except ValidationError:
        return None


def _fields(place: FramePlace | None) -> dict[str, int]:
    return {} if place is None else place._asdict()


def _identity(attributes: Mapping[str, str]) -> Identity | None:
    try:
        return Identity.model_validate_json(attributes["identity"])
    except (KeyError, ValidationError):
        return None


def _marks(attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return whether a part is a holdout or a challenge, as far as it can be read: proof must not lose it."""
    told = {name.replace("_", ""): name for name in ("holdout", "challenge", "holdout_share", "reference")}
    try:
        return _Marks.model_validate(
            {told[name]: text for name, text in attributes.items() if name in told}
        ).model_dump()
    except ValidationError:
        return {}


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _tracking(attributes: Mapping[str, str]) -> Tracking | None:
    try:
        return Tracking.model_validate({name: attributes[name] for name in ("epoch", "number")})
    except (KeyError, ValidationError):
        return None


def _instant(text: str | None, otherwise: datetime) -> datetime:
    try:
        return otherwise if text is None else Times.model_validate({"captured": text}).captured
    except ValidationError:
        return otherwise
