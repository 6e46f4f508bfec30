"""What each named region of an image scores: its farthest patches, and whether what must be there is there.

All scores are in one unit: a region's distance over its own level. So one threshold serves all of them, the highest
decides, and an edited threshold scales all alike.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.vision.inspection import Anomaly, RegionSeen
from neverblink.vision.map_on_demand import Map, MapOnDemand
from neverblink.vision.named_regions.fitted import FittedRegions
from neverblink.vision.named_regions.presence import UNLIKE
from neverblink.vision.patchcore import PatchCore, patches_of
from neverblink.vision.preprocess import Preprocess


class Scorer(Protocol):
    """What makes anomalies of features: a memory bank, with named regions or without."""

    def score(self, features: Tensor, *, complete: bool = False, tiles: Sequence[int] | None = None) -> list[Anomaly]:
        """Return the anomaly of each input of (N, h, w, C) features."""


class RegionScorer:
    """Scores inputs by named regions; `score` is PatchCore's."""

    def __init__(
        self, patchcore: PatchCore, fitted: FittedRegions, preprocess: Preprocess, grid: tuple[int, int]
    ) -> None:
        self._patchcore, self._fitted = patchcore, fitted
        self._regions = patches_of(fitted.places.labels)
        self._levels = fitted.levels
        self._weights = weights_of(fitted, preprocess, grid)

    def score(self, features: Tensor, *, complete: bool = False, tiles: Sequence[int] | None = None) -> list[Anomaly]:
        """Return the anomaly of each input of (N, h, w, C) features; an image's inputs follow one another.

        A region that an input does not show has the score 0 in it. `tiles` says nothing here: all are searched.
        """
        count = len(self._fitted.spec.regions)
        distances, maps = self._patchcore.score_by_region(features, self._regions, count, complete=complete)
        unusual = distances.cpu().numpy().astype(np.float64) / self._levels
        presence, looks = self._looked(features)
        found = []
        for index, raw in enumerate(maps):
            seen = tuple(
                RegionSeen(region.name, float(unusual[index, place]), *_of(presence, looks, index, place))
                for place, region in enumerate(self._fitted.spec.regions)
                if region.kind != "ignored"
            )
            weights = self._weights[index % len(self._weights)]
            found.append(Anomaly(float(np.max([one.score for one in seen])), _weighted(raw, weights), seen))
        return found

    def _looked(self, features: Tensor) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], str | None]]:
        """Return the presence scores of inputs, and what they look like, by (input, region)."""
        scores: dict[tuple[int, int], float] = {}
        looks: dict[tuple[int, int], str | None] = {}
        tiles = len(self._regions)
        rows = features.shape[0]
        for place, looked in self._fitted.places.looked.items():
            own = list(range(looked.tile, rows, tiles))
            model, levels = self._fitted.presence[place], self._fitted.checks(place)
            patches = features[own].flatten(1, 2)[:, torch.from_numpy(looked.patches).to(features.device)]
            vectors = looked.means(patches.float().cpu().numpy())
            ratios = model.scores(vectors) / levels
            for row, ratio, near in zip(own, ratios, model.nearest(vectors), strict=True):
                scores[row, place] = float(np.max(ratio))
                check = model.checks[int(np.argmax(ratio))]
                looks[row, place] = check if check != UNLIKE else near
        return scores, looks


def joined_regions(tiles: Sequence[tuple[RegionSeen, ...]]) -> tuple[RegionSeen, ...]:
    """Return what the regions of an image say, of what its tiles say of them: what is most unusual, or not there."""
    found = []
    for own in zip(*tiles, strict=True):
        looked = [one for one in own if one.presence is not None]
        shown = looked[0] if looked else own[0]
        found.append(replace(shown, unusual=float(np.max([one.unusual for one in own]))))
    return tuple(found)


def _of(
    presence: dict[tuple[int, int], float], looks: dict[tuple[int, int], str | None], index: int, place: int
) -> tuple[float | None, str | None]:
    return presence.get((index, place)), looks.get((index, place))


def _weighted(raw: Map | MapOnDemand, weights: Map) -> Map | MapOnDemand:
    if isinstance(raw, MapOnDemand):
        return MapOnDemand(lambda: raw.get() * weights)
    return raw * weights


def weights_of(fitted: FittedRegions, preprocess: Preprocess, grid: tuple[int, int]) -> list[Map]:
    """Return one map a tile that brings distances to the unit of their region; 0 where nothing is judged."""
    by_label = np.append(1 / fitted.levels, 0).astype(np.float32)
    return [by_label[label] for label in label_maps(fitted.places.labels, preprocess, grid)]


def label_maps(
    labels: npt.NDArray[np.int64], preprocess: Preprocess, grid: tuple[int, int]
) -> list[npt.NDArray[np.int64]]:
    """Return (T, h · w) labels as maps over their inputs, as fine as anomaly maps; -1 where nothing is judged."""
    side = preprocess.side
    found = []
    for own in labels:
        # Zero is what a crop leaves out.
        plane = (own.reshape(grid) + 1).astype(np.float32)
        fine = np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_NEAREST), dtype=np.float32)
        found.append(np.rint(preprocess.uncrop(fine)).astype(np.int64) - 1)
    return found
