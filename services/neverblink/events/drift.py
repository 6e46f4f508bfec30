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
    state: DriftState = DriftState.LEARNING

    @property
    def key(self) -> str:
        """Return the line."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return the end of the window."""
        return self.closed
