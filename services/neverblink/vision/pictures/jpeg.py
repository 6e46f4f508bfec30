"""JPEG: libjpeg-turbo with warnings as errors, after a check of its markers.

libjpeg itself fills what is missing with grey and only warns. Whatever is refused here stays refused: another decoder
would take it.
"""

from functools import partial

import numpy as np
import numpy.typing as npt
import simplejpeg

from neverblink.vision.pictures.faults import corrupt, unsupported
from neverblink.vision.pictures.jpeg_holes import check_for_holes
from neverblink.vision.pictures.jpeg_scans import Frame, check_scans, read_frame
from neverblink.vision.pictures.stored import Stored, Values

# Sampling factors of luma and chroma that libjpeg-turbo's interface for whole pictures knows: 4:4:4, 4:2:2, 4:2:0,
# 4:4:0, 4:1:1, 4:4:1.
_LAYOUTS = frozenset({"1x1, 1x1, 1x1", "2x1, 1x1, 1x1", "2x2, 1x1, 1x1", "1x2, 1x1, 1x1", "4x1, 1x1, 1x1"})
_END = b"\xff\xd9"


def opened(data: bytes) -> Stored:
    """Read the headers before the first scan. Raises ImageError, IndexError, struct.error."""
    frame, offset = read_frame(data)
    return Stored(frame.width, frame.height, frame.orientation, partial(_values, data, frame, offset))


def _values(data: bytes, frame: Frame, offset: int, colour: bool) -> Values:
    """Return (H, W, 3) RGB, or (H, W) for a grey picture that need not be in `colour`."""
    check_scans(data, frame, offset)
    check_for_holes(data, frame, offset)
    inks = len(frame.components) == 4
    space = "CMYK" if inks else "GRAY" if len(frame.components) == 1 and not colour else "RGB"
    pixels = _decoded(data, space, frame)
    return _from_inks(pixels) if inks else pixels[..., 0] if space == "GRAY" else pixels


def _decoded(data: bytes, space: str, frame: Frame) -> npt.NDArray[np.uint8]:
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, space, strict=True), dtype=np.uint8)
    except ValueError as error:
        if len(frame.components) == 3 and frame.layout not in _LAYOUTS:
            raise unsupported(
                f"the JPEG samples its colours as {frame.layout}, which is not read: save it with 4:4:4, 4:2:2 or 4:2:0"
            ) from error
        mended = _without_padding(data)
        if mended is None:
            raise corrupt(f"the JPEG is damaged: {_sentence(error)}") from error
    return _decoded(mended, space, frame)


def _without_padding(data: bytes) -> bytes | None:
    """Return a JPEG without the zeros that some encoders put before its end marker, None where there are none.

    The decoder refuses those as it does lost data. Without them a picture that is whole decodes, and one that was cut
    and filled up ends too early: a scan's own last byte is padded with ones, or is the 00 behind an FF.
    """
    end = data.rfind(_END)
    kept = data[:end].rstrip(b"\0")
    if end < 0 or len(kept) == end:
        return None
    if kept.endswith(b"\xff"):
        kept += b"\0"
        if len(kept) == end:
            return None
    return kept + _END


def _sentence(error: ValueError) -> str:
    """Return what libjpeg-turbo says, without the name of its function."""
    return str(error).rpartition("(): ")[2].removeprefix("Corrupt JPEG data: ")


def _from_inks(inks: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Turn (H, W, 4) inks, stored as Adobe does with 255 for none, into RGB as OpenCV does."""
    key = inks[..., 3:].astype(np.int32)
    return np.asarray(key - ((255 - inks[..., :3].astype(np.int32)) * key >> 8), dtype=np.uint8)
