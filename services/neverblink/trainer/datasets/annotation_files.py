"""What labelling tools write: LabelMe's JSON beside an image, COCO's of many images, CVAT's XML of many images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.parsers import expat

import orjson

from neverblink.trainer.datasets.labelled_image import DatasetError
from neverblink.trainer.datasets.outlines import Outline, Point, Runs, ellipse, rectangle
from neverblink.vision.pictures.faults import MAX_PIXELS

MAX_BYTES = 256 * 1024 * 1024
"""LabelMe keeps a copy of the picture in its JSON; COCO files of 100,000 images take less than this."""

_MAX_DEPTH = 16

Tool = Literal["LabelMe", "COCO", "CVAT"]


@dataclass(frozen=True, slots=True)
class Annotated:
    """What a file says of an image: its `name` as the file has it, outlines, (height, width) where it says so.

    `ignored` counts shapes without an area by their kind.
    """

    name: str
    outlines: tuple[Outline, ...]
    size: tuple[int, int] | None = None
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a file holds; LabelMe's is of one image, the others list all of theirs."""

    tool: Tool
    images: tuple[Annotated, ...]


def read_annotations(path: Path) -> Annotations | None:
    """Read a LabelMe, COCO or CVAT file; None when a JSON or XML file is something else. Raises DatasetError."""
    content = _bounded(path)
    if path.suffix.lower() == ".xml":
        found = _cvat(content, path)
        return None if found is None else Annotations("CVAT", tuple(found))
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict):
        return None
    try:
        if isinstance(document.get("shapes"), list):
            return Annotations("LabelMe", (_labelme(document, path),))
        if isinstance(document.get("images"), list) and isinstance(document.get("annotations"), list):
            return Annotations("COCO", tuple(_coco(document, path)))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DatasetError(f"{path} is not what LabelMe or COCO writes: {type(error).__name__} {error}") from error
    return None


def _bounded(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DatasetError(f"{path} has {size} bytes, more than the {MAX_BYTES} of any file of outlines")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


# LabelMe


def _labelme(document: Mapping[str, Any], path: Path) -> Annotated:
    outlines: list[Outline] = []
    ignored: list[str] = []
    for shape in document["shapes"]:
        label, kind = str(shape["label"]), str(shape.get("shape_type") or "polygon")
        points = [_point(one) for one in shape["points"]]
        if kind == "polygon" and len(points) >= 3:
            outlines.append(Outline(label, (tuple(points),)))
        elif kind == "rectangle":
            (left, top), (right, bottom) = points[0], points[2 if len(points) == 4 else 1]
            corners = rectangle(min(left, right), min(top, bottom), max(left, right), max(top, bottom))
            outlines.append(Outline(label, (corners,)))
        elif kind == "circle":
            radius = math.dist(points[0], points[1])
            outlines.append(Outline(label, (ellipse(*points[0], radius, radius),)))
        else:
            ignored.append(kind)
    height, width = document.get("imageHeight"), document.get("imageWidth")
    size = (int(height), int(width)) if height and width else None
    # Windows writes its own separators, and some tools the whole way on the labeller's machine.
    name = str(document.get("imagePath") or path.stem).replace("\\", "/").rpartition("/")[2]
    return Annotated(name, tuple(outlines), size, tuple(ignored))


# COCO


def _coco(document: Mapping[str, Any], path: Path) -> list[Annotated]:
    names = {one["id"]: str(one["name"]) for one in document.get("categories", [])}
    outlines: dict[object, list[Outline]] = {}
    ignored: dict[object, list[str]] = {}
    for one in document["annotations"]:
        if one["category_id"] not in names:
            raise DatasetError(f"{path} has an annotation of category {one['category_id']}, which it does not name")
        found = _coco_shape(one, names[one["category_id"]], path)
        if found is None:
            ignored.setdefault(one["image_id"], []).append("shape without an area")
        else:
            outlines.setdefault(one["image_id"], []).append(found)
    return [
        Annotated(
            str(image["file_name"]).replace("\\", "/"),
            tuple(outlines.get(image["id"], ())),
            (int(image["height"]), int(image["width"])) if image.get("height") and image.get("width") else None,
            tuple(ignored.get(image["id"], ())),
        )
        for image in document["images"]
    ]


def _coco_shape(one: Mapping[str, Any], label: str, path: Path) -> Outline | None:
    shape = one.get("segmentation")
    if isinstance(shape, Mapping):
        height, width = (int(value) for value in shape["size"])
        counts = shape["counts"]
        lengths = _packed_counts(counts) if isinstance(counts, str) else [int(value) for value in counts]
        return Outline(label, runs=_runs(0, 0, width, height, lengths, path, by_column=True))
    if shape:
        rings = [tuple(zip(map(_number, ring[::2]), map(_number, ring[1::2]), strict=True)) for ring in shape]
        rings = [ring for ring in rings if len(ring) >= 3]
        return Outline(label, tuple(rings)) if rings else None
    if one.get("bbox"):
        left, top, across, down = (_number(value) for value in one["bbox"])
        return Outline(label, (rectangle(left, top, left + across, top + down),)) if across and down else None
    return None


def _packed_counts(text: str) -> list[int]:
    """Unpack COCO's compressed counts: five bits a character, the third and later ones as differences."""
    counts: list[int] = []
    at = 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[at]) - 48
            value |= (bits & 0x1F) << shift
            more = bool(bits & 0x20)
            at, shift = at + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


