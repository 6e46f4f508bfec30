"""A record that could not be read, kept with where and why."""

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from neverblink.events.envelope import BinaryEvent
from neverblink.events.parts import Instant


class DeadLetter(BinaryEvent):
    """The poison record: its own bytes are the value, its place and fault are attributes."""

    TYPE: ClassVar[str] = "neverblink.dead-letter.v1"
    TOPIC: ClassVar[str] = "dead-letters"

    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    recordkey: str = Field(default="", max_length=512)
    recordheaders: str = Field(default="", max_length=8192, description="The original headers, as JSON text.")
    service: str
    why: str = Field(max_length=2000)
    truncated: bool = Field(default=False, description="The body is only the record's beginning.")
    at: Instant

    @property
    def key(self) -> str:
        """Return the original record's key."""
        return self.recordkey

    @property
    def occurred(self) -> datetime:
        """Return when it was set aside."""
        return self.at
