"""Which search is the fastest here: it depends on machine and bank, so they are tried."""

import math
import time
from collections.abc import Callable
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from neverblink.vision.neighbours.faiss_search import ApproximateIndex, FaissFlat
from neverblink.vision.neighbours.half_precision import HalfPrecisionGemm
from neverblink.vision.neighbours.product import AugmentedGemm
from neverblink.vision.neighbours.pruned import PrunedGemm
from neverblink.vision.neighbours.search import NeighbourIndex
from neverblink.vision.neighbours.table import typical_queries

Method = Literal["auto", "gemm", "faiss", "pruned", "half", "approximate"]

_PROBE_ROUNDS = 3

_HOPELESS = 3
"""Times as long as the fastest, after which a method is not tried again."""

_HALVES_PROBE = 512
"""Side of the matrices that tell whether halves multiply faster: 0.5 ms with AMX, 0.2 s with AVX2 alone."""

_REAL_QUERIES = 1.25
"""Times as long as that of queries made from the bank that a pruned search of real patches takes, at most: they leave
more candidates."""


def neighbour_index(bank: Tensor, method: Method = "auto", *, probe: Tensor | None = None) -> NeighbourIndex:
    """Build an index over an (M, C) float32 bank; every method but `approximate` finds the same distances.

    `auto` tries the exact methods on a CPU with `probe`, (q, C) patches of real images, or without them with queries
    made from the bank, and keeps the fastest: which one it is depends on the machine's BLAS, on what its processor
    multiplies fast, and on how far the bank's variance is concentrated. The trial takes as long as the patches of a
    few images, and the projection an eigenvalue problem of C × C.
    On a GPU it is the matrix product, because the bank already lies where the features are.
    """
    if method == "faiss":
        return FaissFlat(bank)
    if method == "pruned":
        return PrunedGemm(bank)
    if method == "half":
        return HalfPrecisionGemm(bank)
    if method == "approximate":
        return ApproximateIndex(bank, probe=probe)
    gemm = AugmentedGemm(bank)
    if method == "gemm" or bank.device.type != "cpu":
        return gemm
    tried: list[NeighbourIndex] = [gemm, FaissFlat(bank), PrunedGemm(bank)]
    if _multiplies_halves_faster():
        tried.append(HalfPrecisionGemm(bank))
    if probe is None:
        return _fastest(tried, typical_queries(bank), _REAL_QUERIES)
    return _fastest(tried, probe, 1.0)


def _fastest(tried: list[NeighbourIndex], queries: Tensor, pruned_takes: float) -> NeighbourIndex:
    """Return the index with the shortest search of some rounds, in turn, so that a slow moment meets all alike."""
    best = [math.inf] * len(tried)
    for _ in range(_PROBE_ROUNDS):
        hopeless = _HOPELESS * min(best)
        for place, index in enumerate(tried):
            if best[place] <= hopeless:
                factor = pruned_takes if isinstance(index, PrunedGemm) else 1.0
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


def _seconds(index: NeighbourIndex, queries: Tensor) -> float:
    return _seconds_of(lambda: index.distances(queries))


def _seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