# CVAT


def _cvat(content: bytes, path: Path) -> list[Annotated] | None:
    """Read CVAT's "for images 1.1". A document type is refused: entities could grow without bound."""
    reader = _CvatReader(path)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = reader.refuse_types
    parser.EntityDeclHandler = reader.refuse_types
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DatasetError(f"{path} is no XML: {error}") from error
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{path} is not what CVAT writes for images: {type(error).__name__} {error}") from error
    return reader.found if reader.root == "annotations" else None


class _CvatReader:
    def __init__(self, path: Path) -> None:
        self.root: str | None = None
        self.found: list[Annotated] = []
        self._path = path
        self._depth = 0
        self._image: dict[str, str] | None = None
        self._outlines: list[Outline] = []
        self._ignored: list[str] = []

    def refuse_types(self, *_: object) -> None:
        raise DatasetError(f"{self._path} declares a document type or entities, which no file of outlines needs")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise DatasetError(f"{self._path} nests its elements deeper than any file of outlines")
        self.root = self.root or name
        if name == "image":
            self._image, self._outlines, self._ignored = attributes, [], []
        elif self._image is not None and "label" in attributes:
            self._add(name, attributes)

    def end(self, name: str) -> None:
        self._depth -= 1
        if name == "image" and self._image is not None:
            image = self._image
            size = (int(image["height"]), int(image["width"])) if "height" in image and "width" in image else None
            name = image["name"].replace("\\", "/")
            self.found.append(Annotated(name, tuple(self._outlines), size, tuple(self._ignored)))
            self._image = None

    def _add(self, kind: str, given: Mapping[str, str]) -> None:
        label = given["label"]
        if kind == "polygon":
            points = tuple(_point(pair.split(",")) for pair in given["points"].split(";"))
            self._outlines.append(Outline(label, (points,)))
        elif kind == "box":
            corners = rectangle(*(_number(given[side]) for side in ("xtl", "ytl", "xbr", "ybr")))
            self._outlines.append(Outline(label, (corners,)))
        elif kind == "ellipse":
            self._outlines.append(Outline(label, (ellipse(*(_number(given[n]) for n in ("cx", "cy", "rx", "ry"))),)))
        elif kind == "mask":
            left, top, width, height = (int(_number(given[n])) for n in ("left", "top", "width", "height"))
            counts = [int(count) for count in given["rle"].split(",")]
            self._outlines.append(Outline(label, runs=_runs(left, top, width, height, counts, self._path)))
        elif kind in {"polyline", "points", "cuboid", "skeleton", "tag"}:
            self._ignored.append(kind)


def _runs(
    left: int, top: int, width: int, height: int, counts: Sequence[int], path: Path, *, by_column: bool = False
) -> Runs:
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise DatasetError(f"{path} has a bitmap of {width} × {height} pixels, and the most are {MAX_PIXELS}")
    if min(counts, default=0) < 0 or sum(counts) > width * height:
        raise DatasetError(f"{path} has a bitmap of {width} × {height} pixels whose counts do not fit it")
    return Runs(left, top, width, height, tuple(counts), by_column)


def _point(pair: Sequence[object]) -> Point:
    across, down = pair
    return _number(across), _number(down)


def _number(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        raise ValueError(f"a coordinate is {number}")
    return number
