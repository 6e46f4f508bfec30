"""Reads a camera's own picture counter: what it counted and we did not get is lost."""

MAX_LOST = 1024
"""A longer gap is told in the log; a verdict for each of its parts would help nobody any more."""

# GigE Vision 1.x counts blocks in 16 bits and leaves out 0; other counters are 64 bits wide and never wrap.
_WRAPS_AFTER = 0xFFFF
_NEAR_WRAP = 1024


class PictureCounter:
    """Counts lost pictures between those that arrived. Pure."""

    def __init__(self) -> None:
        self._last: int | None = None

    def restart(self) -> None:
        """Forget the last count: the camera counts anew after each connection."""
        self._last = None

    def lost_before(self, count: int | None) -> int:
        """Take the count of a picture that arrived and return how many are missing since the one before.

        None is a camera that does not count. A count that went back is a camera that began anew: nobody knows what it
        lost.
        """
        last, self._last = self._last, count
        if last is None or count is None:
            return 0
        if count > last:
            return count - last - 1
        if last <= _WRAPS_AFTER and last - count > _WRAPS_AFTER - _NEAR_WRAP and count > 0:
            return _WRAPS_AFTER - last + count - 1
        return 0
