"""What is known of one image: whether it shows a defect, of which type, and what marks it."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neverblink.storage.listing import files_in
from neverblink.trainer.datasets.outlines import Outline, drawn
from neverblink.vision.decode import SUFFIXES
from neverblink.vision.errors import VisionError
from neverblink.vision.mask_file import read_mask

GOOD = "good"

PICTURES = SUFFIXES | {
    *(".gif", ".jpe", ".jfif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".psd", ".exr", ".hdr"),
    *(".pgm", ".ppm", ".pnm", ".pbm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".ico"),
}
"""Suffixes of pictures, whether they can be read or not: one that cannot is told, not passed over."""

Mask = npt.NDArray[np.bool_]


class DatasetError(VisionError):
    """A folder that is not what a job needs; the message says what is missing where."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One test image. `defect` is None for a good part; a `mask` or `outlines` say where it is, where anything does.

    `outlined_for` is the (height, width) that outlines were drawn for, where their file says so.
    """

    path: Path
    defect: str | None
    mask: Path | None = None
    outlines: tuple[Outline, ...] = ()
    outlined_for: tuple[int, int] | None = None

    @property
    def marked(self) -> bool:
        """Say whether anything marks its defect."""
        return self.mask is not None or bool(self.outlines)

    def marks(self, height: int, width: int) -> Mask | None:
        """Return what is marked in an image of that size, (height, width) bool; None where nothing says so.

        Raises DatasetError when the mask or the outlines are of another size, MaskError, ImageError.
        """
        if self.mask is not None:
            return read_defect_mask(self.mask, (height, width), self.path)
        if not self.outlines:
            return None
        check_outlined_size(self.path, self.outlined_for, (height, width))
        return drawn(self.outlines, (height, width))


def read_defect_mask(path: Path, size: tuple[int, int], image: Path) -> Mask:
    """Read a mask of an image of `size` (height, width), (H, W) bool, by the rules of `read_mask`.

    Raises DatasetError when their sizes differ, MaskError, ImageError.
    """
    mask = read_mask(path)
    if mask.shape != size:
        raise DatasetError(
            f"the mask {path} is {mask.shape[1]} × {mask.shape[0]} pixels and its image {image}"
            f" {size[1]} × {size[0]}: a mask has the size of its image"
        )
    return mask


def check_outlined_size(path: Path, outlined_for: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """Raise DatasetError when outlines were drawn for an image of another size."""
    if outlined_for is not None and outlined_for != size:
        raise DatasetError(
            f"the outlines of {path} were drawn on {outlined_for[1]} × {outlined_for[0]} pixels, and it has"
            f" {size[1]} × {size[0]}: draw them on the image as it is"
        )


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, by name: those that nobody here can decode too, for they must be told.

    Hidden and system files are none.
    """
    return files_in(folder, PICTURES)


def good_beside(images: Iterable[LabelledImage], known: Collection[str]) -> list[LabelledImage]:
    """Return the good ones whose files are none of those `known` by their digests: what a model was not fitted to."""
    return [image for image in images if image.defect is None and file_digest(image.path) not in known]


def file_digest(path: Path) -> str:
    """Return what an artifact remembers an image file by: its sha256."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
