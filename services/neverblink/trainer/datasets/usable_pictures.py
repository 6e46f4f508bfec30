"""Every picture is looked at before a job begins: what cannot be used is told at once, and what is a copy."""

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Self, TypeVar

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.datasets.labelled_image import DatasetError, LabelledImage, file_digest
from neverblink.vision.copies import Copies, Fingerprint, find_copies, fingerprint
from neverblink.vision.decode import Image, ImageError, ImageFault, read_image
from neverblink.vision.errors import VisionError
from neverblink.vision.tile_plan import TilePlan

_WORKERS = min(4, os.cpu_count() or 1)
"""Decoded pictures in memory at once: four of the largest allowed take 0.8 GB."""

_AHEAD = 4 * _WORKERS
_NAMED = 4

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")
_Labelled = TypeVar("_Labelled", LabelledImage, DefectImage)


class UnusablePicturesError(DatasetError, ImageError):
    """Pictures that cannot be used; the message names every one with the reason, `reason` is the first one's."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that a job cannot use: `why` is a sentence that begins with its path, `reason` a verdict's word."""

    path: Path
    why: str
    reason: ImageFault


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that is a picture: its sha256, its (height, width), and what it is recognised by."""

    path: Path
    digest: str
    size: tuple[int, int]
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Usable:
    """The pictures of a set in the order given, and what is left out. `known_copies` are found otherwise than here."""

    pictures: tuple[Picture, ...]
    left_out: tuple[Unusable, ...] = ()
    known_copies: Copies | None = None

    @cached_property
    def copies(self) -> Copies:
        """Return which of them are copies; found when asked for first, for its work grows with their square."""
        if self.known_copies is not None:
            return self.known_copies
        return find_copies([one.fingerprint for one in self.pictures])

    @property
    def paths(self) -> list[Path]:
        """Return the files that can be used."""
        return [picture.path for picture in self.pictures]

    def once(self, prefer: Callable[[Picture], bool] = lambda _: False) -> dict[Path, tuple[Path, ...]]:
        """Return one file of each group of copies with the others of it: the first, or one that is preferred."""
        groups: dict[int, list[Picture]] = {}
        for picture, group in zip(self.pictures, self.copies.group.tolist(), strict=True):
            groups.setdefault(group, []).append(picture)
        found: dict[Path, tuple[Path, ...]] = {}
        for own in groups.values():
            chosen = next((picture for picture in own if prefer(picture)), own[0])
            found[chosen.path] = tuple(picture.path for picture in own if picture is not chosen)
        return found

    def of(self, paths: Collection[Path]) -> Self:
        """Return what is known of some of these files."""
        return type(self)(tuple(picture for picture in self.pictures if picture.path in paths))

    def notes(self) -> tuple[str, ...]:
        """Return in sentences what a person should know: what was left out, and what counts once."""
        return (*left_out_note(self.left_out), *_copies_notes(self.copies, self.paths))


def usable_pictures(
    paths: Sequence[Path],
    *,
    skip_unusable: bool = False,
    tiling: TilePlan | None = None,
    depth: int | None = None,
    progress: Progress = lambda *_: None,
) -> Usable:
    """Decode every file, in a few threads, and return what can be used.

    With a `tiling` a picture that it cuts otherwise than the first one cannot. `depth` are
    the bits that values of 16-bit pictures use. Raises UnusablePicturesError, which names all that cannot be used,
    unless `skip_unusable` leaves them out.
    """
    found = checked(paths, partial(_look, depth=depth), progress)
    pictures = [one for one in found if isinstance(one, Picture)]
    unusable = [one for one in found if isinstance(one, Unusable)]
    if tiling is not None and pictures:
        first = pictures[0]
        unusable += [_other_size(one, first) for one in pictures if not tiling.alike(one.size, first.size)]
        pictures = [one for one in pictures if tiling.alike(one.size, first.size)]
    refuse(unusable, len(paths), skip_unusable=skip_unusable)
    return Usable(tuple(pictures), tuple(unusable))


def usable_labelled(
    images: Sequence[_Labelled],
    *,
    skip_unusable: bool = False,
    depth: int | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[list[_Labelled], list[Unusable]]:
    """Read every labelled image with its mask, and return those that can be used and what is left out.

    Raises UnusablePicturesError, which names all that cannot be used, unless `skip_unusable` leaves them out.
    """
    faults = checked(images, partial(_labelled_fault, depth=depth), progress, "checking the pictures and masks")
    unusable = [fault for fault in faults if fault is not None]
    refuse(unusable, len(images), skip_unusable=skip_unusable)
    return [image for image, fault in zip(images, faults, strict=True) if fault is None], unusable


def checked(
    items: Sequence[_Item], look: Callable[[_Item], _Found], progress: Progress, stage: str = "checking the pictures"
) -> list[_Found]:
    """Return what `look` says of each item, in order, from a few threads; at most a few results wait."""
    found: list[_Found] = []
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="check") as pool:
        for start in range(0, len(items), _AHEAD):
            for one in pool.map(look, items[start : start + _AHEAD]):
                found.append(one)
                progress(stage, len(found), len(items))
    return found


def refuse(unusable: Sequence[Unusable], count: int, *, skip_unusable: bool) -> None:
    """Raise UnusablePicturesError naming all of `unusable`, out of `count`; nothing when they may be left out."""
    if not unusable or (skip_unusable and len(unusable) < count):
        return
    listed = "".join(f"\n  {one.why}" for one in unusable)
    advice = "mend them or take them away" if skip_unusable else "mend them, take them away or skip the unusable ones"
    raise UnusablePicturesError(
        unusable[0].reason, f"{len(unusable)} of {count} pictures cannot be used; {advice}:{listed}"
    )


def left_out_note(unusable: Sequence[Unusable]) -> tuple[str, ...]:
    """Return the sentence that counts and names what was left out, none when nothing was."""
    if not unusable:
        return ()
    listed = "".join(f"\n  {one.why}" for one in unusable)
    return (f"{len(unusable)} pictures that cannot be used were left out:{listed}",)


def usable_image(path: Path, depth: int | None = None) -> Image | Unusable:
    """Return a file's (H, W, 3) uint8 RGB pixels, or why it is no use."""
    try:
        return read_image(path, depth=depth)
    except ImageError as error:
        return Unusable(path, str(error), error.reason)
    except VisionError as error:
        return Unusable(path, str(error), "corrupt-image")


