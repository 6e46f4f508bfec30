"""What each training picture scores by a bank that never saw it, nor another picture of its group."""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.job_life.progress import Progress
from neverblink.trainer.fitting.memory_banks import Banks
from neverblink.trainer.fitting.views import Views
from neverblink.vision.copies import Groups, one_each
from neverblink.vision.patchcore import PatchCore

Floats = npt.NDArray[np.float32]

MAPS = 24
"""So many of the highest pictures keep their maps, to be looked at."""

_MAP_SIDE = 256


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out scores and highest map values (n,) of all pictures, the `group` (n,) int64 of each, and the maps
    (h, w) of the highest by their places.
    """

    scores: Floats
    peaks: Floats
    group: Groups
    maps: dict[int, Floats] = field(default_factory=dict)

    def one_a_group(self) -> tuple[Floats, Floats]:
        """Return each group's worst score and highest map value: what calibrates."""
        return one_each(self.scores, self.group), one_each(self.peaks, self.group)


def cross_fitted(
    banks: Banks, views: Views, grid: tuple[int, int], scorer: Callable[[Tensor], PatchCore], progress: Progress
) -> HeldOut:
    """Score every picture by the bank of the other folds, made into a model by `scorer`."""
    count = len(views.images)
    scores = np.empty(count, dtype=np.float32)
    peaks = np.empty(count, dtype=np.float32)
    maps: dict[int, Floats] = {}
    done = 0
    progress("calibrating", done, count)
    for fold in range(int(banks.fold_of.max()) + 1):
        model = scorer(banks.without(fold))
        for image in torch.nonzero(banks.fold_of == fold).flatten().tolist():
            rows = torch.tensor(views.judged(image))
            features = banks.features.images(rows).view(len(rows), *grid, -1)
            anomaly = views.anomaly(model.score(features, complete=True))
            scores[image], peaks[image] = anomaly.score, anomaly.anomaly_map.max()
            maps[image] = small_map(anomaly.anomaly_map)
            if len(maps) > MAPS:
                del maps[min(maps, key=lambda place: float(scores[place]))]
            done += 1
            progress("calibrating", done, count)
    return HeldOut(scores, peaks, views.group, maps)


def small_map(anomaly_map: Floats) -> Floats:
    """Return an (h, w) map as small as it is kept to be looked at."""
    height, width = anomaly_map.shape
    scale = _MAP_SIDE / max(height, width)
    if scale >= 1:
        return anomaly_map
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
