"""The nearest bank vector of every query: exactly, by the fastest of four ways; or nearly, with its recall."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol, cast

import faiss
import torch
from torch import Tensor

Method = Literal["auto", "gemm", "faiss", "pruned", "half", "approximate"]

_BLOCK_FLOATS = 1 << 23
"""Distances held at once, 32 MB, and twice that by `PrunedGemm`: 400 and 800 queries against 20,000 vectors; 200 take
a fifth more time."""

_GPU_BLOCK_FLOATS = 1 << 27
"""On a GPU, 512 MB: smaller blocks do not fill it. An H100 takes a fifth to a third more time with 2^23."""

_PAIR_FLOATS = 1 << 18
"""Numbers of the candidates that are measured at once: the differences stay in the cache."""

_PROBE_QUERIES = 1024
"""The patches of one image of 256 px: with fewer, FAISS takes no less time and looks slower than it is."""

_PROBE_ROUNDS = 3

_HOPELESS = 3
"""Times as long as the fastest, after which a method is not tried again."""

_HALVES_PROBE = 512
"""Side of the matrices that tell whether halves multiply faster: 0.5 ms with AMX, 0.2 s with AVX2 alone."""

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

_HALVES_GROUP = 64
"""Bank vectors whose products share one minimum: 32 take as long, 16 and 128 up to a sixth longer."""

_FEW = 64
"""Queries that float32 answers: a single one takes 0.1 to 0.9 ms so and 0.5 to 1.8 in halves. More: untried."""

_PARTS = 3
"""Numbers of eight bits that hold one of 24."""

_HIGHEST = 0x7F7F
"""The bits of bfloat16's largest number."""

