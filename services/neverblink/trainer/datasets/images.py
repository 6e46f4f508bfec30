"""Image folders, however people keep them: good parts to learn from, and labelled ones to be judged by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neverblink.storage.listing import files_in, folders_in
from neverblink.trainer.datasets.annotation_files import Annotated, Annotations, read_annotations
from neverblink.trainer.datasets.label_table import is_good, read_label_table, table_in
from neverblink.trainer.datasets.labelled_image import (
    GOOD,
    PICTURES,
    DatasetError,
    LabelledImage,
    file_digest,
    images_in,
    read_defect_mask,
)
from neverblink.trainer.datasets.mask_search import MASK_FOLDERS, MaskFolders, without_masks
from neverblink.trainer.datasets.outlines import main_type
from neverblink.vision.decode import SUFFIXES

__all__ = [
    "GOOD",
    "PICTURES",
    "DatasetError",
    "ImageFolder",
    "LabelledImage",
    "file_digest",
    "good_images",
    "image_folder",
    "images_in",
    "labelled_images",
    "read_defect_mask",
]

_ANNOTATIONS = (".json", ".xml")
_TABLES = (".csv", ".tsv", ".txt")
_NAMED = 5

MVTEC, BY_FOLDERS, ALONE = "MVTec", "a folder a type", "images alone"
_LAYOUTS_BY_FOLDERS = (MVTEC, BY_FOLDERS, ALONE)


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """What a folder, or a file that lists images, holds: good parts to learn from, labelled images to judge by.

    `layout` is how it is laid out, in words. `left_out` says in sentences what is part of neither.
    """

    layout: str
    good: tuple[Path, ...]
    labelled: tuple[LabelledImage, ...]
    left_out: tuple[str, ...] = ()


def good_images(place: Path) -> list[Path]:
    """Return the good images to fit from: `train/good` of an MVTec layout, the good ones of any other labelled layout
    of `image_folder`, else all images of the folder itself.

    Raises DatasetError when there are none.
    """
    return list(image_folder(place, labelled=False).good)


def labelled_images(place: Path) -> list[LabelledImage]:
    """Return the images of a labelled layout, by name; see `image_folder`. Raises DatasetError.

    A mask that belongs to no image is an error too: it would silently leave its image unlabelled.
    """
    return both_kinds(image_folder(place, labelled=True), place)


def both_kinds(folder: ImageFolder, place: Path) -> list[LabelledImage]:
    """Return the labelled images of a layout that was read from `place`. Raises DatasetError where one kind lacks."""
    found = folder.labelled
    if not any(image.defect is None for image in found) or not any(image.defect for image in found):
        good = sum(image.defect is None for image in found)
        raise DatasetError(
            f"{place} has {good} images of good parts and {len(found) - good} of defects: it needs images of good parts"
            " and of defects to judge a model"
        )
    return list(found)


def image_folder(place: Path, *, labelled: bool, deep: bool = False) -> ImageFolder:
    """Read how a folder of images is laid out; `labelled` asks for labels, without it good parts are enough.

    `deep` takes good parts from the sub-folders of where they lie too, such as one an item.
    In this order: a table (`labels.csv`, or the file itself); `train/good`, `test/good` and `test/TYPE` as in MVTec AD;
    a file of COCO or CVAT; a folder a type, one of them good; LabelMe's files beside the images; images alone. Raises
    DatasetError.
    """
    if place.is_file():
        found = _listed(place)
    elif not place.is_dir():
        raise DatasetError(
            f"there is no folder {place}"
            + (", so it has no folder `test` with `good` and one folder a type of defect" if labelled else "")
        )
    else:
        found = _of_folder(place, labelled=labelled)
        if deep and not labelled:
            found = _with_sub_folders(found, place)
        elif not labelled and found.layout == ALONE and found.good:
            found = replace(found, left_out=(*found.left_out, *_further_down(place)))
    wanted: Sequence[object] = found.labelled if labelled else found.good
    if not wanted and labelled:
        raise DatasetError(
            f"{place} has no labels, and needs images of good parts and of defects to judge a model: it has no folder"
            " `test` with `good` and one folder a type of defect, no `good` beside folders of types, no table"
            " labels.csv with path and label, and no file of COCO, CVAT or LabelMe"
        )
    if not wanted:
        where = place / "train" / GOOD if (place / "train" / GOOD).is_dir() else place
        below = _in_sub_folders(where)
        hint = (
            f"its {len(below)} folders have {sum(map(len, below.values()))}: where they all show good parts, add"
            " --group-by folder, and each folder's pictures count as one in the promise"
            if below
            else "put pictures of good parts there"
        )
        raise DatasetError(f"{where} has no images ({', '.join(sorted(SUFFIXES))}); {hint}")
    return found


def _with_sub_folders(found: ImageFolder, place: Path) -> ImageFolder:
    """Add the pictures of sub-folders to the good ones: a table or a file of outlines has named all there are."""
    if found.layout not in _LAYOUTS_BY_FOLDERS:
        return found
    good = place / "train" / GOOD
    roots = [good] if good.is_dir() else [place / "train"] if (place / "train").is_dir() else [place]
    if found.layout == BY_FOLDERS and roots == [place]:
        roots = [one for one in folders_in(place) if is_good(one.name)]
    more = [path for root in roots for paths in _in_sub_folders(root).values() for path in paths]
    return replace(found, good=tuple(dict.fromkeys((*found.good, *more))))


def _in_sub_folders(folder: Path) -> dict[Path, list[Path]]:
    """Return the pictures in each of a folder's sub-folders, however deep, without masks."""
    if not folder.is_dir():
        return {}
    found: dict[Path, list[Path]] = {}
    for path in files_in(folder, PICTURES, deep=True):
        if path.parent != folder and path.parent.name not in MASK_FOLDERS:
            found.setdefault(path.parent, []).append(path)
    return {place: without_masks(paths) for place, paths in found.items()}