def _look(path: Path, depth: int | None) -> Picture | Unusable:
    image = usable_image(path, depth)
    if isinstance(image, Unusable):
        return image
    try:
        digest = file_digest(path)
    except OSError as error:
        return Unusable(path, f"{path} cannot be read: {error.strerror}", "no-image")
    return Picture(path, digest, (image.shape[0], image.shape[1]), fingerprint(image))


def _labelled_fault(image: LabelledImage | DefectImage, depth: int | None) -> Unusable | None:
    pixels = usable_image(image.path, depth)
    if isinstance(pixels, Unusable):
        return pixels
    try:
        if isinstance(image, LabelledImage):
            image.marks(*pixels.shape[:2])
        else:
            image.masks(*pixels.shape[:2])
    except ImageError as error:
        return Unusable(image.path, str(error), error.reason)
    except VisionError as error:
        return Unusable(image.path, str(error), "corrupt-image")
    return None


def _other_size(one: Picture, first: Picture) -> Unusable:
    (height, width), (first_height, first_width) = one.size, first.size
    return Unusable(
        one.path,
        f"{one.path} has {width} × {height} pixels and {first.path} has {first_width} × {first_height}: images that are"
        " cut into tiles must be of one size, within 3 % a side, and give as many tiles",
        "corrupt-image",
    )


def _copies_notes(copies: Copies, paths: Sequence[Path]) -> list[str]:
    """Return what counts once, and why."""
    notes = []
    for pairs, said in ((copies.equal, "have the pixels of"), (copies.near, "show nearly the pixels of")):
        if pairs:
            named = ", ".join(f"{paths[one].name} and {paths[other].name}" for one, other in pairs[:_NAMED])
            more = "" if len(pairs) <= _NAMED else f" and {len(pairs) - _NAMED} more"
            of = f"{len(pairs)} of {len(paths)} pictures"
            notes.append(f"{of} {said} another one and count once with it: {named}{more}")
    return notes