_CROWDED = 32
"""Groups with a candidate, per query, beyond which float32 decides: patches of tiles have 2 on average, of noise 4."""

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
    is depends on the machine's BLAS, on what its processor multiplies fast, and on how far the bank's variance is
    concentrated. The trial takes as long as the patches of a few images, and the projection an eigenvalue problem
    of C × C.
    On a GPU it is the matrix product, because the bank already lies where the features are.
    """
    if method == "faiss":
        return FaissFlat(bank)
    if method == "pruned":
        return PrunedGemm(bank)
    if method == "half":
        return HalfPrecisionGemm(bank)
    if method == "approximate":
        return ApproximateIndex(bank)
    gemm = AugmentedGemm(bank)
    if method == "gemm" or bank.device.type != "cpu":
        return gemm
    queries = _typical_queries(bank)
    tried: list[NeighbourIndex] = [gemm, FaissFlat(bank), PrunedGemm(bank)]
    if _multiplies_halves_faster():
        tried.append(HalfPrecisionGemm(bank))
    return _fastest(tried, queries)


def _fastest(tried: list[NeighbourIndex], queries: Tensor) -> NeighbourIndex:
    """Return the index with the shortest search of some rounds, in turn, so that a slow moment meets all alike."""
    best = [math.inf] * len(tried)
    for _ in range(_PROBE_ROUNDS):
        hopeless = _HOPELESS * min(best)
        for place, index in enumerate(tried):
            if best[place] <= hopeless:
                factor = _REAL_QUERIES if isinstance(index, PrunedGemm) else 1.0
                best[place] = min(best[place], factor * _seconds(index, queries))
    return tried[best.index(min(best))]


@cache
@torch.inference_mode()
def _multiplies_halves_faster() -> bool:
    """Say whether this processor multiplies bfloat16 faster than float32: where not, a whole trial takes seconds."""
    full = torch.ones((_HALVES_PROBE, _HALVES_PROBE))
    halves = full.bfloat16()
    taken = [(_seconds_of(lambda: halves @ halves), _seconds_of(lambda: full @ full)) for _ in range(_PROBE_ROUNDS)]
    return min(half for half, _ in taken) < min(whole for _, whole in taken)


@torch.inference_mode()
def _typical_queries(bank: Tensor) -> Tensor:
    """Make (1024, C) queries about as far from the bank as its vectors are from each other: pruning depends on it.

    Each is a bank vector moved by the difference between two neighbours elsewhere in the bank.
    """
    generator = torch.Generator().manual_seed(0)
    here, there = torch.randint(len(bank), (2, _PROBE_QUERIES), generator=generator).to(bank.device)
    return bank[here] + bank[there] - bank[_neighbour_rows(bank, there, 2)[:, -1]]


def _seconds(index: NeighbourIndex, queries: Tensor) -> float:
    return _seconds_of(lambda: index.distances(queries))


def _seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


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
        self._rows = max(1, (_BLOCK_FLOATS if bank.device.type == "cpu" else _GPU_BLOCK_FLOATS) // len(bank))

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


class HalfPrecisionGemm(NeighbourIndex):
    """Candidates by a matrix product in bfloat16, and exact distances to all that its rounding may have hidden.

    With x' and y' the rounded vectors, |x'-y'| is off |x-y| by at most |x-x'| + |y-y'|, and its square is one product
    [x', 1, |x'|²] · [-2y', |y'|², 1] with each squared norm in three parts. What its sums lose is bounded too, and the
    result is rounded once: as rounding keeps the order, nothing above the rounded limit can be the nearest.
    Fast where the processor multiplies bfloat16 in tiles (AMX), elsewhere slow.
    """

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank.contiguous()
        self._full = AugmentedGemm(bank)
        self._centre = bank.mean(dim=0)
        rounded, squared, lost = _halves(bank - self._centre)
        self._largest, self._lost = squared.max(), lost.max()
        ones = rounded.new_ones((len(bank), _PARTS))
        self._matrix = _filled(torch.cat([-2 * rounded, ones, _in_parts(squared)], dim=1), _HALVES_GROUP)
        # Of both squared norms, which the terms of a sum add up to twice at most; once more for the norms themselves.
        self._inexact = 3 * self._matrix.shape[1] * 2.0**-24
        self._rows = max(64, min(1024, 4 * _BLOCK_FLOATS // len(self._matrix) // 64 * 64))

    @torch.inference_mode()
    def nearest(self, queries: Tensor) -> Nearest:
        """Return the nearest bank vector of each of (Q, C) float32 queries."""
        if len(queries) <= _FEW:
            return self._full.nearest(queries)
        distance = queries.new_empty(len(queries))
        index = torch.empty_like(distance, dtype=torch.int64)
        for start in range(0, len(queries), self._rows):
            rows = slice(start, start + self._rows)
            found = self._of_block(queries[rows])
            distance[rows], index[rows] = found.distance, found.index
        return Nearest(distance, index)

    def _of_block(self, queries: Tensor) -> Nearest:
        rounded, squared, lost = _halves(queries - self._centre)
        ones = rounded.new_ones((len(queries), _PARTS))
        augmented = torch.cat([rounded, _in_parts(squared), ones], dim=1)
        product = _scratch("halves", augmented, len(self._matrix), len(queries))
        torch.mm(self._matrix, augmented.T, out=product)
        # Floats that are not negative are in the order of their bits: integers are compared four times as fast.
        # Negative ones come below them all, which is where a distance of about zero belongs.
        bits = product.view(torch.int16).view(-1, _HALVES_GROUP, len(queries))
        lowest = bits.amin(dim=1)
        inexact = (squared + self._largest).mul_(self._inexact)
        limit = self._limit(lowest.amin(dim=0), inexact, lost + self._lost)
        group, query = torch.nonzero(lowest <= limit, as_tuple=True)
        if len(group) > _CROWDED * len(queries):
            return self._full.nearest(queries)
        members = bits[group, :, query]
        row, member = torch.nonzero(members <= limit[query].unsqueeze(1), as_tuple=True)
        # What fills the matrix up is as near as anything only to what is no number.
        candidate = (group[row] * _HALVES_GROUP + member).clamp_(max=len(self._bank) - 1)
        query = query[row]
        exact = _true_distance(queries[query], self._bank, candidate)
        distance = torch.full_like(squared, torch.inf).scatter_reduce_(0, query, exact, "amin")
        index = torch.zeros_like(distance, dtype=torch.int64)
        best = exact == distance[query]
        index[query[best]] = candidate[best]
        return Nearest(distance, index)

    def _limit(self, lowest: Tensor, inexact: Tensor, lost: Tensor) -> Tensor:
        """Return (n,) the bits of the highest product that the nearest vector can have, by the lowest one's, (n,)."""
        # The lowest product was at most half a step higher before it was rounded, here one.
        above = lowest.clamp(min=0, max=_HIGHEST - 1).add_(1).view(torch.bfloat16).float()
        # What is rounded here, and is at most a thousandth of a step, is made up for.
        distance = (above + inexact).sqrt_().add_(2 * lost)
        highest = distance.square_().add_(inexact).mul_(1 + 2.0**-18)
        return highest.bfloat16().view(torch.int16).clamp_(max=_HIGHEST)


def _halves(centred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (n, C) vectors in bfloat16, their squared norms (n,), and the lengths of what rounding took (n,)."""
    rounded = centred.bfloat16()
    again = rounded.float()
    squared = torch.linalg.vector_norm(again, dim=1).square_()
    # The length itself is a sum of C squares.
    lost = torch.linalg.vector_norm(centred.sub_(again), dim=1).mul_(1 + 2.0**-12)
    return rounded, squared, lost


def _in_parts(values: Tensor) -> Tensor:
    """Return (n, 3) bfloat16 whose rows add up to (n,) float32."""
    parts = []
    for _ in range(_PARTS):
        parts.append(values.bfloat16())
        values = values - parts[-1].float()
    return torch.stack(parts, dim=1)


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


def _filled(matrix: Tensor, multiple: int = _ALIGNED) -> Tensor:
    """Fill (M, w) up with vectors infinitely far away, to a multiple of rows: the last column is the squared norm."""
    filling = matrix.new_zeros((-len(matrix) % multiple, matrix.shape[1]))
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
    return cast(Tensor, torch.linalg.vector_norm(bank[index].sub_(queries), dim=1))


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
