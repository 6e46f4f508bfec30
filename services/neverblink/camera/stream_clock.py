"""When a picture was taken: by the camera's own clock, or by whether it had to be waited for. Pure."""

# Two crystals of 50 parts in a million each may drift apart so fast.
_DRIFT = 100e-6


class StreamClock:
    """Tells how old a picture was when it arrived, from the camera's own clock.

    What a camera's clock says and what ours says differ by a fixed offset and by the way that the picture took. The
    shortest way seen so far stands for the offset; every picture that took longer was that much older. The offset
    may grow as fast as two crystals drift apart, so that the clock follows a camera that runs slow.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._taken = 0.0
        self._arrived = 0.0

    def age_s(self, taken_s: float, arrived_s: float) -> float:
        """Take a picture's time by the camera and its arrival by a monotonic clock, both in seconds; return its age.

        A camera whose clock goes back began anew: its picture counts as fresh.
        """
        offset = arrived_s - taken_s
        if self._offset is None or taken_s < self._taken:
            self._offset = offset
        else:
            self._offset = min(offset, self._offset + _DRIFT * max(0.0, arrived_s - self._arrived))
        self._taken, self._arrived = taken_s, arrived_s
        return offset - self._offset


class ArrivalWatch:
    """Tells how long a picture may have waited in a driver's queue, for cameras that tell no time.

    A picture that had to be waited for is fresh. One that was there already came at some time after the queue was
    last seen empty.
    """

    def __init__(self, began_s: float) -> None:
        """`began_s` is when the queue was made, by the monotonic clock that the calls use."""
        self._empty_s = began_s

    def empty_at(self, now_s: float) -> None:
        """Remember that nothing waits now."""
        self._empty_s = now_s

    def unsure_s(self, now_s: float, *, waited_for: bool) -> float:
        """Return how much older than now the picture in hand may be, in seconds."""
        if waited_for:
            self._empty_s = now_s
            return 0.0
        return max(0.0, now_s - self._empty_s)
