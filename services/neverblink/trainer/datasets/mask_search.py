"""Which mask belongs to which image: named alike, with or without `_mask`, beside it or in a folder of masks."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from neverblink.storage.listing import files_in, folders_in
from neverblink.trainer.datasets.labelled_image import PICTURES, DatasetError

MASK_FOLDERS = ("ground_truth", "masks", "mask", "gt", "annotations", "labels", "segmentation")
"""Folders beside the images, or beside `test`, whose pictures are masks."""

_MARKS = ("_mask", "-mask", "_gt", "_label", "_labels", "_seg")


def image_stem(path: Path) -> str:
    """Return the name, without suffix, of the image that a mask of this name belongs to."""
    stem = path.stem
    return next((stem.removesuffix(mark) for mark in _MARKS if stem.endswith(mark) and stem != mark), stem)


def without_masks(paths: Sequence[Path]) -> list[Path]:
    """Return the pictures of one folder that are no masks of others beside them: `part_mask.png` beside `part.jpg`."""
    stems = {path.stem for path in paths}
    return [path for path in paths if image_stem(path) == path.stem or image_stem(path) not in stems]


def masks_beside(paths: Sequence[Path]) -> list[Path]:
    """Return those that `without_masks` leaves out."""
    images = set(without_masks(paths))
    return [path for path in paths if path not in images]


def without_mask_folders(root: Path, paths: Sequence[Path]) -> list[Path]:
    """Return the pictures below `root` that are no masks of others: a data set's masks show no parts.

    A folder that is named as one of masks is one when most of its pictures are named as pictures elsewhere.
    """
    in_folders: dict[Path, list[Path]] = {}
    images: list[Path] = []
    for path in paths:
        place = _mask_folder(root, path)
        (images if place is None else in_folders.setdefault(place, [])).append(path)
    stems = {path.stem for path in images}
    masks: set[Path] = set()
    for own in in_folders.values():
        if 2 * sum(image_stem(path) in stems for path in own) > len(own):
            masks.update(own)
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        if path not in masks:
            folders.setdefault(path.parent, []).append(path)
    masks.update(mask for own in folders.values() for mask in masks_beside(own))
    return [path for path in paths if path not in masks]


def _mask_folder(root: Path, path: Path) -> Path | None:
    """Return the folder of masks that a picture lies in, None where it lies in none."""
    below = path.relative_to(root)
    for depth, name in enumerate(below.parts[:-1]):
        if name.casefold() in MASK_FOLDERS:
            return root.joinpath(*below.parts[: depth + 1])
    return None


class MaskFolders:
    """The masks of a data set, found by its folders; `types` are the folders of its images."""

    def __init__(self, root: Path, types: Iterable[str]) -> None:
        self.root = root
        self._types = frozenset(types)
        self._found: dict[tuple[str, str], Path] = {}
        self._beside: dict[Path, dict[str, Path]] = {}
        self._used: dict[Path, Path] = {}
        for name in MASK_FOLDERS:
            place = root / name
            if place.is_dir():
                self._take("", files_in(place, PICTURES))
                for folder in folders_in(place):
                    self._take(folder.name, files_in(folder, PICTURES))

    def of(self, image: Path, label: str) -> Path | None:
        """Return an image's mask, None where it has none. Raises DatasetError when two could be meant."""
        if image.parent not in self._beside:
            self._beside[image.parent] = {
                image_stem(path): path for path in masks_beside(files_in(image.parent, PICTURES))
            }
        found = [
            mask
            for mask in (
                self._found.get((label, image.stem)),
                self._found.get(("", image.stem)),
                self._beside[image.parent].get(image.stem),
            )
            if mask is not None
        ]
        if len(found) > 1:
            raise DatasetError(f"{image} has two masks, {found[0]} and {found[1]}: take one away")
        for mask in found:
            other = self._used.setdefault(mask, image)
            if other != image:
                raise DatasetError(
                    f"the mask {mask} could be that of {other} and of {image}: put masks into a folder a type, as the"
                    " images are"
                )
        return found[0] if found else None

    def check_all_used(self) -> None:
        """Raise DatasetError for masks of no image: a misnamed mask would silently leave its image unlabelled."""
        lost = sorted(path for path in self._found.values() if path not in self._used)
        if lost:
            first = lost[0]
            more = "" if len(lost) == 1 else f" (and {len(lost) - 1} more masks do neither: {_named(lost[1:])})"
            raise DatasetError(
                f"the mask {first} belongs to no image{more}: the image test/{first.parent.name}/NAME.png has the mask"
                f" ground_truth/{first.parent.name}/NAME_mask.png or NAME.png"
            )

    def _take(self, label: str, paths: Sequence[Path]) -> None:
        for path in paths:
            key = (label, image_stem(path))
            if key in self._found:
                raise DatasetError(f"{self._found[key]} and {path} are masks of one image: take one away")
            self._found[key] = path


def _named(paths: Sequence[Path], most: int = 5) -> str:
    more = "" if len(paths) <= most else ", …"
    return ", ".join(path.name for path in paths[:most]) + more
