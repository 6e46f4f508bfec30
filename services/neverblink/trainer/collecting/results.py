"""What the job that looks pictures over comes to. Nothing heavy is imported."""

from typing import Literal

from pydantic import Field

from neverblink.job_life.results import JobResult
from neverblink.vision.alignment.spec import Align

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


class PlacedPart(JobResult):
    """Where the part lies in a picture."""

    path: str = Field(description="Below the folder of images.")
    x: float = Field(description="Its middle from the picture's top left corner, px.")
    y: float
    angle: float = Field(description="Degrees by which it is turned from upright, from x to y.")
    fit: float = Field(description="How well it lies there, 0 to 1.")
    lies: str | None = Field(default=None, description="Its JPEG in the gallery: the picture, outline and frame drawn.")
    upright: str | None = Field(default=None, description="The same part upright.")


class LostPart(JobResult):
    """A picture in which no part is found: a line would leave it unscored."""

    path: str = Field(description="Below the folder of images.")
    why: str = Field(description="In a sentence.")
    picture: str | None = Field(default=None, description="Its small JPEG in the gallery; null: there is none.")


class PartsLie(JobResult):
    """How the parts of the pictures lie, and what alignment makes of it."""

    asked: Align
    called_for: bool = Field(description="Parts lie more differently than a fixture lets them.")
    spread: str | None = Field(default=None, description="How differently, in a sentence; null: no outline says it.")
    kind: str | None = Field(default=None, description="How they are found; null: they are not looked for.")
    told: str | None = Field(default=None, description="The same in a sentence.")
    refused: str | None = Field(default=None, description="Why they cannot be found so, in a sentence.")
    found: int = Field(default=0, description="Pictures in which a part is found.")
    not_found: int = 0
    width: int | None = Field(default=None, description="Of the upright picture, px.")
    height: int | None = None
    examples: tuple[PlacedPart, ...] = Field(default=(), description="Those that fit least first, then some of all.")
    lost: tuple[LostPart, ...] = Field(default=(), description="Pictures in which none is found, 200 at most.")
    upright: str | None = Field(default=None, description="A larger JPEG of an upright part in the gallery.")
    alignment: str | None = Field(
        default=None, description="What was learnt, a file in the gallery: `fit` takes it as it is."
    )


class LabelledPicture(JobResult):
    """A picture of a defective part."""

    path: str = Field(description="Below the folder of images.")
    defect: str
    picture: str = Field(description="Its small JPEG in the gallery.")


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
    labelled: tuple[LabelledPicture, ...] = Field(
        default=(), description="Labelled pictures of defects, 200 at most, where a gallery was asked for."
    )
    parts: PartsLie | None = Field(default=None, description="How their parts lie; null: nobody asked.")
    taken: int | None = Field(default=None, description="Frames taken from the topic; null: none were wanted.")
    frames: int | None = Field(default=None, description="Of so many in the span that can be read.")
    unreadable: int = Field(default=0, description="Frames in the span that cannot be read.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out.")
