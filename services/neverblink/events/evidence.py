"""What a person looks at to judge a verdict."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from neverblink.events.carried_identity import IdentifiedPicture
from neverblink.events.parts import Instant, Name

EvidenceKind = Literal["overlay", "thumbnail"]


class Evidence(IdentifiedPicture):
    """One picture: the anomaly map over the image (`overlay`) or the image in small (`thumbnail`)."""

    TYPE: ClassVar[str] = "neverblink.evidence.v1"
    TOPIC: ClassVar[str] = "evidence"

    frame: str = Field(description="Id of the frame.")
    verdict: str = Field(description="Id of the verdict.")
    line: Name
    station: Name
    part: str = Field(min_length=1, max_length=128)
    kind: EvidenceKind
    captured: Instant

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return f"{self.line}/{self.station}"

    @property
    def occurred(self) -> datetime:
        """Return the capture instant of the frame."""
        return self.captured
