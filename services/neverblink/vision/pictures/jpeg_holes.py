"""Zeros where a JPEG's data were: what the decoder takes for a pattern, and no picture shows."""

import re

from neverblink.vision.pictures.faults import corrupt
from neverblink.vision.pictures.jpeg_scans import Frame

_FEWEST = 32
"""256 zero bits: by the standard's own tables 80 coefficients of −1 in a row."""

_ZEROS = re.compile(rb"\0{%d,}" % _FEWEST)
_END = b"\xff\xd9"
_END_OF_BLOCK = 0


def check_for_holes(data: bytes, frame: Frame, scan: int) -> None:
    """Refuse a sequential JPEG whose scan, its header at byte `scan`, holds zeros of which its tables make no sense.

    A part of a file or a packet that was never written is zeros, and one in five such holes decodes without a warning.
    Where zeros say that a block ends, as tables made for very even pictures have it, they are no evidence. Zeros
    before the end marker are left to the decoder. Raises ImageError, IndexError.
    """
    if frame.progressive or data.find(bytes(_FEWEST), scan) < 0:
        return
    used = {data[scan + 4 + 2 * number] & 15 for number in range(data[scan + 2])}
    if all(frame.zeros.get(table, _END_OF_BLOCK) == _END_OF_BLOCK for table in used):
        return
    end = data.find(_END, scan)
    for hole in _ZEROS.finditer(data, scan, end):
        if hole.end() != end:
            raise corrupt(f"the JPEG has a hole: {hole.end() - hole.start()} zeros from byte {hole.start()} on")
