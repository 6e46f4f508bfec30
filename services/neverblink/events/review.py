"""A person's word on a verdict."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

from pydantic import Field, model_validator

from neverblink.events.envelope import Event
from neverblink.events.parts import BoundingBox, Identity, Instant, Name


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
    withdrawn: bool = Field(
        default=False, description="Takes the reviewer's earlier answer back; it then says nothing about the part."
    )
    round: str | None = Field(
        default=None,
        max_length=32,
        description="Which look it was: first, second, final; readers must accept words they do not know.",
    )
    identity: Identity | None = None

    @model_validator(mode="after")
    def _withdrawn_says_nothing(self) -> Self:
        # A reader that does not know withdrawals sees the newest review of a verdict, and this must not count there.
        if self.withdrawn and self.judgement is not Judgement.INCONCLUSIVE:
            raise ValueError(f"a withdrawn review carries the judgement inconclusive, not {self.judgement}")
        return self

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return f"{self.line}/{self.station}"

    @property
    def occurred(self) -> datetime:
        """Return when the person judged."""
        return self.at
