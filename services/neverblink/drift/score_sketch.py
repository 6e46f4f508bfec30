"""The distribution of score / threshold in about a kilobyte, mergeable: a KLL sketch of Apache DataSketches.

Source: Z. Karnin, K. Lang, E. Liberty, Optimal Quantile Approximation in Streams, FOCS 2016. A sketch that has
compacted holds what a coin decided, so two sketches of the same values differ within `rank_error`; up to `K`
values it is exact, and its count is exact always.
"""

from base64 import b64decode, b64encode
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from datasketches import kll_floats_sketch

K = 128
"""About 1.5 kB once full, ranks within 2.1 %. 200 would cost half as much again for 1.3 %, and a shift's sketch
is kept 84 times (`history.SHIFTS_KEPT`)."""

_MOST_POINTS = 512


class ScoreSketch:
    """A sketch that can be added to, merged, kept and asked for ranks and quantiles."""

    __slots__ = ("_sketch",)

    def __init__(self, sketch: Any = None) -> None:
        self._sketch = kll_floats_sketch(K) if sketch is None else sketch

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> Self:
        """Return the sketch of (n,) values."""
        found = cls()
        found._sketch.update(np.ascontiguousarray(values, dtype=np.float32))
        return found

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Read a serialised KLL float sketch of any K, as an artifact carries it. Raises ValueError for other bytes."""
        try:
            return cls(kll_floats_sketch.deserialize(raw))
        except (IndexError, RuntimeError, ValueError) as error:
            raise ValueError(f"{len(raw)} bytes are no KLL sketch of floats: {error}") from error

    def to_bytes(self) -> bytes:
        """Return the sketch as Apache DataSketches of any language reads it."""
        return bytes(self._sketch.serialize())

    def to_text(self) -> str:
        """Return the bytes as base64, for JSON; nothing when there is no value."""
        return b64encode(self.to_bytes()).decode() if self.count else ""

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` wrote."""
        return cls.from_bytes(b64decode(text)) if text else cls()

    @property
    def count(self) -> int:
        """How many values were added, exactly."""
        return int(self._sketch.n)

    @property
    def rank_error(self) -> float:
        """How far a rank may be off, with 99 % confidence; 0 while every value is held."""
        return float(self._sketch.normalized_rank_error(False)) if self._sketch.is_estimation_mode() else 0.0

    def add(self, value: float) -> None:
        """Take one value."""
        self._sketch.update(value)

    def merge(self, other: "ScoreSketch") -> None:
        """Take all of another's values; the other stays as it is."""
        self._sketch.merge(other._sketch)

    def quantile(self, rank: float) -> float:
        """Return the value below which that share lies. Raises ValueError without values."""
        self._check()
        return float(self._sketch.get_quantile(rank))

    def points(self) -> npt.NDArray[np.float64]:
        """Return where its distribution function steps: every value of a small sketch, of a large one 512."""
        self._check()
        number = min(self.count, _MOST_POINTS)
        ranks = (np.arange(number) + 0.5) / number
        return np.unique(np.asarray(self._sketch.get_quantiles(ranks.tolist()), dtype=np.float64))

    def outline(self, number: int) -> npt.NDArray[np.float32]:
        """Return (number,) quantiles at evenly spaced ranks. Raises ValueError without values."""
        self._check()
        ranks = (np.arange(number) + 0.5) / number
        return np.asarray(self._sketch.get_quantiles(ranks.tolist()), dtype=np.float32)

    @classmethod
    def of_outline(cls, quantiles: npt.NDArray[np.float32], count: int) -> Self:
        """Return a sketch of `count` values that lie as (n,) quantiles say; its count is exact."""
        shares, rest = divmod(count, len(quantiles))
        times = np.full(len(quantiles), shares)
        times[np.linspace(0, len(quantiles) - 1, rest).astype(np.int64)] += 1
        return cls.of(np.repeat(quantiles, times))

    def ranks(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the share of values at or below each of (n,) ascending, distinct values."""
        self._check()
        # DataSketches takes float32: what would collide there counts as the same split point.
        splits, place = np.unique(values.astype(np.float32), return_inverse=True)
        found: npt.NDArray[np.float64] = np.asarray(self._sketch.get_cdf(splits.tolist(), True), dtype=np.float64)
        return found[place]

    def _check(self) -> None:
        if not self.count:
            raise ValueError("a sketch without values has no distribution")
