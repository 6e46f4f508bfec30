"""Reads a camera's own picture counter: what it counted and we did not get is lost, what it counts again is old."""

MAX_LOST = 1024
"""A longer gap is told in the log; a verdict for each of its parts would help nobody any more."""

# GigE Vision 1.x counts blocks in 16 bits and leaves out 0; other counters are 64 bits wide and never wrap.
_WRAPS_AFTER = 0xFFFF
_NEAR_WRAP = 1024
# Drivers have some eight buffers; an old one comes again within so many pictures.
_REMEMBERED = 64


class PictureCounter:
    """Counts lost pictures between those that arrived. Pure."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._taken_s: float | None = None
        self._moves = False
        self._uncounted = 0

    def restart(self) -> None:
        """Forget the last count: the camera counts anew after each connection."""
        self._last = self._taken_s = None
        self._moves = False
        self._uncounted = 0

    def is_repeated(self, count: int | None, taken_s: float | None, *, same_pixels: bool) -> bool:
        """Say whether a buffer is one that was delivered before, before `lost_before` takes its count.

        `taken_s` is the camera's own time of the picture, `same_pixels` whether it is the last one bit for bit. Its
        own time proves a picture new. Without it a count at or just behind the last is an old buffer, unless the count
        never moved: such a camera does not count, and only equal pixels tell. A count of 0 or 1 began anew.
        """
        behind = self._behind(count)
        if taken_s is not None and self._taken_s is not None:
            is_old = taken_s == self._taken_s or (taken_s < self._taken_s and behind is not None)
        elif behind == 0:
            is_old = self._moves or same_pixels
        else:
            is_old = behind is not None
        if not is_old:
            self._taken_s = taken_s
        return is_old

    def _behind(self, count: int | None) -> int | None:
        """Return how many pictures before the last one this was counted, None for a later one or one begun anew."""
        if count is None or self._last is None or (count < self._last and count <= 1):
            return None
        behind = self._last - count
        if count <= _WRAPS_AFTER and behind < _REMEMBERED - _WRAPS_AFTER:
            behind += _WRAPS_AFTER
        return behind if 0 <= behind < _REMEMBERED else None

    def lost_before(self, count: int | None, *, uncounted: bool = False) -> int:
        """Take the count of a picture that arrived and return how many are missing since the one before.

        None is a camera that does not count; with `uncounted` it is one that does, and a picture whose count could
        not be read. A count that went back is a camera that began anew: nobody knows what it lost.
        """
        if uncounted and count is None:
            self._uncounted += 1
            return 0
        arrived, self._uncounted = self._uncounted, 0
        last, self._last = self._last, count
        if last is None or count is None:
            return 0
        self._moves = self._moves or count != last
        return max(0, _missing(last, count) - arrived)


def _missing(last: int, count: int) -> int:
    if count > last:
        return count - last - 1
    if last <= _WRAPS_AFTER and last - count > _WRAPS_AFTER - _NEAR_WRAP and count > 0:
        return _WRAPS_AFTER - last + count - 1
    return 0
