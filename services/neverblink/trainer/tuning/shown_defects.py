"""The defects that recipes are judged by: photographed ones where there are enough, else drawn ones."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.datasets.labelled_image import LabelledImage, file_digest
from neverblink.trainer.datasets.picture_groups import group_pictures
from neverblink.trainer.datasets.usable_pictures import UnusablePicturesError, usable_pictures
from neverblink.trainer.fitting.first_trial import drawing_region
from neverblink.trainer.fitting.named_regions import examples_of
from neverblink.trainer.fitting.picture_set import PictureSet
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.promises.promise_costs import Source
from neverblink.vision.decode import Image, ImageError, read_image
from neverblink.vision.errors import VisionError
from neverblink.vision.evenly import some_of
from neverblink.vision.named_regions.spec import RegionsFile
from neverblink.vision.region import Mask
from neverblink.vision.synthesis import KINDS, Scene, SynthesisError, synthesise
from neverblink.vision.synthesis.policy import Kind

FEWEST_REAL: Final = 10
"""Fewer photographed defects choose nothing: drawn ones are shown instead."""

MOST: Final = 150
_A_KIND: Final = 18

Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shown:
    """A defect: its kind, and the picture that shows it, or the good one that it is `drawn` on by that seed."""

    path: Path
    kind: str
    labelled: LabelledImage | None = None
    drawn: Kind | None = None
    seed: tuple[int, int] = (0, 0)

    @property
    def name(self) -> str:
        """Return what it is called."""
        return f"{self.path.parent.name}/{self.path.name}" if self.drawn is None else f"{self.kind} on {self.path.name}"

    def picture(self, settings: FitSettings) -> tuple[Image, Mask | None]:
        """Return the (H, W, 3) uint8 RGB picture, and the (H, W) bool pixels of its defect where they are known.

        Raises VisionError: drawing may find no room.
        """
        image = read_image(self.path, depth=settings.depth)
        if self.drawn is None:
            assert self.labelled is not None
            return image, self.labelled.marks(*image.shape[:2]) if self.labelled.marked else None
        region = drawing_region(settings, image, aligned=settings.align != "none")
        found = synthesise(image, self.drawn, np.random.default_rng(self.seed), scene=Scene(region=region))
        return found.image, found.mask


@dataclass(frozen=True, slots=True)
class Defects:
    """What is shown; `group` (D,) int64 joins what one item shows, or, drawn, is the group of the good part below."""

    shown: tuple[Shown, ...]
    group: Groups
    source: Source
    notes: tuple[str, ...] = ()


def shown_defects(
    good: PictureSet, labelled: Sequence[LabelledImage], settings: FitSettings, progress: Progress
) -> Defects:
    """Return the defects to judge by, from all over the kinds. Raises DatasetError where none can be drawn either."""
    found = [one for one in labelled if one.defect is not None]
    real = _real(good, found, settings, progress) if found else None
    if real is not None and len(real.shown) >= FEWEST_REAL:
        return real
    few: tuple[str, ...] = ()
    if real is not None:
        counted = f"{len(real.shown)} pictures of defects are too few to choose by ({FEWEST_REAL} at least)"
        few = (f"{counted}: drawn defects are shown instead",)
    return _drawn(good, settings, few, progress)


def _real(
    good: PictureSet, labelled: Sequence[LabelledImage], settings: FitSettings, progress: Progress
) -> Defects | None:
    try:
        usable = usable_pictures(
            [one.path for one in labelled],
            skip_unusable=True,
            depth=settings.depth,
            progress=lambda _, done, total: progress("checking the defects", done, total),
        )
    except UnusablePicturesError:
        return None
    learnt = {one.digest for one in good.usable.pictures}
    # What a presence check knows as its example it would find by every recipe.
    examples = examples_of(settings.regions) if isinstance(settings.regions, RegionsFile) else []
    known = {file_digest(path) for path in examples}
    by_path = {one.path: one for one in labelled}
    kept = [place for place, one in enumerate(usable.pictures) if one.digest not in learnt | known]
    if not kept:
        return None
    chosen = some_of(kept, MOST)
    paths = [usable.pictures[place].path for place in chosen]
    group = usable.copies.group[chosen]
    if settings.group_by is not None:
        # A rule for good parts may not fit how defects are filed: then copies alone belong together.
        with contextlib.suppress(DatasetError):
            group = group_pictures(paths, good.root, settings.group_by, group).group
    notes = []
    if shown_before := sum(one.digest in known for one in usable.pictures):
        notes.append(f"{shown_before} pictures of defects are examples of a presence check and are not shown")
    if usable.left_out:
        notes.append(f"{len(usable.left_out)} pictures of defects cannot be used and are not shown")
    if len(chosen) < len(kept):
        notes.append(f"{len(chosen)} of {len(kept)} pictures of defects are shown, from all over them")
    shown = tuple(Shown(path, str(by_path[path].defect), by_path[path]) for path in paths)
    return Defects(shown, np.unique(group, return_inverse=True)[1], "real", tuple(notes))


def _drawn(good: PictureSet, settings: FitSettings, notes: tuple[str, ...], progress: Progress) -> Defects:
    paths, group = good.usable.paths, good.groups.group
    each = min(_A_KIND, max(2, 2 * len(paths) // len(KINDS)))
    order = np.random.default_rng(settings.seed).permutation(len(paths))
    shown, groups = [], []
    for number in range(each * len(KINDS)):
        place = int(order[number % len(paths)])
        kind = KINDS[number % len(KINDS)]
        one = Shown(paths[place], kind, drawn=kind, seed=(settings.seed, number))
        progress("drawing defects", number + 1, each * len(KINDS))
        try:
            one.picture(settings)
        except (ImageError, SynthesisError):
            # A kind that such pictures have no room for says nothing about a recipe.
            continue
        shown.append(one)
        groups.append(int(group[place]))
    if len(shown) < FEWEST_REAL:
        raise DatasetError(
            "there are too few pictures of defects, and none can be drawn on these parts: add test/DEFECT folders with"
            f" {FEWEST_REAL} pictures or more"
        )
    return Defects(tuple(shown), np.array(groups, dtype=np.int64), "synthetic", notes)


def picture_and_mask(shown: Shown, settings: FitSettings) -> tuple[Image, Mask | None]:
    """Return the picture for a page; what marks its defect may be unreadable without harm."""
    try:
        return shown.picture(settings)
    except (ImageError, SynthesisError):
        raise
    except VisionError:
        return read_image(shown.path, depth=settings.depth), None
