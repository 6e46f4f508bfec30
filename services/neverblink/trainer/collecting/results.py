"""What the job that looks pictures over comes to. Nothing heavy is imported."""

from typing import Literal

from pydantic import Field

from neverblink.job_life.results import JobResult

Oddness = Literal["darker", "brighter", "flatter", "blurred", "unlike", "size"]
"""How a picture differs from the others: in light, contrast, sharpness, in what it shows at all, in size."""


class SeenPicture(JobResult):
    """A picture that can be used."""

    path: str = Field(description="Below the folder of images.")
    picture: str | None = Field(default=None, description="Its small JPEG in the gallery; null: there is none.")
    odd: tuple[Oddness, ...] = Field(default=(), description="How it differs from the others; none: it does not.")
    copy_of: str | None = Field(default=None, description="The earlier picture that it repeats; null: none.")
    near: bool = Field(default=False, description="A copy that was saved anew, scaled or taken twice.")


class UnusablePicture(JobResult):
    """A picture that cannot be used."""

    path: str = Field(description="Below the folder of images.")
    reason: str = Field(description="A verdict's word: corrupt-image, image-too-large, no-image, …")
    why: str = Field(description="In a sentence.")


class LookOverResult(JobResult):
    """What `neverblink look-over` comes to."""

    layout: str = Field(description="How the folder is laid out, in words.")
    pictures: tuple[SeenPicture, ...] = Field(description="Pictures of good parts that can be used, in their order.")
    unusable: tuple[UnusablePicture, ...] = Field(default=())
    witnesses: int = Field(description="How many count in a promise: copies, and pictures of a group, count once.")
    false_reject: float | None = Field(
        description="The tightest share of good parts that so many promise, as `fit` rounds it; null: too few."
    )
    defects: dict[str, int] = Field(default_factory=dict, description="Labelled pictures by type of defect.")
    width: int = Field(description="Of most pictures, px.")
    height: int
    sample: str | None = Field(
        default=None, description="A larger JPEG of one of them in the gallery, to draw on; null: there is none."
    )
    taken: int | None = Field(default=None, description="Frames taken from the topic; null: none were wanted.")
    frames: int | None = Field(default=None, description="Of so many in the span that can be read.")
    unreadable: int = Field(default=0, description="Frames in the span that cannot be read.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out.")
