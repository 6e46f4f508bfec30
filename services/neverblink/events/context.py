"""What is made on a line, as an MES or a person says it: now, and from a later part on."""

from datetime import datetime
from typing import ClassVar, Self

from pydantic import Field, model_validator

from neverblink.events.envelope import Event, Part
from neverblink.events.parts import Identity, Instant, Name, Tracking

MAX_ENTRIES = 32


class ContextValues(Part):
    """What is said of the parts of a line from an instant or from a part on; without either, of all."""

    identity: Identity = Identity()
    product: Name | None = Field(
        default=None, description="What is made, for the records; it changes no station's product."
    )
    since: Instant | None = Field(default=None, description="Holds for parts triggered at this instant or later.")
    from_part: Tracking | None = Field(default=None, description="Holds for this part of the PLC and those after it.")

    @model_validator(mode="after")
    def _begins_once(self) -> Self:
        if self.since is not None and self.from_part is not None:
            raise ValueError("values hold from an instant or from a part on, not from both")
        return self

    def hold_for(self, triggered: datetime, tracking: Tracking | None) -> bool:
        """Say whether they hold for a part. One that no PLC counts has no number to begin from."""
        if self.since is not None:
            return triggered >= self.since
        if self.from_part is None:
            return True
        first = self.from_part
        return tracking is not None and (tracking.epoch, tracking.number) >= (first.epoch, first.number)


class Context(Event):
    """The whole state of a line, current and scheduled, so that compaction keeps exactly what is true now."""

    TYPE: ClassVar[str] = "neverblink.context.v1"
    TOPIC: ClassVar[str] = "context"

    line: Name
    entries: tuple[ContextValues, ...] = Field(
        default=(),
        max_length=MAX_ENTRIES,
        description="In the order in which they come to hold: of those that hold for a part the last one counts.",
    )
    at: Instant = Field(description="When it was written.")
    by: str = Field(min_length=1, max_length=128, description="Who wrote it: a person or a system.")

    @property
    def key(self) -> str:
        """Return the line: compaction keeps the last state of each."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return when it was written."""
        return self.at

    def of_part(self, triggered: datetime, tracking: Tracking | None) -> ContextValues | None:
        """Return what counts for a part, None where nothing is said of it."""
        for values in reversed(self.entries):
            if values.hold_for(triggered, tracking):
                return values
        return None


class ContextChange(Event):
    """One change of a line's context, for the records: compaction keeps no history."""

    TYPE: ClassVar[str] = "neverblink.context-change.v1"
    TOPIC: ClassVar[str] = "context-history"

    line: Name
    values: ContextValues = Field(description="What was said, and from when on; empty values clear the line.")
    at: Instant
    by: str = Field(min_length=1, max_length=128)

    @property
    def key(self) -> str:
        """Return the line."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return when it was written."""
        return self.at
