"""What the PLC was told about a part, and what its gate did."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from neverblink.events.envelope import Event
from neverblink.events.parts import Decision, Identity, Instant, Name, Tracking

HELD_CODE = 16
"""The code that a PLC is told of a part whose line is on hold."""


class Outcome(StrEnum):
    """What became of telling the PLC. Only `confirmed` is known to have arrived in time."""

    CONFIRMED = "confirmed"
    LATE = "late"
    UNKNOWN = "unknown"
    FAILED = "failed"


class GateAction(StrEnum):
    """What the gate did with the part, as the PLC reports it."""

    PASSED = "passed"
    REJECTED = "rejected"
    FAIL_SAFE = "fail-safe"
    STALE = "stale"
    CONFIRM_FAIL = "confirm-fail"


class Actuation(Event):
    """One stage of a part's way through the PLC: it was `told` the verdict, then the `gate` acted."""

    TYPE: ClassVar[str] = "neverblink.actuation.v1"
    TOPIC: ClassVar[str] = "actuations"

    line: Name
    part: str | None = Field(default=None, description="Unknown for a part that only the PLC has seen.")
    tracking: Tracking
    stage: Literal["told", "gate"]
    verdicts: tuple[str, ...] = Field(default=(), description="Ids of the verdicts of the part's stations.")
    decision: Decision | None = Field(default=None, description="The part's combined decision.")
    code: int | None = Field(default=None, ge=0, le=255, description="The code in the verdict word; 16: on hold.")
    outcome: Outcome | None = None
    gate: GateAction | None = None
    at: Instant = Field(description="When the outcome was known.")
    deadline: Instant | None = None
    slack_ms: float | None = Field(default=None, description="Time left at confirmation; negative is late.")
    trigger_to_told_ms: float | None = None
    attempts: int = Field(default=0, ge=0)
    incident: bool = Field(default=False, description="The gate passed a part that we did not pass.")
    detail: str | None = Field(default=None, max_length=1000)
    identity: Identity | None = None

    @model_validator(mode="after")
    def _stage_says_what_it_is_for(self) -> Self:
        if (self.stage == "told") != (self.outcome is not None) or (self.stage == "gate") != (self.gate is not None):
            raise ValueError("stage `told` carries an outcome and stage `gate` a gate action, never both")
        return self

    @property
    def key(self) -> str:
        """Return the line."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return when the outcome was known."""
        return self.at
