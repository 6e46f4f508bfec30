"""The pictures that a fit learns from, and which of them are one witness."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.datasets.picture_groups import PictureGroups, below, group_pictures, proposal, sizes
from neverblink.trainer.datasets.usable_pictures import Usable, usable_pictures
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.calibration import (
    DEFAULT_FALSE_REJECT,
    counted,
    normals_needed,
    percent,
    threshold_rank,
    tightest_promise,
)
from neverblink.vision.copies import in_order


@dataclass(frozen=True, slots=True)
class PictureSet:
    """The pictures of a fit and their groups; `excluded` are those left out by name or by a robust fit, path and
    digest, `root` the folder that paths are told below.
    """

    usable: Usable
    groups: PictureGroups
    root: Path
    excluded: Mapping[str, str] = field(default_factory=dict)

    def without(self, pictures: Iterable[Path]) -> "PictureSet":
        """Return the set without some pictures, which are recorded as left out."""
        out = set(pictures)
        kept = np.array([path not in out for path in self.usable.paths])
        group = in_order(self.groups.group[kept])
        named = {below(one.path, self.root): one.digest for one in self.usable.pictures if one.path in out}
        left = Usable(self.usable.of(set(self.usable.paths) - out).pictures, self.usable.left_out)
        return PictureSet(left, PictureGroups(group, self.groups.by), self.root, {**self.excluded, **named})


def picture_set(
    images: Sequence[Path] | Usable,
    settings: FitSettings,
    progress: Progress,
    *,
    root: Path | None,
    excluded: Mapping[str, str],
    skip_unusable: bool,
    aligned: bool = False,
) -> PictureSet:
    """Look at the images before anything is loaded. A promise that cannot be kept is refused here, not at the end.

    Parts that are `aligned` may lie in pictures of several sizes. Where parts may be aligned it is known only then
    which pictures are copies: whether they are enough for the promise is for `check_promise` to say.
    """
    given = len(images.pictures) if isinstance(images, Usable) else len(images)
    if given < 2:
        raise DatasetError(f"{given} image is not enough to know what is normal; give dozens, better hundreds")
    if settings.false_reject is not None:
        threshold_rank(given, settings.false_reject)
    found = images
    if not isinstance(found, Usable):
        found = usable_pictures(
            found,
            skip_unusable=skip_unusable,
            tiling=None if aligned or settings.align != "none" else settings.tiling,
            depth=settings.depth,
            progress=progress,
        )
    if found.copies.different < 2:
        raise DatasetError(
            f"all {len(found.pictures)} pictures are copies of one, which is not enough to know what is normal; give"
            " pictures of different parts, dozens, better hundreds"
        )
    paths = found.paths
    place = root or Path(os.path.commonpath([path.parent.absolute() for path in paths]))
    copies = found.copies.group
    groups = (
        PictureGroups(copies)
        if settings.group_by is None
        else group_pictures([path if root else path.absolute() for path in paths], place, settings.group_by, copies)
    )
    made = PictureSet(found, groups, place, excluded)
    if not aligned and settings.align == "none":
        check_promise(made, settings)
    return made


def check_promise(given: PictureSet, settings: FitSettings) -> None:
    """Raise CalibrationError where the pictures are too few for the promise that is asked for."""
    if settings.false_reject is not None:
        threshold_rank(given.groups.count, settings.false_reject, counted=counted_in(settings))


def rate_of(settings: FitSettings) -> float | Literal["auto"]:
    """Return the promise that is asked for."""
    return "auto" if settings.false_reject is None else settings.false_reject


def counted_in(settings: FitSettings) -> str:
    """Return what a held-out score stands for."""
    return counted(grouped=settings.group_by is not None)


def grouped_notes(given: PictureSet) -> list[str]:
    """Return what the groups promise, or how pictures look grouped where nobody said so."""
    groups, pictures = given.groups, given.usable.pictures
    if groups.by is not None:
        fewest, most = sizes(groups.group)
        each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        of = f"{groups.count} groups of {each} by {groups.by}"
        said = f"{len(pictures)} pictures are {of}: each group counts as one, by its worst"
        tightest = tightest_promise(groups.count)
        if tightest > DEFAULT_FALSE_REJECT:
            said += (
                f". So few promise {percent(tightest)} at best: 1 % needs {normals_needed(DEFAULT_FALSE_REJECT)} groups"
            )
        return [said]
    thumbnails = np.stack([one.fingerprint.thumbnail for one in pictures])
    proposed = proposal(
        given.usable.paths,
        given.root,
        thumbnails,
        given.usable.copies.group,
        lambda count: percent(max(DEFAULT_FALSE_REJECT, tightest_promise(count))),
    )
    return [] if proposed is None else [proposed]
