"""What a U-Net is, without its weights: what must be known to build it again and to feed it."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from neverblink.vision.preprocess import Preprocess

PLAIN = "plain"
"""The encoder of Ronneberger et al., MICCAI 2015, trained from scratch; any other name is a network of timm."""

Numbers = tuple[float, float, float]


class UnetSpec(BaseModel):
    """Everything but the parameters. One sigmoid channel a class: a pixel may belong to none or to several."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    classes: tuple[str, ...] = Field(
        min_length=1, max_length=64, description="Defect types, a channel each; one alone is a binary U-Net."
    )
    encoder: str = Field(
        default=PLAIN, pattern=r"^[A-Za-z0-9_.]{1,64}$", description="`plain`, or timm's name of a network."
    )
    width: int = Field(default=16, ge=4, le=256, description="Channels of the finest level; each coarser one doubles.")
    depth: int = Field(default=4, ge=1, le=6, description="How often the image is halved.")
    norm: Literal["batch", "group"] = "batch"
    activation: Literal["relu", "silu"] = "relu"
    preprocess: Preprocess = Preprocess()
    mean: Numbers = Field(default=(127.5, 127.5, 127.5), description="Subtracted from RGB values of 0 to 255.")
    deviation: Numbers = Field(default=(127.5, 127.5, 127.5), description="Then divided by this.")
    thresholds: tuple[float, ...] = Field(
        default=(), description="Probability above which a pixel belongs to its class; none: 0.5 for all."
    )
    sure: tuple[float, ...] = Field(
        default=(),
        description="Evidence that a region of a class needs beyond its threshold (regions.evidence_of); none: 0.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"the classes of a U-Net are all different, not {', '.join(self.classes)}")
        for levels in (self.thresholds, self.sure):
            if levels and len(levels) != len(self.classes):
                raise ValueError(f"{len(levels)} thresholds do not fit {len(self.classes)} classes")
        if any(not 0 < level < 1 for level in self.thresholds):
            raise ValueError("a threshold is a probability between 0 and 1")
        if any(level < 0 for level in self.sure):
            raise ValueError("the evidence that a region needs is not below 0")
        if self.preprocess.side % (1 << self.depth):
            raise ValueError(
                f"an input of {self.preprocess.side} px cannot be halved {self.depth} times;"
                f" choose a multiple of {1 << self.depth} px"
            )
        return self

    def threshold(self, channel: int) -> float:
        """Return the probability above which a pixel belongs to a class."""
        return self.thresholds[channel] if self.thresholds else 0.5

    def surely(self, channel: int) -> float:
        """Return the evidence above which a region of a class is one."""
        return self.sure[channel] if self.sure else 0.0
