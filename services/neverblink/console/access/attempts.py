"""How often a password may be guessed: failures are counted by account and by address, and cost more and more time.

Counts are kept in memory: who restarts the console starts them anew. An account alone is never shut for long, or
anybody could shut out the administrator.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FREE: Final = 5
"""Failures that cost nothing."""
FREE_OF_ADDRESS: Final = 20
LONGEST_S: Final = 300.0
LONGEST_OF_ACCOUNT_S: Final = 10.0
FORGOTTEN_S: Final = 1800.0
MOST_KEPT: Final = 20_000


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Attempts:
    """Counts failures; `clock` gives seconds. At most MOST_KEPT are remembered, the oldest are forgotten first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, ...], _Failures] = OrderedDict()

    def wait_s(self, name: str, address: str) -> float:
        """Return for how long the next try of this account from this address is refused; 0 when it is not."""
        now = self._clock()
        return max(
            (self._wait(key, free, longest, now) for key, free, longest in _keys(name, address)),
            default=0.0,
        )

    def failed(self, name: str, address: str) -> None:
        """Count a failure: before the password is looked at, so that tries at the same time are all counted."""
        now = self._clock()
        for key, _, _ in _keys(name, address):
            held = self._kept.pop(key, None)
            known = 0 if held is None or now - held.last > FORGOTTEN_S else held.count
            self._kept[key] = _Failures(known + 1, now)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def worked(self, name: str, address: str) -> None:
        """Forget what failed for this account from this address; of the address this try alone is taken back."""
        for key, _, _ in _keys(name, address):
            held = self._kept.get(key)
            if key[0] == "address" and held is not None and held.count > 1:
                held.count -= 1
            else:
                self._kept.pop(key, None)

    def _wait(self, key: tuple[str, ...], free: int, longest: float, now: float) -> float:
        held = self._kept.get(key)
        if held is None or held.count < free or now - held.last > FORGOTTEN_S:
            return 0.0
        cost = min(longest, 2.0 ** min(held.count - free, 20))
        return max(0.0, held.last + cost - now)


def _keys(name: str, address: str) -> tuple[tuple[tuple[str, ...], int, float], ...]:
    known = name.casefold()[:64]
    return (
        (("both", known, address), FREE, LONGEST_S),
        (("account", known), 10 * FREE, LONGEST_OF_ACCOUNT_S),
        (("address", address), FREE_OF_ADDRESS, LONGEST_S),
    )
