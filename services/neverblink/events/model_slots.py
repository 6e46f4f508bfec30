"""Which artifact scores a station's frames."""

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from neverblink.events.envelope import Event, Part
from neverblink.events.parts import ArtifactRef, Instant, Name

_DIGEST = r"^sha256:[0-9a-f]{64}$"


class QualificationRef(Part):
    """What came of it when a model judged its product's golden set; the report lies in the artifact store."""

    report: str = Field(pattern=_DIGEST, description="Digest of the report, below `qualifications` in the store.")
    golden: str = Field(pattern=_DIGEST, description="Digest of the golden set that was judged.")
    passed: bool = Field(description="False: a person made the model score nevertheless.")
    at: Instant = Field(description="When it was judged.")


class Slot(Part):
    """An artifact in place: where to fetch it, and the threshold when a person has edited it."""

    artifact: ArtifactRef
    location: str = Field(
        max_length=2048,
        description="Folder or object-store URL of the artifact; a relative one lies under storage.artifacts.",
    )
    threshold: float | None = Field(default=None, gt=0, description="Overrides the artifact's own.")
    qualification: QualificationRef | None = Field(
        default=None, description="Of this artifact at this threshold; null: the product has no golden set."
    )


class PreviousSlots(Part):
    """What a station's models were before a change; without `active`, the plant file's artifact scored."""

    product: Name
    active: Slot | None = None
    shadow: Slot | None = None
    by: str | None = Field(default=None, max_length=128, description="Who had set it; null: the plant file.")
    why: str | None = Field(default=None, max_length=2000)
    at: Instant | None = None


class ModelSlots(Event):
    """The whole state of a station's models, so that compaction keeps exactly what is true now."""

    TYPE: ClassVar[str] = "neverblink.model-slots.v1"
    TOPIC: ClassVar[str] = "models"

    line: Name
    station: Name
    product: Name
    active: Slot | None = Field(default=None, description="Without it the plant file's artifact scores.")
    shadow: Slot | None = Field(default=None, description="Scores the same frames, onto a topic that must not act.")
    by: str = Field(min_length=1, max_length=128, description="Who changed it.")
    why: str | None = Field(default=None, max_length=2000)
    at: Instant
    previous: PreviousSlots | None = Field(
        default=None, description="The state before this change: compaction leaves a rollback nothing else to go by."
    )

    @property
    def key(self) -> str:
        """Return `line/station`: compaction keeps the last state of each."""
        return f"{self.line}/{self.station}"

    @property
    def occurred(self) -> datetime:
        """Return when it was changed."""
        return self.at
