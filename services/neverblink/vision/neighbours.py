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

_BLOCK_FLOATS = 1 << 22
"""Distances held at once, 16 MB: 512 queries against 8,000 vectors; a quarter of that costs 10 % more time."""

_PAIR_FLOATS = 1 << 18
"""Numbers of the candidates that are measured at once: the differences stay in the cache."""

_PROBE_QUERIES = 1024
"""The patches of one image of 256 px: with fewer, FAISS takes no less time and looks slower than it is."""

_PROBE_ROUNDS = 2

_REAL_QUERIES = 1.4
"""Times as long as the trial's that patches of real images take when pruned, at most: they leave more candidates."""

_KEPT_VARIANCE = 0.9
"""Of the bank, in the projection of `PrunedGemm`: 62 of 152 and 110 of 384 dimensions on magnetic tiles."""

_ALIGNED = 16
"""A matrix product is up to three times slower when the rows of its result are no multiple of a cache line."""

_GROUP = _ALIGNED
_TILE = 512
"""Bank vectors whose lower bounds share one minimum, and those of one matrix product: its result stays in the cache."""

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
        ...


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


class AugmentedGemm:
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


class PrunedGemm:
    """The exact minimum by lower bounds in few dimensions, and exact distances only to what can still be it.

    With y split into its part P y in the leading directions of the bank and the length r of what is left of it,
    |x-y|² ≥ |Px-Py|² + (r_x - r_y)²: again one matrix product, but k + 2 wide instead of C + 1. The best bound's
    vector gives a distance that the minimum cannot exceed; whose bound is above it is out.
    """

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank.contiguous()
        self._centre = bank.mean(dim=0)
        centred = bank - self._centre
        squared = centred.square().sum(dim=1)
        self._largest = squared.max()
        self._directions = _leading_directions(centred)
        inside, outside = self._split(centred, squared)
        self._matrix = _filled(torch.cat([-2 * inside, -2 * outside, squared.unsqueeze(1)], dim=1))
        self._pairs = max(1, _PAIR_FLOATS // bank.shape[1])
        self._rows = max(64, min(1024, _BLOCK_FLOATS // len(self._matrix) // 64 * 64))

    def _split(self, centred: Tensor, squared: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, k), the part in the leading directions, and (N, 1), the length of the rest."""
        inside = centred @ self._directions
        return inside, (squared - inside.square().sum(dim=1)).clamp_min_(0).sqrt_().unsqueeze(1)

    @torch.inference_mode()
    def nearest(self, queries: Tensor) -> Nearest:
        """Return the nearest bank vector of each of (Q, C) float32 queries."""
        asked = len(queries)
        queries = torch.cat([queries, self._centre.expand(-asked % _ALIGNED, -1)])
        centred = queries - self._centre
        squared = centred.square().sum(dim=1)
        inside, outside = self._split(centred, squared)
        augmented = torch.cat([inside, outside, torch.ones_like(outside)], dim=1)
        distance, index = torch.empty_like(squared), torch.empty_like(squared, dtype=torch.int64)
        buffer = _scratch("distances", queries, len(self._matrix) * min(self._rows, len(queries)))
        for start in range(0, len(queries), self._rows):
            rows = slice(start, start + self._rows)
            bounds, lowest = self._bounds(augmented[rows], buffer)
            distance[rows], index[rows] = self._minimum(queries[rows], squared[rows], bounds, lowest)
        return Nearest(distance[:asked].sqrt_(), index[:asked])

    def distances(self, queries: Tensor) -> Tensor:
        """Return (Q,) the L2 distance to it."""
        return self.nearest(queries).distance

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

    def _minimum(self, queries: Tensor, squared: Tensor, bounds: Tensor, lowest: Tensor) -> tuple[Tensor, Tensor]:
        """Return the squared distance to the nearest bank vector of (n, C) queries, (n,), and its index, (n,)."""
        group = _argmin(lowest)
        index = group * _GROUP + bounds[group, :, torch.arange(len(queries), device=group.device)].argmin(dim=1)
        distance = self._squared_distance(queries, index)
        limit = distance - squared + _ROUNDING * (squared + self._largest)
        group, query = torch.nonzero(lowest <= limit, as_tuple=True)
        row, member = torch.nonzero(bounds[group, :, query] <= limit[query].unsqueeze(1), as_tuple=True)
        candidate, query = group[row] * _GROUP + member, query[row]
        # In parts: where the bank has no leading directions, nearly every vector is still a candidate.
        exact = torch.empty_like(query, dtype=queries.dtype)
        for start in range(0, len(query), self._pairs):
            some = slice(start, start + self._pairs)
            asked = _scratch("asked", queries, len(query[some]), queries.shape[1])
            torch.index_select(queries, 0, query[some], out=asked)
            exact[some] = self._squared_distance(asked, candidate[some])
        distance.scatter_reduce_(0, query, exact, "amin")
        best = exact == distance[query]
        index[query[best]] = candidate[best]
        return distance, index

    def _squared_distance(self, queries: Tensor, index: Tensor) -> Tensor:
        differences = _scratch("differences", queries, *queries.shape)
        torch.index_select(self._bank, 0, index, out=differences)
        return differences.sub_(queries).square_().sum(dim=1)


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


def _leading_directions(centred: Tensor) -> Tensor:
    """Return (C, k) orthonormal directions that hold most of the variance of (M, C) centred vectors."""
    values, vectors = torch.linalg.eigh((centred.T @ centred).double())
    share = values.flip(0).cumsum(0) / values.sum()
    kept = int((share < _KEPT_VARIANCE).sum()) + 1
    # With the two columns that the product has besides, again a multiple of a cache line.
    kept = min(kept + -(kept + 2) % _ALIGNED, len(values))
    directions: Tensor = vectors.flip(1)[:, :kept].to(centred.dtype).contiguous()
    return directions


class FaissFlat:
    """FAISS's exact flat index on the CPU."""

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank
        self._index = faiss.IndexFlatL2(bank.shape[1])
        self._index.add(bank.cpu().contiguous().numpy())

    @torch.inference_mode()
    def nearest(self, queries: Tensor) -> Nearest:
        """Return the nearest bank vector of each of (Q, C) float32 queries."""
        return _search(self._index, queries, self._bank)

    def distances(self, queries: Tensor) -> Tensor:
        """Return (Q,) the L2 distance to it."""
        return self.nearest(queries).distance


class ApproximateIndex:
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

    def distances(self, queries: Tensor) -> Tensor:
        """Return (Q,) the L2 distance to it."""
        return self.nearest(queries).distance


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
