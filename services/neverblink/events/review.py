"""A person's word on a verdict."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from neverblink.events.envelope import Event
from neverblink.events.parts import BoundingBox, Instant, Name


class Judgement(StrEnum):
    """What the reviewer saw."""

    NORMAL = "normal"
    DEFECT = "defect"
    INCONCLUSIVE = "inconclusive"


class Review(Event):
    """A confirmation or a correction; a later review of the same verdict replaces an earlier one."""

    TYPE: ClassVar[str] = "neverblink.review.v1"
    TOPIC: ClassVar[str] = "reviews"

    verdict: str = Field(description="Id of the verdict that was reviewed.")
    frame_id: str
    line: Name
    station: Name
    product: Name
    part: str = Field(min_length=1, max_length=128)
    judgement: Judgement
    defect_type: str | None = Field(default=None, max_length=64)
    regions: tuple[BoundingBox, ...] = ()
    reviewer: str = Field(min_length=1, max_length=128)
    comment: str | None = Field(default=None, max_length=2000)
    at: Instant

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return f"{self.line}/{self.station}"

    @property
    def occurred(self) -> datetime:
        """Return when the person judged."""
        return self.at
