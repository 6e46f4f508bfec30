"""What is inspected, and what it is rejected for."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from neverblink.events.parts import Name
from neverblink.plant.section import Section

Taxonomy = Literal["surface", "structural", "dimensional", "foreign-object", "assembly"]


class DefectRule(Section):
    """From when on a defect of one type rejects its part."""

    reject: bool = Field(default=True, description="False: the type is named and tolerated, whatever its size.")
    min_area_px: int = Field(default=1, ge=1, description="A smaller one is tolerated, pixels of the image.")
    min_area_mm2: float | None = Field(
        default=None, gt=0, description="A smaller one is tolerated, mm²; the stations need mm_per_px."
    )
    min_confidence: float = Field(
        default=0.0, ge=0, le=1, description="A less certain one does not reject, and makes its part unsure."
    )


class DefectType(DefectRule):
    """A defect type of the product."""

    taxonomy: Taxonomy | None = Field(
        default=None, description="Class of the type, for yield reports; known for the types that can be synthesised."
    )


class DefectPolicy(Section):
    """What a product is rejected for, when its artifact has a U-Net or a classifier."""

    reject_on: Literal["score", "defects", "either"] = Field(
        default="either",
        description="score: an anomaly above the threshold. defects: a defect whose rule says so; an anomaly that"
        " nobody names only makes the part unsure. either: both.",
    )
    types: dict[Name, DefectType] = Field(
        default={}, description="Rules by type, also for `anomaly` and `unknown`.", max_length=64
    )
    others: DefectRule = Field(default=DefectRule(), description="The rule of all other types.")
    segment: Literal["always", "suspicious"] = Field(
        default="always", description="Which frames the U-Net sees: all, or those whose score is near the threshold."
    )
    suspicious_from: float = Field(
        default=0.5, ge=0, le=1, description="With `suspicious`: from this share of the threshold on."
    )

    @property
    def segment_from(self) -> float:
        """Return the share of the threshold from which on the U-Net sees a frame; 0 where it sees all."""
        return self.suspicious_from if self.segment == "suspicious" else 0.0


class Product(Section):
    """What is inspected, and the artifact that knows it."""

    name: Name = Field(description="What stations, records and people call the product.")
    artifact: Path = Field(description="Artifact folder; a relative one lies under storage.artifacts.")
    weights: Path | None = Field(default=None, description="Backbone weights file, when not the packaged ones.")
    min_area_px: int = Field(default=1, ge=1, description="Smaller regions are not listed as defects.")
    depth: int | None = Field(
        default=None,
        ge=8,
        le=16,
        description="Bits that the values of its 16-bit pictures use, where a station does not say it: 12 where white"
        " is 4095. Without one such pictures are refused.",
    )
    search: Literal["exact", "approximate"] = Field(
        default="exact",
        description="approximate: for memory banks so large that the exact search is too slow; its recall is logged.",
    )
    defects: DefectPolicy = Field(
        default=DefectPolicy(), description="What known defects mean, once the model can name or outline them."
    )

    @property
    def needs_scale(self) -> bool:
        """Say whether a rule speaks of mm²."""
        return any(rule.min_area_mm2 is not None for rule in (*self.defects.types.values(), self.defects.others))
