"""How long to wait before the next try."""

import random


class BackOff:
    """Waits that double from `first_s` to `longest_s`, each drawn within a fifth around its value.

    The draw keeps the stations of a plant from knocking all at once at what has just come back.
    """

    def __init__(self, first_s: float, longest_s: float, random_: random.Random | None = None) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s
        self._random = random_ or random.Random()

    def next(self, asked_s: float | None = None) -> float:
        """Return the seconds to wait now: about `asked_s`, where the other side has said how long."""
        wait = self._next_s
        self._next_s = min(wait * 2, self._longest_s)
        return (asked_s or wait) * self._random.uniform(0.8, 1.2)

    def reset(self) -> None:
        """Begin again: the last try worked."""
        self._next_s = self._first_s
