"""A known part is on its way, to prove that the system sees what it should."""

from datetime import datetime
from typing import ClassVar, Self

from pydantic import Field, model_validator

from neverblink.events.envelope import Event
from neverblink.events.parts import Instant, Name, Reference, Tracking


class Challenge(Event):
    """An announcement: which reference part comes, and as which part of its line.

    Either by the PLC's `epoch` and `number`, or as the `next` part that is triggered at `at` or later.
    """

    TYPE: ClassVar[str] = "neverblink.challenge.v1"
    TOPIC: ClassVar[str] = "challenges"

    line: Name
    station: Name | None = Field(default=None, description="The one station that must judge it; none: all of the line.")
    reference: Reference
    by: str = Field(min_length=1, max_length=128, description="Who announced it: a person or a system.")
    at: Instant = Field(description="From when on it may come.")
    expires: Instant = Field(description="When it must have come.")
    epoch: int | None = Field(default=None, ge=0, le=0xFFFF, description="The PLC's Epoch of the part,")
    number: int | None = Field(default=None, ge=0, le=0xFFFFFFFF, description="and its LastTriggered.")

    @model_validator(mode="after")
    def _names_one_part(self) -> Self:
        if (self.epoch is None) != (self.number is None):
            raise ValueError("epoch and number go together: give both, or neither for the next part")
        if self.expires <= self.at:
            raise ValueError("an announcement expires after its begin")
        return self

    @property
    def key(self) -> str:
        """Return the line."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return from when on the part may come."""
        return self.at

    @property
    def tracking(self) -> Tracking | None:
        """Return the PLC's name of the part, None for the next one."""
        if self.epoch is None or self.number is None:
            return None
        return Tracking(epoch=self.epoch, number=self.number)