def _listed(path: Path) -> ImageFolder:
    if path.suffix.lower() in _TABLES:
        return _tabled(path)
    annotations = read_annotations(path) if path.suffix.lower() in _ANNOTATIONS else None
    if annotations is None:
        raise DatasetError(f"{path} is neither a table of labels nor a file of COCO, CVAT or LabelMe")
    root = path.parent.parent if path.parent.name in MASK_FOLDERS else path.parent
    return _annotated(path, annotations, root)


def _of_folder(folder: Path, *, labelled: bool) -> ImageFolder:
    table = table_in(folder)
    if table is not None:
        return _tabled(table)
    if (folder / "test").is_dir() or (folder / "train" / GOOD).is_dir():
        return _mvtec(folder, labelled=labelled)
    listing = _listing_in(folder)
    if listing is not None:
        return _annotated(*listing, folder)
    types = [one for one in folders_in(folder) if one.name not in MASK_FOLDERS and images_in(one)]
    if any(is_good(one.name) for one in types):
        return _by_folders(folder, folder, types)
    if types and labelled and not images_in(folder):
        names = ", ".join(one.name for one in types[:_NAMED])
        raise DatasetError(f"none of the folders {names} in {folder} says that it holds good parts: call one `good`")
    return _flat(folder)


def _tabled(path: Path) -> ImageFolder:
    rows = read_label_table(path)
    images = [_with_outlines(row.image) for row in rows]
    known = {image.path for image in images} | {image.mask for image in images}
    unlisted = [one for one in files_in(path.parent, PICTURES) if one not in known]
    return ImageFolder(
        f"the table {path.name}",
        tuple(row.image.path for row in rows if row.image.defect is None and row.split != "test"),
        tuple(image for image, row in zip(images, rows, strict=True) if row.split != "learn"),
        _unlabelled(unlisted, f"{path.name} does not list"),
    )


def _mvtec(folder: Path, *, labelled: bool) -> ImageFolder:
    train = folder / "train" / GOOD
    place = train if train.is_dir() else folder / "train"
    good = without_masks(images_in(place)) if place.is_dir() else without_masks(images_in(folder))
    left_out = _others(place) if place.is_dir() else ()
    if not labelled or not (folder / "test").is_dir():
        return ImageFolder(MVTEC, tuple(good), (), left_out)
    found = _by_folders(folder, folder / "test", folders_in(folder / "test"))
    return ImageFolder(MVTEC, tuple(good), found.labelled, (*left_out, *found.left_out))


def _by_folders(root: Path, place: Path, types: Sequence[Path]) -> ImageFolder:
    """Read a folder a type in `place`; masks lie in `root`, or beside the images."""
    masks = MaskFolders(root, [one.name for one in types])
    images: list[LabelledImage] = []
    for label in types:
        for path in without_masks(images_in(label)):
            # Some sets have an empty mask of each good part: it belongs to an image, and says nothing.
            mask = masks.of(path, label.name)
            if is_good(label.name):
                images.append(LabelledImage(path, None))
            else:
                images.append(_with_outlines(LabelledImage(path, label.name, mask), root))
    if any(image.defect for image in images):
        # Without any image of a defect that is what must be said first.
        masks.check_all_used()
    good = tuple(image.path for image in images if image.defect is None)
    return ImageFolder(BY_FOLDERS, good, tuple(images), tuple(note for one in types for note in _others(one)))


def _listing_in(folder: Path) -> tuple[Path, Annotations] | None:
    """Return the file of COCO or CVAT that lists a folder's images: in it, or in one of its folders of masks."""
    stems = {path.stem for path in images_in(folder)}
    places = [folder, *(place for name in MASK_FOLDERS if (place := folder / name).is_dir())]
    found: list[tuple[Path, Annotations]] = []
    for path in (file for place in places for file in files_in(place, _ANNOTATIONS) if file.stem not in stems):
        annotations = read_annotations(path)
        if annotations is not None and annotations.tool != "LabelMe":
            found.append((path, annotations))
    if len(found) > 1:
        raise DatasetError(f"{found[0][0]} and {found[1][0]} both list images: name the one that is meant")
    return found[0] if found else None


