"""Named regions as a person writes them, and as an artifact states them. Nothing heavy is imported."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from neverblink.errors import reason_of
from neverblink.vision.errors import VisionError
from neverblink.vision.plain_name import Plain

Kind = Literal["judged", "ignored", "presence"]
State = Literal["absent", "wrong", "turned"]
"""What a presence check may show besides `present`."""

REST = "rest"
"""The region that no polygon covers."""

MOST_REGIONS = 64
_MAX_BYTES = 256 * 1024

_ALIKE = 0.02
"""So much may the widths and heights of two pictures be apart, in proportion, for one to be drawn on for the other."""

Pixel = Annotated[float, Field(ge=0, le=32767)]
Polygon = Annotated[tuple[tuple[Pixel, Pixel], ...], Field(min_length=3, max_length=200)]
"""Corners (x, y) in pixels of the picture that it was drawn on, from its top left corner."""


class RegionsError(VisionError):
    """Named regions that cannot be read or do not fit their pictures; the message says which and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NamedRegion(_Strict):
    """One region as a person drew it."""

    name: Plain
    kind: Kind = "judged"
    share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the promised false rejects that it may cause; not stated: as much as others that state"
        " none.",
    )
    polygon: Polygon
    examples: dict[State, Path] = Field(
        default={},
        description="Folders of whole pictures in which it is absent, wrong or turned, relative to the file.",
    )

    @model_validator(mode="after")
    def _has_what_its_kind_has(self) -> Self:
        if self.name == REST:
            raise ValueError(f"{REST} is what no polygon covers: choose another name")
        if self.kind == "ignored" and self.share is not None:
            raise ValueError(f"{self.name} is ignored, so it rejects nothing and has no share")
        if self.kind != "presence" and self.examples:
            raise ValueError(f"{self.name} is {self.kind}: only a presence check has examples")
        if area_of(self.polygon) < 1:
            raise ValueError(f"the polygon of {self.name} has no area")
        if crosses_itself(self.polygon):
            raise ValueError(f"the polygon of {self.name} crosses itself: give its corners in their order around it")
        return self


class RegionsFile(_Strict):
    """Named regions over one picture: the upright one of a part that is aligned, else the camera's."""

    width: int = Field(ge=8, le=32767, description="Of the picture that the polygons are drawn on, in pixels.")
    height: int = Field(ge=8, le=32767)
    regions: tuple[NamedRegion, ...] = Field(min_length=1, max_length=MOST_REGIONS)
    rest: Literal["judged", "ignored"] = Field(default="judged", description="What no polygon covers.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [region.name for region in self.regions]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two regions have the name {twice[0]}")
        for region in self.regions:
            for x, y in region.polygon:
                if x > self.width or y > self.height:
                    raise ValueError(
                        f"the corner ({x:g}, {y:g}) of {region.name} lies outside the picture of {self.width} ×"
                        f" {self.height} pixels"
                    )
        if self.rest == "ignored" and all(region.kind != "judged" for region in self.regions):
            raise ValueError("no region is judged: name one, or leave the rest judged")
        stated = sum(region.share or 0 for region in self.regions)
        unstated = [name for name, share in self._stated() if share is None]
        if stated > 1 + 1e-9 or (unstated and stated > 1 - 1e-9):
            left = f", and nothing is left for {', '.join(unstated)}" if unstated else ""
            raise ValueError(f"the stated shares of the promise add up to {stated:g}{left}: they stay below 1")
        return self

    def _stated(self) -> Iterator[tuple[str, float | None]]:
        yield from ((region.name, region.share) for region in self.regions if region.kind != "ignored")
        if self.rest == "judged":
            yield REST, None

    def shares(self) -> dict[str, float]:
        """Return the share of the promise of each region that can reject, by name: 1 together, or less if so stated."""
        stated = dict(self._stated())
        unstated = sum(share is None for share in stated.values())
        left = 1 - sum(share or 0 for share in stated.values())
        return {name: left / unstated if share is None else share for name, share in stated.items()}


