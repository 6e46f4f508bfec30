"""That a line is on hold for maintenance, or in bypass, or no longer."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from neverblink.events.envelope import Event
from neverblink.events.parts import Instant, Name

HELD = "hold"
BYPASS = "bypass"
RELEASED = "released"

PEOPLE = "people"
PLC = "plc"

_Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class Hold(Event):
    """What one side says of a line: people, or the line's PLC. A line is on hold while either of them says so.

    Each side has a key of its own, so that neither takes back what the other has said. Compaction keeps what each says
    now; the records keep it all.
    """

    TYPE: ClassVar[str] = "neverblink.hold.v1"
    TOPIC: ClassVar[str] = "holds"

    line: Name
    source: _Word = Field(description="`people` or `plc`; readers must accept words they do not know.")
    state: _Word = Field(
        description="`hold`: parts are rejected without being judged. `bypass`: the gate passes parts without asking. "
        "`released`: neither. Readers must take a word they do not know for a hold."
    )
    at: Instant = Field(description="From when on it is so, as far as is known.")
    by: str = Field(min_length=1, max_length=128, description="Who says so: a person, or the PLC.")
    why: str | None = Field(default=None, max_length=500)

    @property
    def key(self) -> str:
        """Return `line/source`."""
        return f"{self.line}/{self.source}"

    @property
    def occurred(self) -> datetime:
        """Return from when on it is so."""
        return self.at

    @property
    def is_hold(self) -> bool:
        """Say whether the line's parts are to be rejected without being judged."""
        return self.state not in (BYPASS, RELEASED)
