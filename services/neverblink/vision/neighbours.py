"""The nearest bank vector of every query: exactly, by the fastest of three ways; or nearly, with its recall."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import faiss
import torch
from torch import Tensor

Method = Literal["auto", "gemm", "faiss", "pruned", "approximate"]

_BLOCK_FLOATS = 1 << 23
"""Distances held at once, 32 MB, and twice that by `PrunedGemm`: 400 and 800 queries against 20,000 vectors; 200 take
a fifth more time."""

_PAIR_FLOATS = 1 << 18
"""Numbers of the candidates that are measured at once: the differences stay in the cache."""

_PROBE_QUERIES = 1024
"""The patches of one image of 256 px: with fewer, FAISS takes no less time and looks slower than it is."""

_PROBE_ROUNDS = 2

_REAL_QUERIES = 1.25
"""Times as long as the trial's that patches of real images take when pruned, at most: they leave more candidates."""

_KEPT_VARIANCE = 0.9
"""Of the bank, in the projection of `PrunedGemm`: 62 of 152 and 110 of 384 dimensions on magnetic tiles."""

_KNOWN_VARIANCE = 0.985
"""Of the bank, in the leading and the next directions together."""

_ALIGNED = 16
"""A matrix product is up to three times slower when the rows of its result are no multiple of a cache line."""

_GROUP = _ALIGNED
_TILE = 1024
"""Bank vectors whose lower bounds share one minimum, and those of one matrix product: half as many halve its speed."""

_VECTORS_PER_LIST = 39
"""FAISS warns when it clusters from fewer."""

_ROUNDING = 4e-6
"""Of the squared norms: more than float32 can be wrong about a lower bound."""

_DOUBTFUL = 0.02
"""Of the squared norms: a squared distance below it may have lost the fourth digit to rounding. Patches of real
images have 0.04 and more."""


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


def neighbour_index(bank: Tensor, method: Method = "auto") -> NeighbourIndex:
    """Build an index over an (M, C) float32 bank; every method but `approximate` finds the same distances.

    `auto` tries the exact methods on a CPU with queries made from the bank, and keeps the fastest: which one it
    is depends on the machine's BLAS and on how far the bank's variance is concentrated. The trial takes as long
    as the patches of four images, and the projection an eigenvalue problem of C × C.
    On a GPU it is the matrix product, because the bank already lies where the features are.
    """
    if method == "faiss":
        return FaissFlat(bank)
    if method == "pruned":
        return PrunedGemm(bank)
    if method == "approximate":
        return ApproximateIndex(bank)
    gemm = AugmentedGemm(bank)
    if method == "gemm" or bank.device.type != "cpu":
        return gemm
    queries = _typical_queries(bank)
    plain: tuple[NeighbourIndex, ...] = (gemm, FaissFlat(bank))
    seconds = [_seconds(index, queries) for index in plain]
    pruned = PrunedGemm(bank)
    if _REAL_QUERIES * _seconds(pruned, queries) < min(seconds):
        return pruned
    return plain[seconds.index(min(seconds))]


@torch.inference_mode()
def _typical_queries(bank: Tensor) -> Tensor:
    """Make (1024, C) queries about as far from the bank as its vectors are from each other: pruning depends on it.

    Each is a bank vector moved by the difference between two neighbours elsewhere in the bank.
    """
    generator = torch.Generator().manual_seed(0)
    here, there = torch.randint(len(bank), (2, _PROBE_QUERIES), generator=generator).to(bank.device)
    return bank[here] + bank[there] - bank[_neighbour_rows(bank, there, 2)[:, -1]]


def _seconds(index: NeighbourIndex, queries: Tensor) -> float:
    """Return the shortest of a few searches: the least disturbed by what else runs on the machine."""
    taken = []
    for _ in range(_PROBE_ROUNDS):
        start = time.perf_counter()
        index.distances(queries)
        taken.append(time.perf_counter() - start)
    return min(taken)


