"""The patches farthest from the bank, exactly, without the nearest bank vector of every patch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from neverblink.vision.neighbours.lists import BankLists, bank_lists
from neverblink.vision.neighbours.pruned import PrunedGemm
from neverblink.vision.neighbours.search import ALIGNED, BLOCK_FLOATS, NeighbourIndex, filled, scratch, true_distance

_FIRST = 16
"""Patches of an image that are searched whole before anything is known: fewer cost nearly as much."""

_NEXT = 32
"""Patches of an image that are searched whole next, and twice as many each turn after."""

_PROBES = 2
"""Lists that are looked into: a second one halves what is left to be searched whole."""

_MANY, _OF_MANY = 24, 20_000
"""Patches that are searched whole at once, and bank vectors, beyond which pruning is faster than the full width: 76 ms
of CPU instead of 89 for an image and 78,000 vectors, 33 instead of 54 in a batch of eight, and no less at 7,800."""

_LOPSIDED = 4
"""Lists that hold more than this part of the bank, for the patches asked, are no short cut."""

_CROWDED = 64
"""Candidates of a patch beyond which they are told apart in float64, not measured one by one."""

_WIDE = 1 << 13
"""Bank vectors that are turned into float64 at once."""


@dataclass(frozen=True)
class Farthest:
    """The farthest patches of N images, the farthest first: `distance` (N, k) float32 to the nearest bank vector, and
    `patch` and `index` (N, k) int64, its place in the image and the vector's in the bank.

    Where an image has fewer judged patches than k, the rest is at distance 0, and patch and index say nothing.
    """

    distance: Tensor
    patch: Tensor
    index: Tensor


@dataclass(frozen=True)
class Bounds:
    """What is known of the patches of N images: each one's distance to some bank vector, never less than its nearest.

    `queries` (N * P, C), and `centred` with a one behind; `bound` (N, P), -1 where a patch is not judged; `index`
    (N * P,) the vector it is measured to; `nearest` (N * P,) its nearest list; `exact` (N, P) bool: measured to its
    nearest vector. What is found out is written into them.
    """

    queries: Tensor
    centred: Tensor
    bound: Tensor
    index: Tensor
    nearest: Tensor
    exact: Tensor

    def lower(self, rows: Tensor, index: Tensor, bank: Tensor) -> None:
        """Measure patches to the vectors that may be nearer, and keep what is."""
        bound = self.bound.view(-1)
        measured = true_distance(self.queries[rows], bank, index)
        nearer = measured < bound[rows]
        bound[rows[nearer]], self.index[rows[nearer]] = measured[nearer], index[nearer]

    def highest(self, count: int) -> Tensor:
        """Return (N,) the count-th largest distance that is certain, -1 where fewer are."""
        certain = self.bound.masked_fill(~self.exact, -1)
        return certain.amax(dim=1) if count == 1 else certain.topk(count, dim=1).values[:, -1]


class FarthestSearch:
    """Finds the k patches of an image that are farthest from their nearest bank vector.

    A patch is at most as far from the bank as from any vector of it. Such a bound, once it is not above the k-th
    largest distance that is certain, puts the patch out; the others are compared with ever more of the bank, and the
    highest with all of it. All bounds that are compared are lengths of differences in float32, off by at most
    (C + 2) / 2 · 2^-24 of themselves, so no score is further off than that. Of patches equally far any may be named.

    The whole bank is searched by a matrix product of centred vectors, which is off half the squared distance by at most
    (C + 8) · 2^-23 · (|x|² + max |y|²). Every vector whose product is within twice of that of the least is measured; of
    equally near ones the first in the bank counts. Where a crowd of them is, it is told apart in float64.
    """

    def __init__(self, bank: Tensor, index: NeighbourIndex | None = None) -> None:
        """`bank` (M, C) float32, on the CPU. Lists of it are made here, in a few passes over it.

        `index` searches it where many patches are to be searched whole, if it measures whatever may be the nearest.
        """
        self._bank = bank.contiguous()
        self._index = index if isinstance(index, PrunedGemm) else None
        self._centre = bank.mean(dim=0)
        centred = bank - self._centre
        self._lists: BankLists = bank_lists(centred)
        centred = centred[self._lists.order]
        half = centred.square().sum(dim=1, keepdim=True).mul_(0.5)
        self._largest = 2 * half.max()
        self._matrix = filled(torch.cat([-centred, half], dim=1))
        self._heads = self._matrix[self._lists.heads]
        self._inexact = (bank.shape[1] + 8) * 2.0**-23
        self._rows = max(ALIGNED, 2 * BLOCK_FLOATS // len(self._matrix) // ALIGNED * ALIGNED)

    @torch.inference_mode()
    def top(self, patches: Tensor, count: int, judged: Tensor | None = None) -> Farthest:
        """Return the `count` farthest patches of each image of (N, P, C) float32; `judged` (N, P) bool, None: all."""
        bounds = self.bounds(patches, judged)
        self.settle(bounds, count)
        return self.found(bounds, count)

    @torch.inference_mode()
    def bounds(self, patches: Tensor, judged: Tensor | None = None) -> Bounds:
        """Measure each patch to the head of its nearest list."""
        count, places, dimension = patches.shape
        queries = patches.reshape(-1, dimension)
        centred = queries.new_ones((len(queries), dimension + 1))
        torch.sub(queries, self._centre, out=centred[:, :-1])
        nearest = torch.mm(centred, self._heads.T).argmin(dim=1)
        index = self._lists.order[self._lists.heads[nearest]]
        bound = true_distance(queries, self._bank, index).view(count, places)
        if judged is not None:
            bound = bound.masked_fill_(~judged, -1)
        return Bounds(queries, centred, bound, index, nearest, torch.zeros_like(bound, dtype=torch.bool))

    @torch.inference_mode()
    def settle(self, bounds: Bounds, count: int, floor: Tensor | None = None) -> None:
        """Make certain the `count` farthest patches of each image, of those farther than its `floor` (N,)."""
        images, places = bounds.bound.shape
        count = min(count, places)
        least = bounds.bound.new_full((images,), -1) if floor is None else floor

        def certain() -> Tensor:
            return torch.maximum(bounds.highest(count), least).unsqueeze(1)

        def left() -> Tensor:
            return (bounds.bound > certain()) & ~bounds.exact

        # Where nothing is certain yet, no patch can be left out.
        found = self._search(bounds, _foremost(bounds, left() & (certain() < 0), max(_FIRST, count)))
        probe, wanted = 0, _NEXT
        while (rows := _rows(left())).numel():
            self._share(bounds, rows, found)
            if probe < min(_PROBES, len(self._heads)):
                self._look_into(bounds, _rows(left()), probe)
                probe += 1
            found = self._search(bounds, _foremost(bounds, left(), wanted))
            wanted *= 2

    @torch.inference_mode()
    def found(self, bounds: Bounds, count: int) -> Farthest:
        """Return the `count` farthest patches of settled images."""
        images, places = bounds.bound.shape
        certain = bounds.bound.masked_fill(~bounds.exact, -1)
        distance, patch = certain.topk(min(count, places), dim=1)
        return Farthest(distance.clamp_(min=0), patch, bounds.index.view(images, places).gather(1, patch))

    def _share(self, bounds: Bounds, rows: Tensor, index: Tensor) -> None:
        """Measure patches to the nearest of vectors that were the nearest ones of others."""
        if len(rows) and len(index):
            some = self._lists.place[torch.unique(index)]
            nearest = torch.mm(bounds.centred[rows], self._matrix[some].T).argmin(dim=1)
            bounds.lower(rows, self._lists.order[some[nearest]], self._bank)

    def _look_into(self, bounds: Bounds, rows: Tensor, probe: int) -> None:
        """Measure patches to the nearest vector of one of their lists: the nearest list is probe 0."""
        if not len(rows):
            return
        chosen = bounds.nearest[rows]
        if probe:
            products = torch.mm(bounds.centred[rows], self._heads.T)
            chosen = products.topk(probe + 1, dim=1, largest=False).indices[:, -1]
        chosen, order = chosen.sort()
        rows = rows[order]
        if self._lists.sizes[chosen].sum() * _LOPSIDED > len(rows) * len(self._bank):
            return
        asked = bounds.centred[rows]
        nearest = torch.empty_like(rows)
        which, counts = torch.unique_consecutive(chosen, return_counts=True)
        start = 0
        for name, size in zip(which.tolist(), counts.tolist(), strict=True):
            first, end = self._lists.starts[name], self._lists.starts[name + 1]
            products = torch.mm(asked[start : start + size], self._matrix[first:end].T)
            torch.argmin(products, dim=1, out=nearest[start : start + size]).add_(first)
            start += size
        bounds.lower(rows, self._lists.order[nearest], self._bank)

    def _search(self, bounds: Bounds, rows: Tensor) -> Tensor:
        """Find the nearest vectors of patches in the whole bank; returns (r,) their indices."""
        if self._index is not None and len(rows) > _MANY and len(self._bank) > _OF_MANY:
            queries = bounds.queries[rows]
            bounds.index[rows] = self._index.nearest(queries).index
            # Measured as all bounds are, so that patches of one kind stay equally far to the last bit.
            bounds.bound.view(-1)[rows] = true_distance(queries, self._bank, bounds.index[rows])
        else:
            for start in range(0, len(rows), self._rows):
                self._measure(bounds, rows[start : start + self._rows])
        bounds.exact.view(-1)[rows] = True
        return bounds.index[rows]

    def _measure(self, bounds: Bounds, rows: Tensor) -> None:
        asked = bounds.centred[rows]
        products = scratch("distances", asked, len(self._matrix), len(rows))
        torch.mm(self._matrix, asked.T, out=products)
        groups = products.view(-1, ALIGNED, len(rows))
        lowest = groups.amin(dim=1)
        inexact = asked[:, :-1].square().sum(dim=1).add_(self._largest).mul_(self._inexact)
        limit = lowest.amin(dim=0).add_(inexact, alpha=2)
        possible = lowest <= limit
        crowded = possible.sum(dim=0) > _CROWDED
        group, query = torch.nonzero(possible & ~crowded, as_tuple=True)
        members = groups[group, :, query]
        row, member = torch.nonzero(members <= limit[query].unsqueeze(1), as_tuple=True)
        query = query[row]
        # What fills the matrix up is as near as anything only to what float32 cannot hold the square of.
        candidate = self._lists.order[(group[row] * ALIGNED + member).clamp_(max=len(self._bank) - 1)]
        measured = true_distance(bounds.queries[rows[query]], self._bank, candidate)
        distance = torch.full_like(limit, torch.inf).scatter_reduce_(0, query, measured, "amin")
        best = measured == distance[query]
        index = torch.full_like(rows, len(self._bank)).scatter_reduce_(0, query[best], candidate[best], "amin")
        index.clamp_(max=len(self._bank) - 1)
        if crowded.any():
            asked = bounds.queries[rows[crowded]]
            index[crowded] = self._nearest_in_double(asked)
            distance[crowded] = true_distance(asked, self._bank, index[crowded])
        bounds.bound.view(-1)[rows], bounds.index[rows] = distance, index

    def _nearest_in_double(self, queries: Tensor) -> Tensor:
        """Return (q,) the nearest vectors of (q, C) queries where float32 cannot tell a crowd of them apart."""
        centre = self._centre.double()
        asked = queries.double() - centre
        best = torch.full((len(queries),), torch.inf, dtype=torch.float64)
        index = torch.zeros(len(queries), dtype=torch.int64)
        for start in range(0, len(self._bank), _WIDE):
            some = self._bank[start : start + _WIDE].double().sub_(centre)
            squared = some.square().sum(dim=1)
            products = squared - 2 * asked @ some.T
            # Copies of one vector are equally near but for the last bits: the first of them counts.
            inexact = (asked.square().sum(dim=1) + squared.max()) * ((self._bank.shape[1] + 8) * 2.0**-52)
            lowest = products.amin(dim=1)
            first = (products <= (lowest + inexact).unsqueeze(1)).to(torch.uint8).argmax(dim=1)
            nearer = lowest < best - inexact
            best, index = torch.where(nearer, lowest, best), torch.where(nearer, first + start, index)
        return index


def _rows(left: Tensor) -> Tensor:
    """Return (r,) the rows of patches that are `left` (N, P)."""
    return torch.nonzero(left.view(-1))[:, 0]


def _foremost(bounds: Bounds, left: Tensor, count: int) -> Tensor:
    """Return the rows of the `count` patches of each image with the highest bounds, of those `left` (N, P)."""
    images, places = left.shape
    highest = bounds.bound.masked_fill(~left, -1).topk(min(count, places), dim=1)
    rows = highest.indices + torch.arange(images).unsqueeze(1) * places
    return rows[highest.values >= 0]
