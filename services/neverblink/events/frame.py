"""A picture of a part, on its way to be scored."""

from datetime import datetime
from typing import ClassVar, Self

from pydantic import Field, model_validator

from neverblink.events.carried_identity import IdentifiedPicture
from neverblink.events.parts import Instant, Name, Quality, Reference, Tracking


class Frame(IdentifiedPicture):
    """One image: its bytes are the record's value, or `dataref` says where they are.

    Every field is one CloudEvents attribute, so tracking and quality are flat here.
    """

    TYPE: ClassVar[str] = "neverblink.frame.v1"
    TOPIC: ClassVar[str] = "frames"

    line: Name
    station: Name
    product: Name
    part: str = Field(min_length=1, max_length=128, description="The part's identity in the plant.")
    seq: int = Field(ge=0, description="The station's own frame count; a gap means a lost frame.")
    captured: Instant
    published: Instant
    deadline: Instant = Field(description="When the verdict must be with the PLC.")
    epoch: int | None = Field(default=None, ge=0, le=0xFFFF)
    number: int | None = Field(default=None, ge=0, le=0xFFFFFFFF)
    dataref: str | None = Field(default=None, max_length=2048, description="Where a large image lies.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Digest of the image bytes.")
    size: int = Field(ge=1, description="Number of image bytes.")
    brightness: float | None = Field(default=None, ge=0, le=1)
    contrast: float | None = Field(default=None, ge=0, le=1)
    sharpness: float | None = Field(default=None, ge=0)
    saturation: float | None = Field(default=None, ge=0, le=1)
    holdout: bool = Field(default=False, description="Goes to manual inspection whatever the verdict.")
    challenge: bool = Field(default=False, description="A known part, sent to prove the system.")
    holdoutshare: float | None = Field(
        default=None, gt=0, le=1, description="The share of its like that are drawn as holdouts; none where none are."
    )
    reference: Reference | None = None

    @model_validator(mode="after")
    def _body_or_reference(self) -> Self:
        if self.dataref is None and len(self.body) != self.size:
            raise ValueError(f"the frame states {self.size} bytes and carries {len(self.body)}")
        if self.dataref is not None and self.body:
            raise ValueError("the frame carries bytes and a dataref; it must be one of them")
        return self

    @property
    def key(self) -> str:
        """Return `line/station`: one station's frames stay in order and on one scorer."""
        return f"{self.line}/{self.station}"

    @property
    def occurred(self) -> datetime:
        """Return the capture instant."""
        return self.captured

    @property
    def tracking(self) -> Tracking | None:
        """Return how the PLC knows the part, None when no PLC triggered it."""
        if self.epoch is None or self.number is None:
            return None
        return Tracking(epoch=self.epoch, number=self.number)

    @property
    def quality(self) -> Quality | None:
        """Return the image statistics that the camera node measured."""
        if None in (self.brightness, self.contrast, self.sharpness, self.saturation):
            return None
        return Quality.model_validate(
            {name: getattr(self, name) for name in ("brightness", "contrast", "sharpness", "saturation")}
        )
