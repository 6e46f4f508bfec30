"""What a service cannot read or write now, and since when: the half of readiness that is Kafka's."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Trouble:
    """What cannot be done, in words, and the seconds since the epoch since which."""

    what: str
    since: float

    @property
    def sentence(self) -> str:
        """Return it in words."""
        return f"{self.what} (since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S} UTC)"


class Watch:
    """Remembers the trouble of one client: it begins with the first failure and ends with the first success."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.now: Trouble | None = None

    def failed(self, what: str, since: float | None = None) -> None:
        """Note that something cannot be done; the words may change, the beginning stays."""
        began = self.now.since if self.now is not None else since or self._clock()
        self.now = Trouble(what, began)

    def follow(self, since: float | None, what: Callable[[], str]) -> None:
        """Note what somebody else watches: since when it cannot be done, None when it can; asks for words in need."""
        if since is None:
            self.worked()
        else:
            self.failed(what(), since)

    def worked(self) -> None:
        """Note that it can be done again."""
        self.now = None
