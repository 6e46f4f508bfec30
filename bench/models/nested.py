"""The most unusual patches of images for several memory banks at once, each the beginning of the next."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from neverblink.vision.neighbours import AugmentedGemm

_COARSE = 4
"""A first bound comes from one in so many vectors of the smallest bank."""

_FIRST = 48
"""Patches an image that are measured first when a bank grows: the most unusual ones of the smaller bank."""


class NestedBanks:
    """A greedy choice begins with that of a smaller bank, so one pass over the largest scores with all of them.

    A patch is no farther from a larger bank: the smaller one's distances bound the larger one's, and only patches
    whose bound is above the `most`-th largest distance are compared with the vectors that were added.
    """

    def __init__(self, bank: Tensor, sizes: Sequence[int], most: int) -> None:
        """`bank` (M, C) in greedy order; `sizes` of the banks, rising, from 2 up to M."""
        # The beginnings of a greedy choice are its oddest vectors: of the smallest bank a part by chance bounds better.
        first = torch.randperm(sizes[0], generator=torch.Generator().manual_seed(0))
        cut = max(1, sizes[0] // _COARSE)
        self._coarse = AugmentedGemm(bank[first[:cut]])
        self._parts = [AugmentedGemm(part) for part in (bank[first[cut:]], *(bank[a:b] for a, b in pairwise(sizes)))]
        self._most = most

    def top(self, patches: Tensor) -> Tensor:
        """Return (sizes, N, most) the largest distances of (N, P, C) patches, falling."""
        found = []
        bound = self._coarse.distances(patches.flatten(0, 1)).view(patches.shape[:2])
        for part in self._parts:
            first = torch.zeros_like(bound, dtype=torch.bool)
            first.scatter_(1, bound.topk(min(_FIRST, bound.shape[1]), dim=1).indices, True)
            self._lower(part, patches, bound, first)
            reached = torch.where(first, bound, 0).topk(self._most, dim=1).values[:, -1:]
            self._lower(part, patches, bound, ~first & (bound > reached))
            # What is left has a bound that is too large, but not large enough to matter.
            found.append(bound.topk(self._most, dim=1).values)
        return torch.stack(found)

    def maps(self, patches: Tensor) -> Iterator[Tensor]:
        """Yield for each bank the (N, P) distances of (N, P, C) patches, all of them exact."""
        distances = self._coarse.distances(patches.flatten(0, 1)).view(patches.shape[:2])
        for part in self._parts:
            distances = torch.minimum(distances, part.distances(patches.flatten(0, 1)).view(patches.shape[:2]))
            yield distances

    @staticmethod
    def _lower(part: AugmentedGemm, patches: Tensor, bound: Tensor, where: Tensor) -> None:
        if where.any():
            bound[where] = torch.minimum(bound[where], part.distances(patches[where]))