def _annotated(path: Path, annotations: Annotations, root: Path) -> ImageFolder:
    """Read the images below `root` that a file lists: those that it marks nothing in are good."""
    annotated = annotations.images
    places = {one.name: one for one in annotated}
    files = {file.relative_to(root).as_posix(): file for file in files_in(root, PICTURES, deep=True)}
    by_name: dict[str, list[Path]] = {}
    for file in files.values():
        by_name.setdefault(file.name, []).append(file)
    images: list[LabelledImage] = []
    missing: list[str] = []
    for name, one in places.items():
        candidates = [files[name]] if name in files else by_name.get(name.rpartition("/")[2], [])
        if len(candidates) != 1:
            missing.append(f"{name} ({'is not there' if not candidates else f'is there {len(candidates)} times'})")
            continue
        images.append(_outlined(LabelledImage(candidates[0], None), one))
    if missing:
        raise DatasetError(f"{path} lists {len(missing)} images without a file: {_named(missing)}")
    listed = {image.path for image in images}
    return ImageFolder(
        f"the outlines of {path.name} ({annotations.tool})",
        tuple(image.path for image in images if image.defect is None),
        tuple(images),
        (*_unlabelled([one for one in files.values() if one not in listed], f"{path.name} does not list"),
         *_ignored([one for one in annotated if one.ignored])),
    )  # fmt: skip


def _flat(folder: Path) -> ImageFolder:
    """Read a folder of images alone: good parts, but those that LabelMe's files beside them mark something in."""
    images = without_masks(images_in(folder))
    outlined = {path: _labelme_of(path) for path in images}
    if not any(outlined.values()):
        return ImageFolder(ALONE, tuple(images), (), _others(folder))
    labelled = [
        _outlined(LabelledImage(path, None), annotated) for path, annotated in outlined.items() if annotated is not None
    ]
    unlabelled = [path for path, annotated in outlined.items() if annotated is None]
    return ImageFolder(
        "LabelMe's outlines beside the images",
        tuple(image.path for image in labelled if image.defect is None),
        tuple(labelled),
        (*_unlabelled(unlabelled, "LabelMe has no file of"),
         *_ignored([one for one in outlined.values() if one is not None and one.ignored])),
    )  # fmt: skip


def _with_outlines(image: LabelledImage, root: Path | None = None) -> LabelledImage:
    """Return an image with what LabelMe marked in it, where it has no mask: beside it or in a folder of masks."""
    if image.mask is not None or image.defect is None:
        return image
    places = [] if root is None else [root / name for name in MASK_FOLDERS]
    for place in (image.path.parent, *(place / image.path.parent.name for place in places), *places):
        annotated = _labelme_of(image.path, place)
        if annotated is not None:
            return replace(image, outlines=annotated.outlines, outlined_for=annotated.size)
    return image


def _labelme_of(image: Path, place: Path | None = None) -> Annotated | None:
    path = (place or image.parent) / f"{image.stem}.json"
    if not path.is_file():
        return None
    found = read_annotations(path)
    return found.images[0] if found is not None and found.tool == "LabelMe" else None


def _outlined(image: LabelledImage, annotated: Annotated) -> LabelledImage:
    if not annotated.outlines:
        return image
    return replace(
        image,
        defect=main_type(annotated.outlines),
        outlines=annotated.outlines,
        outlined_for=annotated.size,
    )


def _unlabelled(paths: Sequence[Path], why: str) -> tuple[str, ...]:
    if not paths:
        return ()
    return (f"{len(paths)} images were left out, which {why}: {_named([path.name for path in paths])}",)


def _ignored(annotated: Sequence[Annotated]) -> tuple[str, ...]:
    """Say which shapes have no area and mark nothing."""
    if not annotated:
        return ()
    kinds = sorted({kind for one in annotated for kind in one.ignored})
    count = sum(len(one.ignored) for one in annotated)
    return (f"{count} shapes without an area ({', '.join(kinds)}) mark nothing: {_named([a.name for a in annotated])}",)


def _others(folder: Path) -> tuple[str, ...]:
    """Say which files of a folder of images are no pictures."""
    others = [
        path.name
        for path in files_in(folder)
        if path.suffix.lower() not in {*PICTURES, *_ANNOTATIONS, *_TABLES, ".yaml", ".yml", ".jsonl", ".parquet"}
    ]
    if not others:
        return ()
    return (f"{len(others)} files of {folder} are no pictures and were left out: {_named(others)}",)


def _further_down(folder: Path) -> tuple[str, ...]:
    """Say which pictures lie in sub-folders that name no type, beside pictures that are taken."""
    below = _in_sub_folders(folder)
    if not below:
        return ()
    names, count = _named([place.relative_to(folder).as_posix() for place in below]), sum(map(len, below.values()))
    taken = "grouped by folder they are taken, and each folder's pictures count as one"
    return (f"{count} pictures in sub-folders of {folder} were left out: {names}; {taken}",)


def _named(names: Sequence[str]) -> str:
    more = "" if len(names) <= _NAMED else f" and {len(names) - _NAMED} more"
    return ", ".join(names[:_NAMED]) + more
