"""A person had a poison record written to its topic again."""

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from neverblink.events.envelope import Event
from neverblink.events.parts import Instant

REPLAY_OF = "replayof"
"""The CloudEvents attribute of a record that was written again: the id of its dead letter."""


class Replay(Event):
    """A dead letter's record goes to its topic again. Told before it is written, so that none goes unrecorded."""

    TYPE: ClassVar[str] = "neverblink.replay.v1"
    TOPIC: ClassVar[str] = "replays"

    letter: str = Field(description="Id of the dead letter.")
    topic: str = Field(description="Short name of the topic that the record goes to.")
    partition: int = Field(ge=0, description="Where the record lay at first.")
    offset: int = Field(ge=0)
    recordkey: str = Field(default="", max_length=512)
    by: str = Field(min_length=1, max_length=128, description="Who had it written again.")
    why: str | None = Field(default=None, max_length=500)
    at: Instant

    @property
    def key(self) -> str:
        """Return the original record's key."""
        return self.recordkey

    @property
    def occurred(self) -> datetime:
        """Return when it was told."""
        return self.at
