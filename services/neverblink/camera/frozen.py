"""Notices a camera that delivers the same pictures again and again."""

from collections import deque

LONGEST_CYCLE = 12
"""Drivers hand out old buffers in turn when they have lost track of them; few queues have more than a dozen."""


class FrozenWatch:
    """Counts pictures that come again bit for bit; a real sensor's noise makes each picture different.

    Frozen is the same picture `after` times in a row and, with `cycles`, a whole cycle of two to `LONGEST_CYCLE`
    pictures as many times. Recordings and folders that begin again are no cycles.
    """

    def __init__(self, after: int | None, *, cycles: bool = False) -> None:
        self._after = after
        self._digests: deque[str] = deque(maxlen=LONGEST_CYCLE if cycles else 1)
        # By length of cycle: how many pictures in a row were those of one cycle before.
        self._again = [0] * (LONGEST_CYCLE + 1)

    def frozen_cycle(self, digest: str) -> int:
        """Take the next picture's digest; return how many pictures come again and again, 0 when none do."""
        found = 0
        for length in range(len(self._digests), 0, -1):
            self._again[length] = self._again[length] + 1 if self._digests[-length] == digest else 0
            if self._after is not None and self._again[length] >= length * (self._after - 1):
                found = length
        self._digests.append(digest)
        return found
