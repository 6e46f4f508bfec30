"""How well maps rank pixels, over any number of images: AUROC, average precision and AU-PRO from histograms."""

from collections.abc import Sequence
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

PRO_LIMIT = 0.3
"""AU-PRO is the mean overlap while at most this share of good pixels is flagged, as MVTec AD defines it."""

Truth = npt.NDArray[np.bool_]


class PixelRanking:
    """Pixel figures of any number of maps in 0.8 MB: half-precision bits of positive numbers sort as they do, so
    three histograms over them hold all curves.
    """

    _CODES = 1 << 15

    def __init__(self) -> None:
        self.regions = 0
        self._good = np.zeros(self._CODES)
        self._defect = np.zeros(self._CODES)
        # Each pixel of a region counts one over the region's area: a sum is the sum of the regions' overlaps.
        self._overlap = np.zeros(self._CODES)

    def add(
        self,
        anomaly_map: npt.NDArray[np.float32],
        truth: Truth,
        ignored: Truth | None = None,
        *,
        regions: Sequence[npt.NDArray[np.int64]] | None = None,
    ) -> None:
        """Count the pixels of one (h, w) map with its truth, but those that are `ignored`.

        `regions` are flat positions of each region's pixels, which may be shared; by default the 8-connected parts of
        the truth. Values are rounded to half precision, 0.05 % apart.
        """
        codes = np.clip(anomaly_map, 0, 65504).astype(np.float16).view(np.uint16) & (self._CODES - 1)
        good = ~truth if ignored is None else ~(truth | ignored)
        self._good += np.bincount(codes[good], minlength=self._CODES)
        if truth.any():
            self._defect += np.bincount(codes[truth], minlength=self._CODES)
            regions = _connected(truth) if regions is None else regions
            places = np.concatenate(regions)
            weights = np.repeat([1 / len(region) for region in regions], [len(region) for region in regions])
            self._overlap += np.bincount(codes.ravel()[places], weights=weights, minlength=self._CODES)
            self.regions += len(regions)

    def joined(self, other: Self) -> Self:
        """Return the ranking of both sets of maps."""
        both = type(self)()
        both.regions = self.regions + other.regions
        both._good = self._good + other._good
        both._defect = self._defect + other._defect
        both._overlap = self._overlap + other._overlap
        return both

    def auroc(self) -> float | None:
        """Return the share of (defect, good) pixel pairs in the right order, None without defect pixels."""
        if not self._defect.any() or not self._good.any():
            return None
        below = np.cumsum(self._good) - self._good
        return float((self._defect * (below + self._good / 2)).sum() / (self._defect.sum() * self._good.sum()))

    def average_precision(self) -> float | None:
        """Return the mean precision over the recalls of all thresholds, not interpolated; None as for AUROC."""
        if not self._defect.any() or not self._good.any():
            return None
        gained = self._defect[::-1]
        hits, flagged = np.cumsum(gained), np.cumsum((self._defect + self._good)[::-1])
        return float((gained * hits / np.maximum(flagged, 1)).sum() / hits[-1])

    def au_pro(self, limit: float = PRO_LIMIT) -> float | None:
        """Return the mean overlap per region while at most `limit` of the good pixels is flagged, 0 to 1.

        P. Bergmann et al., The MVTec Anomaly Detection Dataset, IJCV 129 (2021), section 5. Regions are
        8-connected and weigh the same, whatever their area. None without regions or good pixels.
        """
        if not self.regions or not self._good.any():
            return None
        flagged = np.concatenate([[0.0], np.cumsum(self._good[::-1]) / self._good.sum()])
        overlap = np.concatenate([[0.0], np.cumsum(self._overlap[::-1]) / self.regions])
        inside = flagged <= limit
        across = np.append(flagged[inside], limit)
        up = np.append(overlap[inside], np.interp(limit, flagged, overlap))
        return float(np.trapezoid(up, across) / limit)


def _connected(truth: Truth) -> list[npt.NDArray[np.int64]]:
    count, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    places = np.flatnonzero(truth)
    own = labels.ravel()[places]
    return np.split(places[np.argsort(own, kind="stable")], np.cumsum(np.bincount(own, minlength=count)[1:])[:-1])
