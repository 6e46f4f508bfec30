"""What a service tells of itself now and then: that it lives, what it cannot do, and what will run out."""

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from neverblink.events.envelope import Event, Part
from neverblink.events.parts import Instant, Name

WORKS = "works"
PARTLY = "partly"
STOPPED = "stopped"

_Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
_Text = Annotated[str, StringConstraints(max_length=200)]


class Amiss(Part):
    """A part of its work that a service does not do now."""

    part: _Text
    why: str = Field(max_length=500)


class DiskSpace(Part):
    """A disk that a service writes to, by a folder on it."""

    folder: _Text
    free_bytes: int = Field(ge=0)
    total_bytes: int = Field(ge=0)


class CertificateEnd(Part):
    """Until when a certificate is valid; `what` says whose it is."""

    what: _Text
    ends: Instant


class ServiceReport(Event):
    """How one process of the plant does. What it does not tell is not known: an empty list is no promise.

    Compaction keeps the last of each; one that is silent for several of its `every_s` and has not said `stopped` is
    gone, or cannot reach Kafka.
    """

    TYPE: ClassVar[str] = "neverblink.service-report.v1"
    TOPIC: ClassVar[str] = "services"

    service: _Word = Field(description="Such as scorer; readers must accept words they do not know.")
    host: str = Field(min_length=1, max_length=253)
    instance: str = Field(max_length=128, description="What tells it from others of its kind on its host.")
    lines: tuple[Name, ...] = Field(default=(), max_length=256, description="The lines that it is for; none: for all.")
    version: str = Field(max_length=64, description="Of neverblink.")
    started: Instant
    at: Instant = Field(description="By the clock of its host.")
    every_s: float = Field(gt=0, le=3600, description="It tells again after so long.")
    state: _Word = Field(description="`works`, `partly` or `stopped`; readers must accept words they do not know.")
    amiss: tuple[Amiss, ...] = Field(default=(), max_length=256)
    behind_s: float | None = Field(
        default=None, ge=0, description="By how much it is behind what it reads; none: it does not know."
    )
    disks: tuple[DiskSpace, ...] = Field(default=(), max_length=64)
    certificates: tuple[CertificateEnd, ...] = Field(default=(), max_length=64)

    @property
    def key(self) -> str:
        """Return `service/host/instance`."""
        return f"{self.service}/{self.host}/{self.instance}"

    @property
    def occurred(self) -> datetime:
        """Return when it was so."""
        return self.at
