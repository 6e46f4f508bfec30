"""When a picture was taken: by the camera's own clock, or by whether it had to be waited for. Pure."""

CRYSTALS = 100e-6
"""Two crystals of 50 parts in a million each drift apart so fast."""

NOMINAL_RATE = 0.01
"""Network cameras count time in pictures of a nominal rate, and a camera of 25 pictures a second makes 24.9."""


class StreamClock:
    """Tells how old a picture was when it arrived, from the camera's own clock.

    What a camera's clock says and what ours says differ by a fixed offset and by the way that the picture took. The
    shortest way seen so far stands for the offset; every picture that took longer was that much older. The offset
    may grow by `drift`, so that the clock follows a camera that runs slow, but not while pictures lie about unread.
    """

    def __init__(self, drift: float = CRYSTALS, reordered_s: float = 0.0) -> None:
        """`reordered_s` is how far back a picture may lie that a coder has put behind a later one."""
        self._drift = drift
        self._reordered_s = reordered_s
        self._offset: float | None = None
        self._taken = 0.0
        self._arrived = 0.0

    def age_s(self, taken_s: float, arrived_s: float, *, waited_for: bool = True) -> float:
        """Take a picture's time by the camera and its arrival by a monotonic clock, both in seconds; return its age.

        `waited_for` says that no picture lay unread before this one arrived. A camera whose clock goes back began
        anew: its picture counts as fresh.
        """
        offset = arrived_s - taken_s
        if self._offset is None or taken_s < self._taken - self._reordered_s:
            self._offset = offset
        else:
            grown = self._drift * max(0.0, arrived_s - self._arrived) if waited_for else 0.0
            self._offset = min(offset, self._offset + grown)
        self._taken, self._arrived = taken_s, arrived_s
        return offset - self._offset

    def age_now_s(self, taken_s: float, arrived_s: float) -> float:
        """Return the age of a picture that was taken before, by what is known now."""
        return max(0.0, arrived_s - taken_s - (self._offset or 0.0))


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