class FittedRegion(_Strict):
    """One region of a model. Its threshold is its `level` times the model's: an edited one scales all alike."""

    name: Plain
    kind: Kind
    polygon: tuple[tuple[Pixel, Pixel], ...] = Field(max_length=200, description="None of the rest.")
    share: float = Field(default=0, ge=0, le=1, description="Of the promised false rejects.")
    level: float = Field(default=1, gt=0, description="Distance that is a score of 1.")
    checks: dict[str, float] = Field(
        default={}, max_length=4, description="Levels of a presence check: unlike what is present, and each state."
    )
    examples: dict[State, int] = Field(default={}, description="Pictures that each state was learnt from.")


class RegionsSpec(_Strict):
    """The named regions of a model. Which patches they are, and what is present there, are its tensors."""

    format: Literal[1] = Field(default=1, description="Version of how regions are judged.")
    width: int = Field(ge=8, le=32767, description="Of the picture that the polygons are drawn on.")
    height: int = Field(ge=8, le=32767)
    regions: tuple[FittedRegion, ...] = Field(min_length=1, max_length=MOST_REGIONS + 1)
    rest: Literal["judged", "ignored"] = "judged"

    def sentence(self) -> str:
        """Return what the regions are, in words."""
        kinds = {"judged": "judged", "presence": "looked at for what must be there", "ignored": "ignored"}
        said = []
        for kind, words in kinds.items():
            names = [region.name for region in self.regions if region.kind == kind]
            if names:
                said.append(f"{', '.join(names)} {words}")
        return "; ".join(said)


def load_regions(path: Path) -> RegionsFile:
    """Read named regions from a YAML file; folders of examples are relative to it. Raises RegionsError."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise RegionsError(f"the regions {path} cannot be read: {error.strerror}") from error
    if len(text) > _MAX_BYTES:
        raise RegionsError(f"the regions {path} are larger than {_MAX_BYTES} bytes")
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or "nested too deeply"
        raise RegionsError(f"the regions {path} are not valid YAML: {reason}") from error
    return regions_from(values, path.parent, str(path))


def regions_from(values: object, folder: Path, what: str = "the regions") -> RegionsFile:
    """Check plain values; folders of examples are relative to `folder`. Raises RegionsError, beginning with `what`."""
    if not isinstance(values, Mapping):
        raise RegionsError(f"{what}: width, height and regions are expected")
    try:
        found = RegionsFile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RegionsError(f"{what}{', ' if place else ''}{place}: {reason_of(first)}") from error
    placed = [
        region.model_copy(update={"examples": {state: folder / place for state, place in region.examples.items()}})
        for region in found.regions
    ]
    return found.model_copy(update={"regions": tuple(placed)})


def area_of(polygon: tuple[tuple[float, float], ...]) -> float:
    """Return a polygon's area in square pixels, by the shoelace formula."""
    total = 0.0
    for (x, y), (next_x, next_y) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        total += x * next_y - next_x * y
    return abs(total) / 2


def crosses_itself(polygon: tuple[tuple[float, float], ...]) -> bool:
    """Say whether two of a polygon's edges cross between their ends."""
    edges = list(zip(polygon, (*polygon[1:], polygon[0]), strict=True))
    return any(_cross(one, other) for number, one in enumerate(edges) for other in edges[number + 2 :])


_Edge = tuple[tuple[float, float], tuple[float, float]]


def _cross(one: _Edge, other: _Edge) -> bool:
    return _side(one, other[0]) * _side(one, other[1]) < 0 and _side(other, one[0]) * _side(other, one[1]) < 0


def _side(edge: _Edge, point: tuple[float, float]) -> float:
    """Return on which side of an edge a point lies, by its sign; 0 on its line."""
    (x, y), (next_x, next_y) = edge
    return (next_x - x) * (point[1] - y) - (next_y - y) * (point[0] - x)


def check_size(drawn: tuple[int, int], shown: tuple[int, int]) -> None:
    """Raise RegionsError where regions were drawn on a picture (width, height) unlike the one that is judged."""
    proportion = drawn[0] / drawn[1] * shown[1] / shown[0]
    if not 1 - _ALIKE <= proportion <= 1 + _ALIKE:
        raise RegionsError(
            f"the regions are drawn on a picture of {drawn[0]} × {drawn[1]} pixels and the pictures have {shown[0]} ×"
            f" {shown[1]}: `neverblink region preview` shows the one to draw on"
        )
