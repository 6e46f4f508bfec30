"""Labelled defects: images with a mask for every defect type, from masks, boxes or outlines."""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neverblink.trainer.datasets.images import labelled_images
from neverblink.trainer.datasets.labelled_image import (
    GOOD,
    DatasetError,
    LabelledImage,
    check_outlined_size,
    read_defect_mask,
)
from neverblink.trainer.datasets.outlines import Outline, by_type
from neverblink.vision.plain_name import plain

BOXES = "boxes.csv"
"""Beside `test`: one defect a row, for images that show several types. Columns: image, x1, y1, x2, y2, type."""

_COLUMNS = ("image", "x1", "y1", "x2", "y2", "type")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled defect: `left`, `top` to `right`, `bottom` (not included) in pixels of its image."""

    left: int
    top: int
    right: int
    bottom: int
    type: str


@dataclass(frozen=True, slots=True)
class DefectImage:
    """An image whose defects are known. `types` is empty for a good part; `boxes` and `outlines` where a file gave
    them, for images of the (height, width) `outlined_for` where it says so.
    """

    path: Path
    types: tuple[str, ...]
    mask: Path | None = None
    boxes: tuple[Box, ...] = ()
    outlines: tuple[Outline, ...] = ()
    outlined_for: tuple[int, int] | None = None

    @property
    def defective(self) -> bool:
        """Say whether it shows a defect."""
        return bool(self.types)

    @property
    def marked(self) -> bool:
        """Say whether anything marks its defects."""
        return self.mask is not None or bool(self.boxes) or bool(self.outlines)

    def masks(self, height: int, width: int) -> dict[str, Mask]:
        """Return an (height, width) mask a type, for an image of that size.

        Boxes say which type a mask's pixels are; a box without a mask is filled. Raises DatasetError when image and
        mask or outlines differ in size, MaskError and ImageError when the mask cannot be read.
        """
        if self.outlines and self.mask is None and not self.boxes:
            check_outlined_size(self.path, self.outlined_for, (height, width))
            return by_type(self.outlines, (height, width))
        drawn = None if self.mask is None else read_defect_mask(self.mask, (height, width), self.path)
        if not self.boxes:
            return {} if drawn is None else {self.types[0]: drawn}
        found = {name: np.zeros((height, width), dtype=np.bool_) for name in self.types}
        for box in self.boxes:
            window = np.s_[box.top : box.bottom, box.left : box.right]
            found[box.type][window] |= True if drawn is None else drawn[window]
        return found


def defect_images(place: Path) -> list[DefectImage]:
    """Return the images of a labelled layout, good ones too, each with what is known of its defects.

    A folder's name is the type of its images, unless outlines or `boxes.csv` name them. Raises DatasetError: no labels,
    a mask that belongs to no image, a type that is no name, a box that lies outside or makes no sense.
    """
    return with_defects(labelled_images(place), place)


def with_defects(images: Sequence[LabelledImage], place: Path) -> list[DefectImage]:
    """Return what is known of the defects of images that were read from `place`; see `defect_images`."""
    boxes = read_boxes(place / BOXES) if (place / BOXES).is_file() else {}
    return [_with_boxes(image, boxes.get(image.path.stem, ())) for image in images]


def _with_boxes(image: LabelledImage, boxes: Sequence[Box]) -> DefectImage:
    if image.defect is None:
        return DefectImage(image.path, ())
    if boxes:
        return DefectImage(image.path, tuple(sorted({box.type for box in boxes})), image.mask, tuple(boxes))
    if image.outlines and image.mask is None:
        types = tuple(sorted({_type(outline.type, image.path) for outline in image.outlines}))
        return DefectImage(image.path, types, outlines=image.outlines, outlined_for=image.outlined_for)
    return DefectImage(image.path, (_type(image.defect, image.path.parent),), image.mask)


def read_boxes(path: Path) -> dict[str, list[Box]]:
    """Read a CSV of labelled boxes, by the name of their image without its suffix. Raises DatasetError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DatasetError(f"{path} has no column {', '.join(missing)}; its columns are {', '.join(_COLUMNS)}")
            found: dict[str, list[Box]] = {}
            for row in rows:
                box = _box(row, f"{path}, line {rows.line_num}")
                found.setdefault(Path(row["image"]).stem, []).append(box)
            return found
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def split(images: Sequence[DefectImage], share: float, seed: int) -> tuple[list[DefectImage], list[DefectImage]]:
    """Split images in two, `share` of each type in the first; an image is in one part only, whatever it shows.

    Images with several types go by their first. A type with one image goes to the first part.
    """
    parts: tuple[list[DefectImage], list[DefectImage]] = ([], [])
    by_type: dict[str, list[DefectImage]] = {}
    for image in images:
        by_type.setdefault(image.types[0] if image.types else GOOD, []).append(image)
    for name in sorted(by_type):
        own = sorted(by_type[name], key=lambda image: image.path)
        random.Random(f"{seed} {name}").shuffle(own)
        cut = max(1, round(share * len(own)))
        parts[0].extend(own[:cut])
        parts[1].extend(own[cut:])
    return parts


def types_of(images: Iterable[DefectImage]) -> tuple[str, ...]:
    """Return the defect types that occur, by name."""
    return tuple(sorted(set(chain.from_iterable(image.types for image in images))))


def _box(row: dict[str, str], where: str) -> Box:
    try:
        left, top, right, bottom = (int(row[name]) for name in _COLUMNS[1:5])
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: x1, y1, x2, y2 are whole numbers of pixels") from error
    if not (0 <= left < right and 0 <= top < bottom):
        raise DatasetError(f"{where}: the box {left}, {top} to {right}, {bottom} has no area or begins outside")
    return Box(left, top, right, bottom, _type(row["type"] or "", where))


def _type(name: str, where: object) -> str:
    try:
        return plain(name)
    except ValueError as error:
        raise DatasetError(f"{where}: {name!r} is no name of a defect type: {error}") from error
