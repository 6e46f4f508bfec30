"""The nearest bank vector by lower bounds in few dimensions, and exact distances to what is left."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from neverblink.vision.neighbours.search import ALIGNED, BLOCK_FLOATS, Nearest, NeighbourIndex, filled, rows_of, scratch

_PAIR_FLOATS = 1 << 18
"""Numbers of the candidates that are measured at once: the differences stay in the cache."""

_KEPT_VARIANCE = 0.9
"""Of the bank, in the projection of `PrunedGemm`: 62 of 152 and 110 of 384 dimensions on magnetic tiles."""

_KNOWN_VARIANCE = 0.985
"""Of the bank, in the leading and the next directions together."""

_GROUP = ALIGNED

_TILE = 1024
"""Bank vectors whose lower bounds share one minimum, and those of one matrix product: half as many halve its speed."""

_ROUNDING = 4e-6
"""Of the squared norms: more than float32 can be wrong about a lower bound."""


@dataclass(frozen=True)
class _Split:
    """(N, C) vectors by the directions of a bank: the leading ones (N, k), the next (N, m), and lengths (N,) of what
    is `outside` the leading and `beyond` both.
    """

    leading: Tensor
    next: Tensor
    outside: Tensor
    beyond: Tensor

    def __getitem__(self, rows: slice) -> "_Split":
        return _Split(self.leading[rows], self.next[rows], self.outside[rows], self.beyond[rows])


class PrunedGemm(NeighbourIndex):
    """The exact minimum by lower bounds in few dimensions, and exact distances only to what can still be it.

    With y split into its part P y in the leading directions of the bank and the length r of what is left of it,
    |x-y|² ≥ |Px-Py|² + (r_x - r_y)²: again one matrix product, but k + 2 wide instead of C + 1. The best bound's
    vector gives a distance that the minimum cannot exceed; whose bound is above it is out. The same bound with the
    next directions, pair by pair, leaves few candidates to be measured.
    """

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank.contiguous()
        self._centre = bank.mean(dim=0)
        centred = bank - self._centre
        squared = centred.square().sum(dim=1)
        self._largest = squared.max()
        self._directions, self._leading = _directions(centred)
        self._split_bank = self._split(centred, squared)
        outside = self._split_bank.outside.unsqueeze(1)
        self._matrix = filled(torch.cat([-2 * self._split_bank.leading, -2 * outside, squared.unsqueeze(1)], dim=1))
        self._rows = max(64, min(1024, 2 * BLOCK_FLOATS // len(self._matrix) // 64 * 64))

    def _split(self, centred: Tensor, squared: Tensor) -> _Split:
        inside = centred @ self._directions
        leading, following = inside[:, : self._leading].contiguous(), inside[:, self._leading :].contiguous()
        left = (squared - leading.square().sum(dim=1)).clamp_min_(0)
        beyond = (left - following.square().sum(dim=1)).clamp_min_(0)
        return _Split(leading, following, left.sqrt_(), beyond.sqrt_())

    @torch.inference_mode()
    def nearest(self, queries: Tensor) -> Nearest:
        """Return the nearest bank vector of each of (Q, C) float32 queries."""
        asked = len(queries)
        queries = torch.cat([queries, self._centre.expand(-asked % ALIGNED, -1)])
        centred = queries - self._centre
        squared = centred.square().sum(dim=1)
        split = self._split(centred, squared)
        augmented = torch.cat([split.leading, split.outside.unsqueeze(1), torch.ones_like(centred[:, :1])], dim=1)
        distance, index = torch.empty_like(squared), torch.empty_like(squared, dtype=torch.int64)
        buffer = scratch("distances", queries, len(self._matrix) * min(self._rows, len(queries)))
        for start in range(0, len(queries), self._rows):
            rows = slice(start, start + self._rows)
            bounds, lowest = self._bounds(augmented[rows], buffer)
            distance[rows], index[rows] = self._minimum(queries[rows], split[rows], squared[rows], bounds, lowest)
        return Nearest(distance[:asked].sqrt_(), index[:asked])

    def _bounds(self, augmented: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lower bounds less |x|² in groups, (G, 16, n), and the lowest of each group, (G, n)."""
        count = len(augmented)
        bounds = buffer[: len(self._matrix) * count].view(-1, count)
        lowest = bounds.new_empty((len(bounds) // _GROUP, count))
        for start in range(0, len(bounds), _TILE):
            tile = bounds[start : start + _TILE]
            torch.mm(self._matrix[start : start + _TILE], augmented.T, out=tile)
            first = start // _GROUP
            torch.amin(tile.view(-1, _GROUP, count), dim=1, out=lowest[first : first + len(tile) // _GROUP])
        return bounds.view(-1, _GROUP, count), lowest

    def _minimum(
        self, queries: Tensor, split: _Split, squared: Tensor, bounds: Tensor, lowest: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the squared distance to the nearest bank vector of (n, C) queries, (n,), and its index, (n,)."""
        group = argmin(lowest)
        index = group * _GROUP + bounds[group, :, torch.arange(len(queries), device=group.device)].argmin(dim=1)
        distance = self._squared_distance(queries, index)
        limit = distance - squared + _ROUNDING * (squared + self._largest)
        group, query = torch.nonzero(lowest <= limit, as_tuple=True)
        members = bounds[group, :, query]
        row, member = torch.nonzero(members <= limit[query].unsqueeze(1), as_tuple=True)
        candidate, query, bound = group[row] * _GROUP + member, query[row], members[row, member]
        possible = torch.empty_like(query, dtype=torch.bool)
        for some in _parts(len(query), split.next.shape[1]):
            possible[some] = self._closer_bound(split, query[some], candidate[some], bound[some]) <= limit[query[some]]
        candidate, query = candidate[possible], query[possible]
        exact = torch.empty_like(query, dtype=queries.dtype)
        for some in _parts(len(query), queries.shape[1]):
            exact[some] = self._squared_distance(rows_of(queries, query[some], "asked"), candidate[some])
        distance.scatter_reduce_(0, query, exact, "amin")
        best = exact == distance[query]
        # Of copies the first in the bank counts.
        index.scatter_reduce_(0, query[best], candidate[best], "amin", include_self=False)
        return distance, index

    def _closer_bound(self, split: _Split, query: Tensor, candidate: Tensor, bound: Tensor) -> Tensor:
        """Return the (p,) bounds of some pairs with the next directions in them."""
        bank = self._split_bank
        apart = rows_of(bank.next, candidate, "differences").sub_(rows_of(split.next, query, "asked"))
        outside = (split.outside[query] - bank.outside[candidate]).square_()
        beyond = (split.beyond[query] - bank.beyond[candidate]).square_()
        return apart.square_().sum(dim=1).add_(beyond).sub_(outside).add_(bound)

    def _squared_distance(self, queries: Tensor, index: Tensor) -> Tensor:
        return rows_of(self._bank, index, "differences").sub_(queries).square_().sum(dim=1)


def _parts(pairs: int, width: int) -> Iterator[slice]:
    """Cut pairs into parts whose vectors stay in the cache: without leading directions nearly all are candidates."""
    at_once = max(1, _PAIR_FLOATS // max(1, width))
    for start in range(0, pairs, at_once):
        yield slice(start, start + at_once)


def argmin(columns: Tensor) -> Tensor:
    """Return (n,) the row of each column's minimum in (G, n): in two steps, as along columns `argmin` is slow."""
    count = columns.shape[1]
    padded = torch.cat([columns, columns[-1:].expand(-len(columns) % 32, -1)]).view(-1, 32, count)
    block = padded.amin(dim=1).argmin(dim=0)
    row = block * 32 + padded[block, :, torch.arange(count, device=columns.device)].argmin(dim=1)
    return row.clamp(max=len(columns) - 1)


def _directions(centred: Tensor) -> tuple[Tensor, int]:
    """Return (C, k + m) orthonormal directions that hold nearly all variance of (M, C) centred vectors, and k."""
    values, vectors = torch.linalg.eigh((centred.T @ centred).double())
    share = values.flip(0).cumsum(0) / values.sum()
    kept, known = (int((share < enough).sum()) + 1 for enough in (_KEPT_VARIANCE, _KNOWN_VARIANCE))
    # With the two columns that the product has besides, again a multiple of a cache line.
    kept = min(kept + -(kept + 2) % ALIGNED, len(values))
    known = min(max(known, kept), len(values))
    return vectors.flip(1)[:, :known].to(centred.dtype).contiguous(), kept
