"""Shares of answers that come in clusters, such as several looks at one part: looks alike are no more parts."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, t

_TAIL = 0.025


@dataclass(frozen=True, slots=True)
class ClusteredShare:
    """`count` of `total` answers in `clusters`, from `low` to `high` with 95 % confidence.

    `effective` is how many independent answers say as much; `share` is None, and all is open, where nobody answered.
    """

    count: int
    total: int
    clusters: int
    share: float | None
    low: float
    high: float
    effective: float

    @property
    def standard_error(self) -> float | None:
        """Return the standard error of the share; it is zero, and the interval is not, where all answers are alike."""
        return None if self.share is None else math.sqrt(self.share * (1 - self.share) / self.effective)


def clustered_share(counts: npt.ArrayLike, totals: npt.ArrayLike) -> ClusteredShare:
    """Return the share of answers that are so: `counts` (N) of `totals` (N), both whole numbers, one pair a cluster.

    The interval is C. J. Clopper's and E. S. Pearson's (1934) for as many independent answers as the clusters are
    worth (E. L. Korn and B. I. Graubard, Survey Methodology 24, 1998): never more than there are, nor fewer than there
    are clusters. Where all answers are alike nothing says how alike those of a cluster are, and the clusters count.
    """
    some, whole = (np.asarray(values, dtype=np.int64) for values in (counts, totals))
    some, whole = some[whole > 0], whole[whole > 0]
    clusters, count, total = len(whole), int(some.sum()), int(whole.sum())
    if clusters == 0:
        return ClusteredShare(0, 0, 0, None, 0.0, 1.0, 0.0)
    share = count / total
    effective = _effective(some, whole, share)
    hits = share * effective
    low = 0.0 if count == 0 else float(beta.ppf(_TAIL, hits, effective - hits + 1))
    high = 1.0 if count == total else float(beta.ppf(1 - _TAIL, hits + 1, effective - hits))
    return ClusteredShare(count, total, clusters, share, low, high, effective)


def _effective(counts: npt.NDArray[np.int64], totals: npt.NDArray[np.int64], share: float) -> float:
    clusters, total = len(totals), int(totals.sum())
    if clusters == 1 or not 0 < share < 1:
        return float(clusters)
    spread = counts - share * totals
    variance = clusters / (clusters - 1) * float(spread @ spread) / total**2
    if variance == 0:
        return float(total)
    # The variance is known from the clusters alone, which Student's t makes up for.
    known = float(t.ppf(_TAIL, total - 1) / t.ppf(_TAIL, clusters - 1)) ** 2
    return min(max(share * (1 - share) / variance * known, float(clusters)), float(total))
