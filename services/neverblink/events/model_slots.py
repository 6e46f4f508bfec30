"""Which artifact scores a station's frames."""

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from neverblink.events.envelope import Event, Part
from neverblink.events.parts import ArtifactRef, Instant, Name


class Slot(Part):
    """An artifact in place: where to fetch it, and the threshold when a person has edited it."""

    artifact: ArtifactRef
    location: str = Field(max_length=2048, description="Folder or object-store URL of the artifact.")
    threshold: float | None = Field(default=None, gt=0, description="Overrides the artifact's own.")


class ModelSlots(Event):
    """The whole state of a station's models, so that compaction keeps exactly what is true now."""

    TYPE: ClassVar[str] = "neverblink.model-slots.v1"
    TOPIC: ClassVar[str] = "models"

    line: Name
    station: Name
    product: Name
    active: Slot | None = None
    shadow: Slot | None = None
    by: str = Field(min_length=1, max_length=128, description="Who changed it.")
    why: str | None = Field(default=None, max_length=2000)
    at: Instant

    @property
    def key(self) -> str:
        """Return `line/station`: compaction keeps the last state of each."""
        return f"{self.line}/{self.station}"

    @property
    def occurred(self) -> datetime:
        """Return when it was changed."""
        return self.at
