"""What good parts scored at calibration, small enough to travel: the baseline that drift compares with."""

import numpy as np
import numpy.typing as npt
from datasketches import kll_floats_sketch

SKETCH_K = 1024
"""Exact up to so many scores; beyond, ranks are within 0.3 % (Z. Karnin, K. Lang, E. Liberty, FOCS 2016)."""


def ratio_sketch(scores: npt.NDArray[np.floating], threshold: float) -> bytes:
    """Return a serialised KLL sketch of score / threshold, as Apache DataSketches of any language reads it."""
    sketch = kll_floats_sketch(SKETCH_K)
    sketch.update((np.asarray(scores, dtype=np.float64) / threshold).astype(np.float32))
    return bytes(sketch.serialize())
