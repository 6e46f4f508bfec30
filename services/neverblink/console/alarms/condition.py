"""Something that stands and wants somebody, whoever has found it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from neverblink.console.alarms.kinds import kind_of
from neverblink.console.alarms.state import Priority


class Origin(StrEnum):
    """Who finds a condition: what one of them does not see any more is gone, what it cannot see now stays as it was."""

    RECORDS = "records"
    """Alarms and drift alerts that services have raised."""
    LINES = "lines"
    """What the lines' own events show."""
    CONSOLE = "console"
    """What the console cannot do itself."""
    SERVICES = "services"
    """What services tell of themselves, and their silence."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that stands. `about` tells it from others of its kind and place, `cause` is this occurrence's own id.

    `line` is None for what is of the whole plant. `ended` is set for what is gone. `values` fill the kind's words.
    """

    origin: Origin
    kind: str
    line: str | None
    station: str | None
    about: str
    cause: str
    priority: Priority
    since: datetime
    what: str
    why: str
    next_step: str
    ended: datetime | None = None
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Return the alarm's own name: the same each time that this happens at this place."""
        return "|".join((self.kind, self.line or "", self.station or "", self.about))[:200]


def own(
    origin: Origin,
    kind: str,
    since: datetime,
    values: Mapping[str, str],
    *,
    line: str | None = None,
    about: str = "",
    priority: Priority | None = None,
) -> Condition:
    """Return a condition that the console finds itself, said in its kind's words."""
    known = kind_of(kind)
    assert known.words is not None
    found = known.priority if priority is None else priority
    assert found is not None
    made = Condition(
        origin=origin,
        kind=kind,
        line=line,
        station=None,
        about=about,
        cause="",
        priority=found,
        since=since,
        what=known.words.what % values,
        why=known.words.cause % values,
        next_step=known.words.next_step % values,
        values=dict(values),
    )
    return replace(made, cause=made.tag)  # it has no id of its own: while it stands it is one and the same
