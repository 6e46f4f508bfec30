"""A person looks at a verdict, and for how long others need not."""

from datetime import datetime
from typing import ClassVar, Self

from pydantic import Field, model_validator

from neverblink.events.envelope import Event
from neverblink.events.parts import Instant, Name


class Claim(Event):
    """A reviewer has taken a verdict until an instant, or has put it back before it."""

    TYPE: ClassVar[str] = "neverblink.claim.v1"
    TOPIC: ClassVar[str] = "claims"

    verdict: str = Field(description="Id of the verdict that is looked at.")
    line: Name
    station: Name
    reviewer: str = Field(min_length=1, max_length=128)
    at: Instant
    until: Instant = Field(description="When the claim ends by itself, answered or not.")
    released: bool = Field(default=False, description="The reviewer has put the verdict back.")

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until < self.at:
            raise ValueError("a claim ends after it begins")
        return self

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return f"{self.line}/{self.station}"

    @property
    def occurred(self) -> datetime:
        """Return when it was claimed or put back."""
        return self.at
