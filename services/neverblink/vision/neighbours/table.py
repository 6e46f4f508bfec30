"""The neighbours of bank vectors within the bank, and queries that are made from them."""

import torch
from torch import Tensor

from neverblink.vision.neighbours.search import BLOCK_FLOATS

_PROBE_QUERIES = 1024
"""The patches of one image of 256 px: with fewer, FAISS takes no less time and looks slower than it is."""


@torch.inference_mode()
def neighbour_table(bank: Tensor, count: int) -> Tensor:
    """Return (M, count) int32: each bank vector's own index, then its nearest others, nearest first."""
    return _neighbour_rows(bank, torch.arange(len(bank), device=bank.device), count).to(torch.int32)


def _neighbour_rows(bank: Tensor, which: Tensor, count: int) -> Tensor:
    """Return (n, count) int64: the rows of the neighbour table for (n,) bank indices; fewer columns if M < count."""
    count = min(count, len(bank))
    centred = bank - bank.mean(dim=0)
    squared = centred.square().sum(dim=1)
    rows = max(1, BLOCK_FLOATS // len(bank))
    table = torch.empty((len(which), count), dtype=torch.int64, device=bank.device)
    for start in range(0, len(which), rows):
        own = which[start : start + rows]
        distances = squared - 2 * centred[own] @ centred.T
        distances[torch.arange(len(own), device=bank.device), own] = -torch.inf
        table[start : start + rows] = distances.topk(count, dim=1, largest=False).indices
    return table


@torch.inference_mode()
def typical_queries(bank: Tensor) -> Tensor:
    """Make (1024, C) queries about as far from the bank as its vectors are from each other: pruning depends on it.

    Each is a bank vector moved by the difference between two neighbours elsewhere in the bank.
    """
    generator = torch.Generator().manual_seed(0)
    here, there = torch.randint(len(bank), (2, _PROBE_QUERIES), generator=generator).to(bank.device)
    return bank[here] + bank[there] - bank[_neighbour_rows(bank, there, 2)[:, -1]]
