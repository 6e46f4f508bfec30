"""The pictures that a search is made of: good ones in groups, defects, and the part of both that screens."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.exclusion import without_excluded
from neverblink.trainer.datasets.found_parts import how_parts_lie
from neverblink.trainer.datasets.images import DatasetError, image_folder
from neverblink.trainer.datasets.labelled_image import LabelledImage
from neverblink.trainer.fitting.picture_set import PictureSet, picture_set
from neverblink.trainer.promises.promise_costs import Source
from neverblink.trainer.tuning.candidates import Facts
from neverblink.trainer.tuning.errors import TuneError
from neverblink.trainer.tuning.judging import Parts
from neverblink.trainer.tuning.settings import TuneJob
from neverblink.trainer.tuning.shown_defects import Shown, shown_defects
from neverblink.trainer.tuning.trials import Pictures
from neverblink.vision.evenly import places_over

FEWEST: Final = 16
MOST_GOOD: Final = 320
"""More good pictures say hardly more and take longer; 299 groups are what a promise of 1 % needs."""

_A_THIRD: Final = 3
_ENOUGH_GOOD, _ENOUGH_BAD = 120, 60
"""From so many groups on a third of them screens: with fewer its thresholds would be chance."""


@dataclass(frozen=True, slots=True)
class Material:
    """All pictures, the third that screens (None: too few), what they are judged as, and what decides who is tried."""

    every: Pictures
    some: Pictures | None
    parts: Parts
    source: Source
    facts: Facts
    notes: tuple[str, ...]

    @property
    def share(self) -> float | None:
        """Return the share of work that the screening's pictures are."""
        return None if self.some is None else self.some.work / self.every.work


def gathered(job: TuneJob, progress: Progress) -> Material:
    """Look at all pictures. Raises TuneError and DatasetError."""
    good, fitted, notes = _good(job, progress)
    defects = shown_defects(good, _labelled(job), job.default, progress)
    notes += defects.notes
    tied = defects.source == "synthetic"
    source = _sources(good, defects.shown) if tied else None
    every = Pictures(good, defects.shown, defects.group, source, fitted)
    sizes = [one.size for one in good.usable.pictures]
    spread, _ = how_parts_lie(good.usable.paths, job.depth)
    facts = Facts(fitted, sizes[0], frozenset(sizes), spread is not None and spread.wide)
    some, screened_good, screened_bad = _third(every, tied=tied)
    parts = Parts(good.groups.count, defects.group, tied, screened_good, screened_bad)
    return Material(every, some, parts, defects.source, facts, notes)


def _good(job: TuneJob, progress: Progress) -> tuple[PictureSet, int, tuple[str, ...]]:
    """Return the good pictures that are judged, how many there are in all, and what is to be known."""
    root = job.images if job.images.is_dir() else job.images.parent
    found = image_folder(job.images, labelled=False, deep=job.group_by is not None)
    paths, excluded = without_excluded(found.good, root, job.exclude)
    if len(paths) < FEWEST:
        raise TuneError(
            f"{len(paths)} good pictures are too few to choose a recipe by: {FEWEST} are the least, 60 are better;"
            " `neverblink fit` with its defaults is the best there is for so few"
        )
    given = picture_set(paths, job.default, progress, root=root, excluded=excluded, skip_unusable=job.skip_unusable)
    if given.groups.count < FEWEST:
        raise TuneError(
            f"{len(paths)} good pictures are {given.groups.count} groups, which are too few to choose a recipe by:"
            f" {FEWEST} are the least"
        )
    notes = (*found.left_out, *given.usable.notes())
    whole = len(given.usable.pictures)
    if whole > MOST_GOOD:
        wanted = max(FEWEST, round(given.groups.count * MOST_GOOD / whole))
        given = _of_groups(given, places_over(given.groups.count, wanted))
        notes = (*notes, f"judged by {len(given.usable.pictures)} of {whole} good pictures, from all over them")
    return given, whole, notes


def _labelled(job: TuneJob) -> Sequence[LabelledImage]:
    try:
        return image_folder(job.images, labelled=True).labelled
    except DatasetError:
        # A folder of good parts alone: defects are drawn.
        return ()


def _third(
    every: Pictures, *, tied: bool
) -> tuple[Pictures | None, npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_] | None]:
    """Return every third group of good parts and of defects, and which of both they are."""
    groups = every.good.groups.count
    defect_groups = int(every.group.max()) + 1
    if groups < _ENOUGH_GOOD or (not tied and defect_groups < _ENOUGH_BAD):
        return None, None, None
    chosen = np.arange(0, groups, _A_THIRD)
    good = np.isin(np.arange(groups), chosen)
    bad = np.isin(every.group, chosen) if tied else every.group % _A_THIRD == 0
    part = _of_groups(every.good, chosen.tolist())
    defects = tuple(one for one, taken in zip(every.defects, bad, strict=True) if taken)
    group = np.unique(every.group[bad], return_inverse=True)[1]
    source = _sources(part, defects) if tied else None
    if tied:
        group = part.groups.group[source]
    return Pictures(part, defects, np.asarray(group, dtype=np.int64), source, every.fitted), good, bad


def parts_of(pictures: Pictures, *, tied: bool) -> Parts:
    """Return what pictures are judged as."""
    return Parts(pictures.good.groups.count, pictures.group, tied)


def _of_groups(given: PictureSet, groups: Collection[int]) -> PictureSet:
    kept = set(groups)
    labelled = zip(given.usable.paths, given.groups.group.tolist(), strict=True)
    return given.without([path for path, group in labelled if group not in kept])


def _sources(good: PictureSet, defects: Sequence[Shown]) -> npt.NDArray[np.int64]:
    places = {path: place for place, path in enumerate(good.usable.paths)}
    return np.array([places[one.path] for one in defects], dtype=np.int64)
