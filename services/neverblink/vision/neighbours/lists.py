"""A bank in lists of vectors that lie near each other, each with a vector of its own at its head."""

from dataclasses import dataclass

import torch
from torch import Tensor

_SAMPLE = 1 << 14
"""Vectors that k-means looks at: the lists of all of a larger bank are no shorter way."""

_ROUNDS = 4

_LEAST, _MOST = 8, 256

_AT_ONCE = 1 << 12


@dataclass(frozen=True)
class BankLists:
    """`order` (M,) int64: the bank in the order of its lists, within a list as before; `place` (M,) is its inverse.

    `starts` are where lists begin in that order, and the end; `sizes` (L,) their lengths; `heads` (L,) int64 the places
    of their heads, each the bank vector nearest to the middle.
    """

    order: Tensor
    place: Tensor
    starts: list[int]
    sizes: Tensor
    heads: Tensor


@torch.inference_mode()
def bank_lists(vectors: Tensor) -> BankLists:
    """Sort (M, C) float32 vectors into lists by k-means: half the root of M, 8 to 256 of them at most."""
    wanted = min(len(vectors), max(_LEAST, min(_MOST, round(len(vectors) ** 0.5 / 2))))
    generator = torch.Generator().manual_seed(0)
    some = vectors[torch.randperm(len(vectors), generator=generator)[:_SAMPLE]]
    middles = some[:wanted].clone()
    for _ in range(_ROUNDS):
        nearest = _nearest(some, middles)
        count = torch.bincount(nearest, minlength=wanted).unsqueeze(1)
        total = torch.zeros_like(middles).index_add_(0, nearest, some)
        middles = torch.where(count > 0, total / count.clamp(min=1), middles)
    # A bound must be the distance to a vector of the bank, and a mean is none.
    heads = torch.unique(_nearest(middles, vectors))
    own = _nearest(vectors, vectors[heads])
    # Its own middle, whatever rounding says.
    own[heads] = torch.arange(len(heads))
    order = own.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    sizes = torch.bincount(own, minlength=len(heads))
    return BankLists(order, place, [0, *sizes.cumsum(0).tolist()], sizes, place[heads])


def _nearest(queries: Tensor, vectors: Tensor) -> Tensor:
    """Return (q,) the nearest of (M, C) vectors, as near as float32 tells, of (q, C) queries."""
    half = vectors.square().sum(dim=1).mul_(0.5)
    rows = max(1, _AT_ONCE * _LEAST * 128 // max(len(vectors), 1))
    parts = torch.split(queries, rows)
    found = [torch.addmm(half, part, vectors.T, alpha=-1).argmin(dim=1) for part in parts]
    return torch.cat(found)
