"""What is reported of a part: what the PLC was told of it, and what its gate did."""

from dataclasses import replace
from datetime import UTC, datetime

from neverblink.bridge.gate_feedback import GateEvent
from neverblink.bridge.part_tracking import PartDecision
from neverblink.bridge.scheduler import Told
from neverblink.events import Actuation, GateAction, Outcome, Tracking
from neverblink.events.identity import actuation_id
from neverblink.plc.contract import Code


def nobody_spoke(decision: PartDecision) -> str:
    """Return which stations said nothing in time, in words."""
    return f"no verdict of {', '.join(decision.missing)} by the deadline"


def as_reported(decision: PartDecision, told: Told, began: float) -> Told:
    """Return the outcome as it is reported by a bridge that began at `began`.

    What was due before may have been told by the bridge before this one: that is unknown, and no fault of the line.
    """
    if told.outcome is not Outcome.CONFIRMED and decision.deadline < began:
        return replace(told, outcome=Outcome.UNKNOWN, detail="the verdict was due before this bridge started")
    if decision.missing and told.detail is None:
        return replace(told, detail=f"{nobody_spoke(decision)}, so it was told as not good")
    return told


def told_report(line: str, decision: PartDecision, told: Told) -> Actuation:
    """Return the event that says what the PLC was told of a part, when, and whether it has it."""
    return Actuation(
        id=actuation_id(line, decision.epoch, decision.number, "told"),
        line=line,
        part=decision.part,
        tracking=Tracking(epoch=decision.epoch, number=decision.number),
        stage="told",
        verdicts=decision.verdicts,
        decision=decision.decision,
        code=told.order.code,
        outcome=told.outcome,
        at=_instant(told.at),
        deadline=_instant(decision.deadline),
        slack_ms=round((decision.deadline - told.at) * 1000, 3),
        trigger_to_told_ms=round((told.at - decision.triggered) * 1000, 3),
        attempts=told.attempts,
        detail=told.detail,
        identity=decision.identity,
    )


def gate_report(
    line: str, event: GateEvent, decision: PartDecision | None, ours: bool, now: float, *, bypassed: bool = False
) -> Actuation:
    """Return the event that says what the gate did with a part; an incident is a pass that was not ours.

    `ours` says whether the part was triggered in our time, so that we would know a pass for it; `bypassed` whether the
    PLC has said that its gate passes parts without asking.
    """
    released = decision is not None and decision.code == Code.PASS
    let_by = event.action is GateAction.PASSED and ours and not released
    incident = let_by and not bypassed
    detail = None
    if let_by and bypassed:
        detail = "the gate was in bypass, and passed a part that we did not pass"
    elif incident:
        detail = "the gate passed a part that we did not pass: stop the line and check the PLC program"
    elif event.confirmed is False:
        detail = f"the gate {event.action} the part, and the confirm sensor did not see it so"
    elif not ours:
        detail = "the part was triggered before this bridge started"
    return Actuation(
        id=actuation_id(line, event.epoch, event.number, "gate"),
        line=line,
        part=decision.part if decision else None,
        tracking=Tracking(epoch=event.epoch, number=event.number),
        stage="gate",
        verdicts=decision.verdicts if decision else (),
        decision=decision.decision if decision else None,
        code=decision.code if decision else None,
        gate=event.reported,
        at=_instant(now),
        deadline=_instant(decision.deadline) if decision else None,
        incident=incident,
        detail=detail,
        identity=decision.identity if decision else None,
    )


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
