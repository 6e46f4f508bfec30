"""The nearest bank vector by a matrix product in bfloat16, exact by a bound on its rounding."""

import torch
from torch import Tensor

from neverblink.vision.neighbours.product import AugmentedGemm
from neverblink.vision.neighbours.search import BLOCK_FLOATS, Nearest, NeighbourIndex, filled, scratch, true_distance

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
        self._matrix = filled(torch.cat([-2 * rounded, ones, _in_parts(squared)], dim=1), _HALVES_GROUP)
        # Of both squared norms, which the terms of a sum add up to twice at most; once more for the norms themselves.
        self._inexact = 3 * self._matrix.shape[1] * 2.0**-24
        self._rows = max(64, min(1024, 4 * BLOCK_FLOATS // len(self._matrix) // 64 * 64))

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
        product = scratch("halves", augmented, len(self._matrix), len(queries))
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
        exact = true_distance(queries[query], self._bank, candidate)
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
