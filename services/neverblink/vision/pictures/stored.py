"""What a picture file says of itself, and the values that it stores."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.uint8 | np.uint16]
"""(H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16, as a file stores them."""


class Stored(NamedTuple):
    """A file whose headers are read: pixels across and down as they are stored, and EXIF's orientation, 1 for none.

    `values` decodes it: in colour or grey without alpha where its argument is true, with all that is stored where not.
    It raises ImageError, and IndexError or struct.error for a file that is cut within a header.
    """

    width: int
    height: int
    orientation: int
    values: Callable[[bool], Values]
