"""Whether a service does all of its work: the real state of every station, topic and database."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from neverblink.service_life.health import STATE
from neverblink.service_life.running import ready, unready
from neverblink.service_life.waiting import wait_or_stop

PATIENCE_S: Final = 1.0
"""A part that is mended within so long is not told of: a connection that is made anew, a broker that moves."""

START_PATIENCE_S: Final = 5.0
"""At the start connections are still being made: what lasts longer is told."""

REMIND_S: Final = 300.0
_LOOK_EVERY_S = 0.5

Parts = Mapping[str, str | None]
"""What a service does, part by part, and for each why it is not done now; None: it is."""


class Told(Protocol):
    """What can be said of trouble in a sentence."""

    @property
    def sentence(self) -> str:
        """What cannot be done, and since when."""


def in_words(troubles: Iterable[Told | None]) -> str | None:
    """Return the sentences of what is in trouble, None where nothing is."""
    return "; ".join(found.sentence for found in troubles if found is not None) or None


class Standing:
    """Turns the state of a service's parts into `ready` and `unready`, each told when it changes.

    What stays amiss is told again every `REMIND_S`, so that a log that begins in the middle says it too.
    """

    def __init__(
        self,
        service: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell_ready: Callable[..., None] = ready,
        tell_unready: Callable[..., None] = unready,
        **fields: object,
    ) -> None:
        """`fields` go with the ready record."""
        self._service = service
        self._clock = clock
        self._ready, self._unready = tell_ready, tell_unready
        self._fields = fields
        self._amiss_since: dict[str, float] = {}
        self.amiss: Mapping[str, str] = {}
        """What is amiss for longer than the patience, and why."""
        self._told: frozenset[str] | None = None
        self._told_at = 0.0

    def update(self, parts: Parts) -> None:
        """Take the parts as they are now."""
        now = self._clock()
        STATE.take_parts(parts)
        for part, why in parts.items():
            if why is None:
                self._amiss_since.pop(part, None)
            else:
                self._amiss_since.setdefault(part, now)
        amiss = {part: why for part, why in parts.items() if why is not None}
        patience_s = START_PATIENCE_S if self._told is None else PATIENCE_S
        lasting = frozenset(part for part in amiss if now - self._amiss_since[part] >= patience_s)
        self.amiss = {part: why for part, why in amiss.items() if part in lasting}
        if amiss and not lasting and self._told is None:
            return  # at the start the first word is about all parts
        if lasting == self._told and (not lasting or now - self._told_at < REMIND_S):
            return
        self._told, self._told_at = lasting, now
        if not lasting:
            self._ready(self._service, **self._fields)
        else:
            said = "; ".join(f"{part}: {amiss[part]}" for part in amiss if part in lasting)
            self._unready(self._service, f"{self._service} does a part of its work only. {said}", amiss=sorted(lasting))


async def keep_standing(standing: Standing, parts: Callable[[], Parts], stop: asyncio.Event) -> None:
    """Ask the parts twice a second and tell their standing, until `stop` is set."""
    while True:
        standing.update(parts())
        if await wait_or_stop(stop, _LOOK_EVERY_S):
            return
