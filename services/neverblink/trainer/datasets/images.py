"""Image folders: a plain one of good parts, or MVTec layout with defects and masks."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from neverblink.storage.listing import files_in, folders_in
from neverblink.vision.decode import SUFFIXES
from neverblink.vision.errors import VisionError

GOOD = "good"

PICTURES = SUFFIXES | {
    *(".gif", ".jpe", ".jfif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".svg", ".psd", ".exr", ".hdr"),
    *(".pgm", ".ppm", ".pnm", ".pbm", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".ico", ".tif", ".tiff", ".webp"),
}
"""Suffixes of pictures, whether they can be read or not: one that cannot is told, not passed over."""


class DatasetError(VisionError):
    """A folder that is not what a job needs; the message says what is missing where."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One test image. `defect` is None for a good part; `mask` is its ground truth, when there is one."""

    path: Path
    defect: str | None
    mask: Path | None


def good_images(folder: Path) -> list[Path]:
    """Return the good images to fit from: `train/good` of an MVTec layout, else the folder itself.

    Raises DatasetError when there are none.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    place = folder / "train" / GOOD if (folder / "train" / GOOD).is_dir() else folder
    found = images_in(place)
    if not found:
        raise DatasetError(f"{place} has no images ({', '.join(sorted(SUFFIXES))}); put pictures of good parts there")
    return found


def labelled_images(folder: Path) -> list[LabelledImage]:
    """Return the test images of an MVTec layout, by name. Raises DatasetError."""
    test = folder / "test"
    if not test.is_dir():
        raise DatasetError(f"{folder} has no folder `test` with `good` and one folder per defect")
    found = [
        LabelledImage(path, None if label.name == GOOD else label.name, _mask_of(folder, label.name, path))
        for label in folders_in(test)
        for path in images_in(label)
    ]
    if not any(image.defect is None for image in found) or not any(image.defect for image in found):
        raise DatasetError(f"{test} needs images of good parts and of defects to judge a model")
    return found


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, by name: those that nobody here can decode too, for they must be told.

    Hidden and system files are none.
    """
    return files_in(folder, PICTURES)


def file_digest(path: Path) -> str:
    """Return what an artifact remembers an image file by: its sha256."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def _mask_of(folder: Path, label: str, image: Path) -> Path | None:
    mask = folder / "ground_truth" / label / f"{image.stem}_mask.png"
    return mask if label != GOOD and mask.is_file() else None
