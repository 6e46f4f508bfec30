"""What a picture file says of itself, and the values that it stores."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.uint8 | np.uint16]
"""(H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16, as a file stores them."""


class Header(NamedTuple):
    """Pixels across and down as they are stored; `orientation` is EXIF's, 1 where the file has none."""

    width: int
    height: int
    orientation: int = 1
