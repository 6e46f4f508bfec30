"""How many of a value's 16 bits are used: stated by people, never guessed."""

import numpy as np
import numpy.typing as npt

from neverblink.vision.pictures.faults import unsupported
from neverblink.vision.pictures.stored import Values

_USUAL = (8, 10, 12, 14, 16)


def scaled(values: Values, depth: int | None, subject: str = "the image") -> npt.NDArray[np.uint8]:
    """Bring values of any shape to eight bits: uint8 ones as they are, uint16 ones by the `depth` that is stated.

    The full scale of `depth` bits becomes that of eight, as a camera does in its own 8-bit format. Raises ImageError
    for uint16 values without a depth or above it; the sentence about the `subject` names the depth that they suggest.
    """
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if depth is None:
        raise unsupported(
            f"{subject} has 16 bits a value and nothing states how many are used; {_suggestion(values)}: state it as"
            " `depth` of the station or product, or with --depth"
        )
    if not 8 <= depth <= 16:
        raise unsupported(f"a depth is 8 to 16 bits, not {depth}")
    if depth < 16 and int(values.max(initial=0)) >> depth:
        raise unsupported(f"{subject} is stated to have {depth} bits, and {_suggestion(values)}: correct its `depth`")
    return np.asarray(values >> (depth - 8), dtype=np.uint8)


def suggested_depth(values: Values) -> int:
    """Return the usual depth that uint16 values point to: the smallest that holds them, 16 where the low bits are bare.

    A dark picture points to less than it has, so this is for sentences alone.
    """
    highest = int(values.max(initial=0))
    used = int(np.bitwise_or.reduce(values, axis=None)) if values.size else 0
    if highest >> 12 and used & 15 == 0:
        return 16
    return next(bits for bits in _USUAL if not highest >> bits)


def _suggestion(values: Values) -> str:
    return f"its values go up to {int(values.max(initial=0))}, which suggests a depth of {suggested_depth(values)}"
