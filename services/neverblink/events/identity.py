"""Event ids: time-ordered for what happens once, derived for what may be computed twice."""

import secrets
from datetime import datetime
from uuid import UUID, uuid5

_NAMESPACE = UUID("9a4f1c52-0c2c-5d0e-8e1b-6f3f4f0a7d11")


def frame_id(captured: datetime) -> str:
    """Return a UUIDv7 (RFC 9562, section 5.7) whose time is the capture instant in milliseconds."""
    millis = int(captured.timestamp() * 1000) & ((1 << 48) - 1)
    value = millis << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=value))


def part_name(line: str, epoch: int, number: int) -> str:
    """Return the name of a part that a PLC counts, as every station of its line calls it."""
    return f"{line}/{epoch}/{number}"


def derived_id(*parts: object) -> str:
    """Return the UUIDv5 of the parts: the same parts give the same id on every host and after every crash."""
    return str(uuid5(_NAMESPACE, "/".join(str(part) for part in parts)))


def verdict_id(frame: str) -> str:
    """Return the one verdict id of a frame, however often it is scored."""
    return derived_id("verdict", frame)


def shadow_verdict_id(frame: str, artifact_digest: str | None, cause: str) -> str:
    """Return the id of a score that must not act: never equal to the frame's verdict id."""
    return derived_id("shadow-verdict", frame, artifact_digest or "none", cause)


def evidence_id(frame: str, kind: str) -> str:
    """Return the id of one evidence picture of a frame."""
    return derived_id("evidence", frame, kind)


def context_id(line: str, at: datetime, by: str) -> str:
    """Return the id of what somebody put onto a line's context at an instant."""
    return derived_id("context", line, at.isoformat(), by)


def claim_id(verdict: str, reviewer: str, at: datetime) -> str:
    """Return the id of a reviewer's claim on a verdict, or of its end."""
    return derived_id("claim", verdict, reviewer, at.isoformat())


def challenge_id(line: str, reference: str, at: datetime, by: str) -> str:
    """Return the id of somebody's announcement of a reference part."""
    return derived_id("challenge", line, reference, at.isoformat(), by)


def alarm_id(kind: str, line: str, *cause: object) -> str:
    """Return what names an alarm from raised to cleared: the same cause gives the same alarm, whoever finds it."""
    return derived_id("alarm", kind, line, *cause)


def alarm_stage_id(alarm: str, stage: str) -> str:
    """Return the id of the event that tells one stage of an alarm."""
    return derived_id("alarm-stage", alarm, stage)


def hold_id(line: str, source: str, state: str, at: datetime) -> str:
    """Return the id of what one side says of a line from an instant on."""
    return derived_id("hold", line, source, state, at.isoformat())


def actuation_id(line: str, epoch: int, number: int, stage: str) -> str:
    """Return the id of what happened to one part at one stage of its way through the PLC."""
    return derived_id("actuation", line, epoch, number, stage)


def sample_place(frame: str) -> float:
    """Return where a frame lies between 0 and 1: evenly, and at the same place whoever asks, for samples of frames."""
    return int(derived_id("evidence-sample", frame)[:8], 16) / 2**32


def audit_place(line: str, epoch: int | None, number: int | None, part: str) -> float:
    """Return where a part lies between 0 and 1, evenly, whichever station asks: those below a share are audited."""
    name = (epoch, number) if epoch is not None and number is not None else (part,)
    return int(derived_id("audit", line, *name)[:8], 16) / 2**32