class AugmentedGemm(NeighbourIndex):
    """|x-y|² - |x|² = [x, 1] · [-2y, |y|²]: norms are cached in the matrix, the minimum runs block by block."""

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank
        # Centring shrinks the norms, and with them what cancels out in the sum above.
        self._centre = bank.mean(dim=0)
        centred = bank - self._centre
        squared = centred.square().sum(dim=1, keepdim=True)
        self._largest = squared.max()
        self._matrix = _filled(torch.cat([-2 * centred, squared], dim=1)).T.contiguous()
        self._rows = max(1, _BLOCK_FLOATS // len(bank))

    @torch.inference_mode()
    def nearest(self, queries: Tensor) -> Nearest:
        """Return the nearest bank vector of each of (Q, C) float32 queries."""
        blocks = [block.argmin(dim=1) for block in self._blocks(self._augmented(queries))]
        index = torch.cat(blocks) if blocks else torch.empty(0, dtype=torch.int64, device=queries.device)
        return Nearest(_true_distance(queries, self._bank, index), index)

    @torch.inference_mode()
    def distances(self, queries: Tensor) -> Tensor:
        """Return (Q,) the L2 distance to it: the minimum alone, a quarter of the time of its place."""
        augmented = self._augmented(queries)
        blocks = [block.amin(dim=1) for block in self._blocks(augmented)]
        minimum = torch.cat(blocks) if blocks else queries.new_empty(0)
        norms = augmented[:, :-1].square().sum(dim=1)
        return _settled(self, queries, norms, minimum, self._largest)

    def _augmented(self, queries: Tensor) -> Tensor:
        augmented = queries.new_ones((len(queries), queries.shape[1] + 1))
        torch.sub(queries, self._centre, out=augmented[:, :-1])
        return augmented

    def _blocks(self, augmented: Tensor) -> Iterator[Tensor]:
        """Yield |x-y|² - |x|² of all bank vectors, block by block, in one buffer."""
        buffer = _scratch("distances", augmented, min(self._rows, len(augmented)), self._matrix.shape[1])
        for start in range(0, len(augmented), self._rows):
            block = augmented[start : start + self._rows]
            yield torch.mm(block, self._matrix, out=buffer[: len(block)])


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
        self._matrix = _filled(torch.cat([-2 * self._split_bank.leading, -2 * outside, squared.unsqueeze(1)], dim=1))
        self._rows = max(64, min(1024, 2 * _BLOCK_FLOATS // len(self._matrix) // 64 * 64))

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
        queries = torch.cat([queries, self._centre.expand(-asked % _ALIGNED, -1)])
        centred = queries - self._centre
        squared = centred.square().sum(dim=1)
        split = self._split(centred, squared)
        augmented = torch.cat([split.leading, split.outside.unsqueeze(1), torch.ones_like(centred[:, :1])], dim=1)
        distance, index = torch.empty_like(squared), torch.empty_like(squared, dtype=torch.int64)
        buffer = _scratch("distances", queries, len(self._matrix) * min(self._rows, len(queries)))
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
        group = _argmin(lowest)
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
            exact[some] = self._squared_distance(_rows_of(queries, query[some], "asked"), candidate[some])
        distance.scatter_reduce_(0, query, exact, "amin")
        best = exact == distance[query]
        index[query[best]] = candidate[best]
        return distance, index

    def _closer_bound(self, split: _Split, query: Tensor, candidate: Tensor, bound: Tensor) -> Tensor:
        """Return the (p,) bounds of some pairs with the next directions in them."""
        bank = self._split_bank
        apart = _rows_of(bank.next, candidate, "differences").sub_(_rows_of(split.next, query, "asked"))
        outside = (split.outside[query] - bank.outside[candidate]).square_()
        beyond = (split.beyond[query] - bank.beyond[candidate]).square_()
        return apart.square_().sum(dim=1).add_(beyond).sub_(outside).add_(bound)

    def _squared_distance(self, queries: Tensor, index: Tensor) -> Tensor:
        return _rows_of(self._bank, index, "differences").sub_(queries).square_().sum(dim=1)


def _parts(pairs: int, width: int) -> Iterator[slice]:
    """Cut pairs into parts whose vectors stay in the cache: without leading directions nearly all are candidates."""
    at_once = max(1, _PAIR_FLOATS // max(1, width))
    for start in range(0, pairs, at_once):
        yield slice(start, start + at_once)


def _rows_of(vectors: Tensor, index: Tensor, purpose: str) -> Tensor:
    """Return a copy of some rows in scratch memory."""
    rows = _scratch(purpose, vectors, len(index), vectors.shape[1])
    return torch.index_select(vectors, 0, index, out=rows)


class _Scratch(threading.local):
    """Memory of this thread for what is overwritten by each search: fresh pages cost more than what they hold."""

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}


_SCRATCH = _Scratch()


def _scratch(purpose: str, like: Tensor, *shape: int) -> Tensor:
    """Return a tensor of some shape, its content undefined, that the next call for the same purpose reuses."""
    size = math.prod(shape)
    if like.device.type != "cpu":
        return like.new_empty(shape)
    kept = _SCRATCH.kept.get(purpose)
    if kept is None or len(kept) < size:
        kept = _SCRATCH.kept[purpose] = like.new_empty(size)
    return kept[:size].view(shape)


def _filled(matrix: Tensor) -> Tensor:
    """Fill (M, w) up with vectors infinitely far away, to a multiple of 16: the last column is the squared norm."""
    filling = matrix.new_zeros((-len(matrix) % _ALIGNED, matrix.shape[1]))
    filling[:, -1] = torch.inf
    return torch.cat([matrix, filling])


def _argmin(columns: Tensor) -> Tensor:
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
    kept = min(kept + -(kept + 2) % _ALIGNED, len(values))
    known = min(max(known, kept), len(values))
    return vectors.flip(1)[:, :known].to(centred.dtype).contiguous(), kept


class FaissFlat(NeighbourIndex):
    """FAISS's exact flat index on the CPU."""

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank
        self._index = faiss.IndexFlatL2(bank.shape[1])
        self._index.add(bank.cpu().contiguous().numpy())

    @torch.inference_mode()
    def nearest(self, queries: Tensor) -> Nearest:
        """Return the nearest bank vector of each of (Q, C) float32 queries."""
        return _search(self._index, queries, self._bank)


class ApproximateIndex(NeighbourIndex):
    """FAISS's inverted lists, for banks so large that the exact search is too slow.

    A missed neighbour makes a patch look farther from normal than it is, never nearer.
    `recall` is the share of queries made from the bank whose nearest vector is found; patches of fresh images may
    have a hundredth less. The number of lists looked into is the smallest power of two that reaches `wanted`, or all.
    """

    recall: float

    def __init__(self, bank: Tensor, *, wanted: float = 0.99) -> None:
        self._bank = bank
        lists = max(1, min(round(len(bank) ** 0.5), len(bank) // _VECTORS_PER_LIST))
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(bank.shape[1]), bank.shape[1], lists)
        vectors = bank.cpu().contiguous().numpy()
        self._index.train(vectors)
        self._index.add(vectors)
        queries = _typical_queries(bank)
        exact = AugmentedGemm(bank).nearest(queries).distance
        self._index.nprobe = 1
        self.recall = self._recall(queries, exact)
        while self.recall < wanted and self._index.nprobe < lists:
            self._index.nprobe = min(2 * self._index.nprobe, lists)
            self.recall = self._recall(queries, exact)

    def _recall(self, queries: Tensor, exact: Tensor) -> float:
        return float((self.nearest(queries).distance <= exact * (1 + 1e-4)).float().mean())

    @torch.inference_mode()
    def nearest(self, queries: Tensor) -> Nearest:
        """Return a near, mostly the nearest, bank vector of each of (Q, C) float32 queries."""
        return _search(self._index, queries, self._bank)


def _search(index: faiss.Index, queries: Tensor, bank: Tensor) -> Nearest:
    # FAISS brings its own OpenMP: the thread count of torch is the one that the service was given.
    faiss.omp_set_num_threads(torch.get_num_threads())
    _, found = index.search(queries.cpu().contiguous().numpy(), 1)
    nearest = torch.from_numpy(found[:, 0]).to(queries.device)
    return Nearest(_true_distance(queries, bank, nearest), nearest)


def _settled(index: NeighbourIndex, queries: Tensor, norms: Tensor, minimum: Tensor, largest: Tensor) -> Tensor:
    """Return the distances behind (Q,) minima of |x-y|² - |x|²; those that rounding may have touched, measured."""
    squared = minimum.add_(norms)
    doubtful = squared < _DOUBTFUL * (norms + largest)
    distance = squared.clamp_min_(0).sqrt_()
    if doubtful.any():
        distance[doubtful] = index.nearest(queries[doubtful]).distance
    return distance


def _true_distance(queries: Tensor, bank: Tensor, index: Tensor) -> Tensor:
    """Measure the winners directly: the expanded formula finds them, but loses digits at small distances."""
    return (queries - bank[index]).square_().sum(dim=1).sqrt_()


@torch.inference_mode()
def neighbour_table(bank: Tensor, count: int) -> Tensor:
    """Return (M, count) int32: each bank vector's own index, then its nearest others, nearest first."""
    return _neighbour_rows(bank, torch.arange(len(bank), device=bank.device), count).to(torch.int32)


def _neighbour_rows(bank: Tensor, which: Tensor, count: int) -> Tensor:
    """Return (n, count) int64: the rows of the neighbour table for (n,) bank indices; fewer columns if M < count."""
    count = min(count, len(bank))
    centred = bank - bank.mean(dim=0)
    squared = centred.square().sum(dim=1)
    rows = max(1, _BLOCK_FLOATS // len(bank))
    table = torch.empty((len(which), count), dtype=torch.int64, device=bank.device)
    for start in range(0, len(which), rows):
        own = which[start : start + rows]
        distances = squared - 2 * centred[own] @ centred.T
        distances[torch.arange(len(own), device=bank.device), own] = -torch.inf
        table[start : start + rows] = distances.topk(count, dim=1, largest=False).indices
    return table
