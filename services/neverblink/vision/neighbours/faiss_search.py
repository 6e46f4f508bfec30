"""The nearest bank vector by FAISS: exactly, or nearly by inverted lists."""

import faiss
import torch
from torch import Tensor

from neverblink.vision.neighbours.product import AugmentedGemm
from neverblink.vision.neighbours.search import Nearest, NeighbourIndex, true_distance
from neverblink.vision.neighbours.table import typical_queries

_VECTORS_PER_LIST = 39
"""FAISS warns when it clusters from fewer."""


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
    `recall` is the share of queries whose nearest vector is found: of `probe`, (q, C) patches of real images, or of
    queries made from the bank, and then patches of fresh images may have a hundredth less. The number of lists looked
    into is the smallest power of two that reaches `wanted`, or all.
    """

    recall: float

    def __init__(self, bank: Tensor, *, wanted: float = 0.99, probe: Tensor | None = None) -> None:
        self._bank = bank
        lists = max(1, min(round(len(bank) ** 0.5), len(bank) // _VECTORS_PER_LIST))
        self._index = faiss.IndexIVFFlat(faiss.IndexFlatL2(bank.shape[1]), bank.shape[1], lists)
        vectors = bank.cpu().contiguous().numpy()
        self._index.train(vectors)
        self._index.add(vectors)
        queries = typical_queries(bank) if probe is None else probe
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
    return Nearest(true_distance(queries, bank, nearest), nearest)
