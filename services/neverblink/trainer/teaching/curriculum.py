"""What a U-Net sees in each epoch: every defect, rare types more often, and good inputs in their share."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.datasets.sample_store import SampleStore
from neverblink.trainer.teaching.defect_division import Division, is_synthetic


class Place(NamedTuple):
    """Where a network input comes from: an image, and which of its tiles."""

    image: DefectImage
    tile: int


class Curriculum:
    """The inputs of every epoch, by its number; the same each time it is asked for."""

    def __init__(
        self,
        division: Division,
        store: SampleStore,
        *,
        good_share: float,
        balance: float,
        real_weight: float,
        at_least: int,
        seed: int,
    ) -> None:
        """An epoch has as many marked inputs as there are, but `at_least` inputs, of which `good_share` are good.

        `balance` from 0 (each image once) to 1 (each type as often); a real defect comes `real_weight` times as
        often as a synthetic one.
        """
        self._seed = seed
        self._defective: list[Place] = []
        self._good: list[Place] = []
        for image in (*division.defective, *division.good):
            for tile, sample in enumerate(store.samples(image)):
                # A tile without the defect of its image is a good input, unless the defect may be there unmarked.
                if sample.masks:
                    self._defective.append(Place(image, tile))
                elif not sample.unmarked:
                    self._good.append(Place(image, tile))
        counts = Counter(name for image in division.defective for name in image.types)
        most = max(counts.values())
        weights = np.array(
            [
                (most / min(counts[name] for name in image.types)) ** balance
                * (1.0 if is_synthetic(image) else real_weight)
                for image, _ in self._defective
            ]
        )
        self._shares = weights.cumsum() / weights.sum()
        self._marked = max(len(self._defective), math.ceil((1 - good_share) * at_least))
        self._clean = round(self._marked * good_share / (1 - good_share)) if self._good else 0

    def __len__(self) -> int:
        return self._marked + self._clean

    def epoch(self, number: int) -> list[Place]:
        """Return the inputs of an epoch in their order."""
        random = np.random.default_rng([self._seed, number])
        # One draw, the rest at even distances: an input of weight 2 comes twice, not two times on average.
        positions = (random.random() + np.arange(self._marked)) / self._marked
        marked = np.searchsorted(self._shares, positions, side="right").clip(max=len(self._defective) - 1)
        chosen = [self._defective[index] for index in marked]
        left = self._clean
        while left > 0:
            drawn = random.permutation(len(self._good))[:left]
            chosen += [self._good[index] for index in drawn]
            left -= len(drawn)
        return [chosen[index] for index in random.permutation(len(chosen))]
