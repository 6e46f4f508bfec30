"""How far every patch of each picture lies from each other picture: the scores of any bank, in milliseconds.

A bank that is made of some pictures knows a patch by the nearest of theirs, so the smallest of their distances is what
the bank would say. What is found once serves every draw of bank, folds and parts of tomorrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from neverblink.vision.backbones import load_backbone
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.preprocess import Preprocess

SIDE = 128
KEPT = 0.1
"""Share of each picture's patches that banks know: 26 of 256."""

BATCH = 16
PROJECTION = 64

Image = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PictureDistances:
    """`nearest` (n, m, patches) float32: to each of m pictures of good parts the distance of each picture's patch."""

    nearest: npt.NDArray[np.float32]

    def scores(self, judged: Places, bank: Places) -> Scores:
        """Return the scores (j,) float32 of the pictures `judged` by a bank of the pictures `bank`."""
        return np.array([self.nearest[one][bank].min(axis=0).max() for one in judged.tolist()], dtype=np.float32)

    def held_out(self, pictures: Places, fold_of: Places) -> Scores:
        """Return the score of each of `pictures` (p,) by a bank of those in other folds."""
        found = np.empty(len(pictures), dtype=np.float32)
        for fold in np.unique(fold_of):
            inside = fold_of == fold
            found[inside] = self.scores(pictures[inside], pictures[~inside])
        return found


def distances(pictures: Sequence[Image], good: int, cache: Path) -> PictureDistances:
    """Return the distances of all `pictures`, (H, W, 3) uint8 RGB, to the first `good` of them.

    They are kept in the file `cache`, half as wide.
    """
    if not cache.is_file():
        extractor = FeatureExtractor(load_backbone(DEFAULT_MODEL, preprocess=Preprocess(resize=SIDE)))
        parts = [extractor.extract(pictures[start : start + BATCH]).cpu() for start in range(0, len(pictures), BATCH)]
        features = torch.cat(parts).flatten(1, 2)
        patches = features.shape[1]
        kept = round(KEPT * patches)
        banks = [one[greedy_k_center(project(one, PROJECTION, seed=0), kept)] for one in features[:good]]
        bank = torch.cat(banks)
        norms = (bank * bank).sum(dim=1)
        nearest = np.empty((len(features), good, patches), dtype=np.float16)
        for place, one in enumerate(features):
            apart = (one * one).sum(dim=1, keepdim=True) + norms - 2 * one @ bank.T
            closest = apart.view(patches, good, kept).amin(dim=2).clamp_min(0).sqrt()
            nearest[place] = closest.T.numpy()
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.save(cache, nearest)
    return PictureDistances(np.load(cache).astype(np.float32))
