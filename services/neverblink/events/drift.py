"""How a station's verdicts are distributed over a window, and whether that has moved."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from neverblink.events.envelope import Event, Part
from neverblink.events.parts import Instant, Name


class DriftState(StrEnum):
    """What the stream says about a station."""

    LEARNING = "learning"
    STEADY = "steady"
    WATCH = "watch"
    ACT = "act"


class Distribution(Part):
    """Count, moments and extremes of one signal over a window."""

    count: int = Field(ge=0)
    mean: float
    deviation: float = Field(ge=0, description="Sample standard deviation, 0 for fewer than two values.")
    minimum: float
    maximum: float


class AlertStage(StrEnum):
    """What happened to an alert in a window."""

    RAISED = "raised"
    ESCALATED = "escalated"
    CLEARED = "cleared"


class DriftAlert(Part):
    """Something about a station that has moved, in words and numbers."""

    id: str = Field(description="The same from raised to cleared.")
    signal: str = Field(description="What moved; readers must accept words they do not know.")
    stage: AlertStage
    severity: DriftState = Field(description="`watch` or `act`.")
    since: Instant = Field(description="When the change is estimated to have begun.")
    raised: Instant
    at: Instant = Field(description="End of the window in which this stage was reached.")
    artifact: str = Field(description="Digest of the artifact in use when it was raised.")
    expected: float = Field(description="What the signal was, in its own unit.")
    found: float = Field(description="What it is.")
    level: float = Field(ge=0, description="Size of the change in alert limits; raised from 1.")
    change: str = Field(max_length=500, description="What changed, how much and since when.")
    cause: str = Field(max_length=500, description="The likely cause.")
    next_step: str = Field(max_length=500, description="What to do first.")


class DriftReport(Event):
    """One closed window of one station, product and artifact, in event time."""

    TYPE: ClassVar[str] = "neverblink.drift-report.v1"
    TOPIC: ClassVar[str] = "drift"

    line: Name
    station: Name
    product: Name
    artifact: str = Field(description="Digest of the artifact, or `none` where no model scored.")
    opened: Instant
    closed: Instant
    passed: int = Field(ge=0)
    rejected: int = Field(ge=0)
    unscored: dict[str, int] = Field(default_factory=dict, description="Count by reason.")
    pass_ratio: Distribution | None = Field(default=None, description="score / threshold of passing parts.")
    brightness: Distribution | None = Field(default=None, description="Mean luma of passing parts.")
    contrast: Distribution | None = Field(default=None, description="Deviation of luma of passing parts.")
    sharpness: Distribution | None = Field(default=None, description="Of passing parts; compare within a station.")
    saturation: Distribution | None = Field(default=None, description="Share of clipped pixels of passing parts.")
    inference_ms: Distribution | None = Field(default=None, description="From batch to score, milliseconds.")
    rejected_by_reason: dict[str, int] = Field(default_factory=dict, description="Count by reason.")
    challenge_hits: int = Field(
        default=0, ge=0, description="Reference parts that came out as known: defective rejected, good ones passed;"
    )
    challenge_misses: int = Field(default=0, ge=0, description="those that did not,")
    challenge_unscored: int = Field(default=0, ge=0, description="and that were not scored.")
    alerts: tuple[DriftAlert, ...] = Field(
        default=(), description="What was raised, escalated or cleared by this window."
    )
    state: DriftState = DriftState.LEARNING
    expected: dict[str, float] = Field(
        default_factory=dict,
        description="What each signal of passing parts is here normally, in its own unit; empty while it is learnt.",
    )
    levels: dict[str, float] = Field(
        default_factory=dict,
        description="How far each signal's average is from it, in alert limits: at 1 and above an alert is near.",
    )

    @property
    def key(self) -> str:
        """Return the line."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return the end of the window."""
        return self.closed
