"""What searches for nearest neighbours have in common: their face, the true distance, memory that is used again."""

import math
import threading
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

BLOCK_FLOATS = 1 << 23
"""Distances held at once, 32 MB, and twice that by `PrunedGemm`: 400 and 800 queries against 20,000 vectors; 200 take
a fifth more time."""

ALIGNED = 16
"""A matrix product is up to three times slower when the rows of its result are no multiple of a cache line."""


@dataclass(frozen=True)
class Nearest:
    """`distance` (Q,) float32, the true L2 distance; `index` (Q,) int64 into the bank."""

    distance: Tensor
    index: Tensor


class NeighbourIndex(Protocol):
    """Finds nearest neighbours in a fixed bank."""

    def nearest(self, queries: Tensor) -> Nearest:
        """Return the nearest bank vector of each of (Q, C) float32 queries."""
        ...

    def distances(self, queries: Tensor) -> Tensor:
        """Return (Q,) float32, the L2 distance to it alone, within 1e-4: cheaper than `nearest`, never dearer."""
        return self.nearest(queries).distance


def true_distance(queries: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Measure the winners directly: the expanded formula finds them, but loses digits at small distances."""
    return cast(Tensor, torch.linalg.vector_norm(bank[index].sub_(queries), dim=1))


class _Scratch(threading.local):
    """Memory of this thread for what is overwritten by each search: fresh pages cost more than what they hold."""

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}


_SCRATCH = _Scratch()


def scratch(purpose: str, like: Tensor, *shape: int) -> Tensor:
    """Return a tensor of some shape, its content undefined, that the next call for the same purpose reuses."""
    size = math.prod(shape)
    if like.device.type != "cpu":
        return like.new_empty(shape)
    kept = _SCRATCH.kept.get(purpose)
    if kept is None or len(kept) < size:
        kept = _SCRATCH.kept[purpose] = like.new_empty(size)
    return kept[:size].view(shape)


def rows_of(vectors: Tensor, index: Tensor, purpose: str) -> Tensor:
    """Return a copy of some rows in scratch memory."""
    rows = scratch(purpose, vectors, len(index), vectors.shape[1])
    return torch.index_select(vectors, 0, index, out=rows)


def filled(matrix: Tensor, multiple: int = ALIGNED) -> Tensor:
    """Fill (M, w) up with vectors infinitely far away, to a multiple of rows: the last column is the squared norm."""
    filling = matrix.new_zeros((-len(matrix) % multiple, matrix.shape[1]))
    filling[:, -1] = torch.inf
    return torch.cat([matrix, filling])
