"""Whether a service does all of its work: the real state of every line, station, partition and database."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from neverblink.service_life.running import ready, unready

_STARTING: Final = "is not there yet"


class Standing:
    """What a service does, part by part; it is ready while all parts are well.

    A part that is not yet known is not well. Every change is told once: `ready` when the last part is well again,
    `unready` with the sentences of all that are not.
    """

    def __init__(
        self,
        service: str,
        parts: tuple[str, ...] = (),
        *,
        clock: Callable[[], float] = time.time,
        tell_ready: Callable[..., None] = ready,
        tell_unready: Callable[..., None] = unready,
        **fields: object,
    ) -> None:
        """`parts` must each be well before the service is ready; `fields` go with its ready record."""
        self._service = service
        self._clock = clock
        self._ready, self._unready = tell_ready, tell_unready
        self._fields = fields
        self._faults: dict[str, tuple[str, float] | None] = dict.fromkeys(parts, (_STARTING, clock()))
        self._told: tuple[str, ...] | None = None
        self._was_ready = False

    @property
    def is_ready(self) -> bool:
        """Return whether every part is well."""
        return all(fault is None for fault in self._faults.values())

    @property
    def faults(self) -> tuple[str, ...]:
        """Return a sentence for each part that is not well, with since when."""
        return tuple(
            f"{part}: {fault[0]} (since {datetime.fromtimestamp(fault[1], UTC):%H:%M:%S} UTC)"
            for part, fault in self._faults.items()
            if fault is not None
        )

    def well(self, part: str) -> None:
        """Take that a part does its work."""
        self._faults[part] = None
        self._tell()

    def ill(self, part: str, sentence: str) -> None:
        """Take that a part does not do its work, and why; the same sentence again changes nothing."""
        known = self._faults.get(part)
        since = self._clock() if known is None else known[1]
        self._faults[part] = sentence, since
        self._tell()

    def gone(self, part: str) -> None:
        """Forget a part that this service has no longer to do, such as a partition that moved."""
        self._faults.pop(part, None)
        self._tell()

    def _tell(self) -> None:
        faults = self.faults
        if faults == self._told:
            return
        self._told = faults
        if not faults:
            self._was_ready = True
            self._ready(self._service, **self._fields)
        elif self._was_ready or any(fault is not None and fault[0] != _STARTING for fault in self._faults.values()):
            self._unready(self._service, f"{self._service} does a part of its work only: {'; '.join(faults)}")
