"""Something that a person should know of now, with its cause and the next step."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from neverblink.events.envelope import Event
from neverblink.events.parts import AttributeName, Instant, Name

RAISED = "raised"
CLEARED = "cleared"

_Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
_Text = Annotated[str, StringConstraints(max_length=256)]


class Alarm(Event):
    """One stage of an alarm. `id` is the stage's own; `alarm` is the same from raised to cleared.

    The same cause gives the same ids whoever finds it, so that two that watch raise it once.
    """

    TYPE: ClassVar[str] = "neverblink.alarm.v1"
    TOPIC: ClassVar[str] = "alarms"

    alarm: str = Field(min_length=1, max_length=64, description="The same from raised to cleared.")
    line: Name
    station: Name | None = None
    kind: _Word = Field(
        description="What it is about, such as challenge-missed; readers must accept words they do not know."
    )
    stage: _Word = Field(description="`raised` or `cleared`; readers must accept words they do not know.")
    severity: _Word = Field(description="`act` or `watch`; readers must accept words they do not know.")
    since: Instant = Field(description="When what it is about happened or began.")
    at: Instant = Field(description="When this stage was reached.")
    subject: dict[AttributeName, _Text] = Field(
        default_factory=dict, max_length=16, description="What it is about, for programs: reference, part, shift."
    )
    what: str = Field(max_length=500, description="What happened.")
    cause: str = Field(max_length=500, description="The likely cause.")
    next_step: str = Field(max_length=500, description="What to do first.")

    @property
    def key(self) -> str:
        """Return the line."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return when this stage was reached."""
        return self.at
