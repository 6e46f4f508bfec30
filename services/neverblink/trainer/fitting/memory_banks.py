"""The memory banks of a fit: one of all images, one for each fold."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.fitting.feature_store import FeatureStore
from neverblink.trainer.fitting.settings import LEAST_GIB, PROGRAM_GIB, FitSettings
from neverblink.trainer.fitting.views import Views
from neverblink.vision.calibration import folds
from neverblink.vision.coreset import Condensed, condense, greedy_k_center, project
from neverblink.vision.region import Mask

_GIB = 1024**3

_RATIO, _LEAST_RATIO = 0.04, 0.01
_FEW, _FEW_RATIO = 8192, 0.25
_MANY = 65_536

_CHOSEN_AT_ONCE = 1_000_000_000
"""Patches times vectors wanted (156 images of 256 px at 4 %): more are condensed fold by fold, for the work of one
choice is their product.
"""

_CONDENSED_AT_ONCE = 1 << 17
"""Patches of a chunk (128 images of 256 px): the work of a chunk grows with the square of its size."""

_KEPT = 2.0
"""Times its share that each fold keeps: on magnetic tiles 1.5, 2 and 5 end at 1.08 to 1.11 of the greedy radius."""


def room_of(settings: FitSettings) -> int:
    """Return the bytes left for features. Raises DatasetError when the limit does not even hold the program."""
    if settings.memory_gib < LEAST_GIB:
        raise DatasetError(
            f"{settings.memory_gib:g} GiB of memory do not hold the network and a batch; allow {LEAST_GIB:g}"
        )
    return int((settings.memory_gib - PROGRAM_GIB) * _GIB)


def projected(features: FeatureStore, settings: FitSettings) -> FeatureStore:
    """Return the features in the few dimensions in which the coreset is chosen."""
    dimension = project(features.image(0), settings.projection, seed=settings.seed).shape[1]
    found = FeatureStore(
        len(features), features.patches, dimension, in_memory=room_of(settings) // 3, scratch=settings.scratch
    )
    for index in range(len(features)):
        found.append(project(features.image(index), settings.projection, seed=settings.seed))
    return found


def usual_ratio(patches: int) -> float:
    """Return the share of so many patches that a memory bank holds when nobody says it.

    4 %, beyond which the ranking of magnetic tiles hardly gains. Few images get more, as the search of so few vectors
    costs little: up to 8,192 vectors, but a quarter of the patches at most. Of thousands of images 65,536 vectors are
    kept, or 1 % where that is more: time and memory of a fit and of a search grow with them.
    """
    wanted = max(min(_RATIO * patches, _MANY), _LEAST_RATIO * patches, min(_FEW, _FEW_RATIO * patches))
    return wanted / patches


class Banks:
    """The memory bank of all images, and those of all images but one fold's.

    Few patches: each bank is the greedy choice among all its patches. Many: what each fold keeps is chosen once,
    and each bank from what its folds kept: six banks for less than the work of one.
    """

    def __init__(
        self,
        features: FeatureStore,
        projected: FeatureStore,
        views: Views,
        settings: FitSettings,
        *,
        levels: Literal[1, 2] | None = None,
    ) -> None:
        """`projected` are the features in the dimensions that choose; `levels` of k-center, None: by the work."""
        # Copies of a picture share its fold: no bank may know an image by a copy of it.
        groups = int(views.group.max()) + 1
        self.fold_of = torch.from_numpy(folds(groups, settings.folds, seed=settings.seed)[views.group])
        self.features = features
        self._projected = projected
        self._settings = settings
        self._patches = features.patches
        # All inputs of an image are in its fold: no bank may know an image by a brighter copy of it.
        self._fold_of_row = self.fold_of.repeat_interleave(views.an_image)
        region = torch.ones((1, self._patches), dtype=torch.bool) if views.region is None else flat(views.region)
        self._inside = region.repeat(len(self._fold_of_row) // len(region), 1) if len(region) > 1 else region
        size = 4 * self._patches * projected.dimension
        self._rows_at_once = max(1, min(room_of(settings) // 6 // size, _CONDENSED_AT_ONCE // self._patches))
        judged = int(self._inside.sum()) * (len(features) if len(self._inside) == 1 else 1)
        # In several lights an image needs no more vectors: of magnetic tiles in three, as many rank better than in one.
        lights = len(settings.brightness)
        self.ratio = settings.ratio or usual_ratio(max(1, judged // lights)) / lights
        self._at_once = not projected.on_disk and self.ratio * judged**2 <= _CHOSEN_AT_ONCE
        if levels is not None:
            self._at_once = levels == 1
        self._condensed: list[Condensed] = []

    @property
    def levels(self) -> Literal[1, 2]:
        """Return by how many levels of k-center the banks are chosen."""
        return 1 if self._at_once else 2

    def all_images(self, progress: Callable[[int, int], None]) -> Tensor:
        """Return the (M, C) bank of all images."""
        every = torch.arange(len(self.features))
        if self._at_once:
            return self._chosen_at_once(every, progress)
        wanted = self._wanted(every)
        total = round(_KEPT * wanted) + wanted
        self.condense_folds(lambda kept: progress(kept, total))
        return self._chosen_from(self._condensed, wanted, lambda done, of: progress(total - of + done, total))

    def condense_folds(self, told: Callable[[int], None] = lambda _: None) -> None:
        """Choose what each fold keeps, once, where banks are chosen by two levels; `told` how many vectors are kept."""
        kept = 0
        told(kept)
        for fold in range(0 if self._at_once or self._condensed else int(self.fold_of.max()) + 1):
            self._condensed.append(self._condense(fold))
            kept += len(self._condensed[-1].positions)
            told(kept)

    def without(self, fold: int) -> Tensor:
        """Return the (M, C) bank of all images but those of a fold; after `all_images` or `condense_folds`."""
        others = torch.nonzero(self._fold_of_row != fold).flatten()
        if self._at_once:
            return self._chosen_at_once(others)
        condensed = [kept for other, kept in enumerate(self._condensed) if other != fold]
        return self._chosen_from(condensed, self._wanted(others))

    def _wanted(self, rows: Tensor) -> int:
        return max(1, round(self.ratio * int(self._inside_of(rows).sum())))

    def _positions(self, rows: Tensor) -> Tensor:
        """Return which patches of some rows are judged, counted over the patches of all rows."""
        every = rows.unsqueeze(1) * self._patches + torch.arange(self._patches)
        return every[self._inside_of(rows)]

    def _inside_of(self, rows: Tensor) -> Tensor:
        return self._inside[rows] if len(self._inside) > 1 else self._inside.expand(len(rows), -1)

    def _vectors(self, rows: Tensor) -> Tensor:
        """Return the projected patches of some rows that are judged, in the order of `_positions`."""
        return self._projected.images(rows)[self._inside_of(rows)]

    def _chosen_at_once(self, rows: Tensor, progress: Callable[[int, int], None] | None = None) -> Tensor:
        chosen = greedy_k_center(
            self._vectors(rows),
            self._wanted(rows),
            seed=self._settings.seed,
            starts=self._settings.starts,
            progress=progress,
        )
        return self.features.gather(self._positions(rows)[chosen])

    def _condense(self, fold: int) -> Condensed:
        """Return what a fold keeps; positions count over the patches of all rows."""
        rows = torch.nonzero(self._fold_of_row == fold).flatten()
        settings = self._settings
        kept = condense(
            (self._vectors(some) for some in torch.split(rows, self._rows_at_once)),
            min(1.0, _KEPT * self.ratio),
            seed=settings.seed,
            starts=settings.starts,
        )
        return Condensed(kept.vectors, self._positions(rows)[kept.positions])

    def _chosen_from(
        self, condensed: Sequence[Condensed], wanted: int, progress: Callable[[int, int], None] | None = None
    ) -> Tensor:
        positions = torch.cat([kept.positions for kept in condensed])
        chosen = greedy_k_center(
            torch.cat([kept.vectors for kept in condensed]),
            wanted,
            seed=self._settings.seed,
            starts=self._settings.starts,
            progress=progress,
        )
        return self.features.gather(positions[chosen])


def flat(region: Mask) -> Tensor:
    """Return a region (R, h, w) as one row of patches each, (R, h·w) bool."""
    return torch.from_numpy(region.reshape(len(region), -1))
