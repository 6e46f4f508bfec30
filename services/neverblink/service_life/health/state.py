"""What is known of this process: whether its loop turns, whether it is ready, and how each part of its work does."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from neverblink import __version__

Word = Literal["starting", "ready", "unready", "stopping"]

STANDS_STILL_S: Final = 30.0
"""A loop that has not turned for so long does nothing: its PLCs, brokers and people wait."""

_MOST_PARTS = 512


@dataclass(frozen=True, slots=True)
class Told:
    """What was told last: a word, and why."""

    word: Word
    why: str
    since: float


class State:
    """Written by the service's loop, read by the thread that answers: each write puts a whole new value in place."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.begin("")

    def begin(self, service: str) -> None:
        """Begin a service's life: nothing is known yet."""
        self.service = service
        self._told = Told("starting", "it has not said yet that it is ready", self._clock())
        self._parts: Mapping[str, str | None] = {}
        self._beat = self._clock()

    def beat(self) -> None:
        """Note that the loop turns."""
        self._beat = self._clock()

    def tell(self, word: Word, why: str = "") -> None:
        """Take what the service says of itself."""
        told = self._told
        if told.word == "stopping":
            return  # whatever a part says meanwhile
        self._told = Told(word, why, told.since if told.word == word else self._clock())

    def take_parts(self, parts: Mapping[str, str | None]) -> None:
        """Take how each part of the work does: None, or why it is not done now."""
        self._parts = dict(parts)

    @property
    def is_ready(self) -> bool:
        """Return whether all of its work is done."""
        return self._told.word == "ready"

    @property
    def last_beat(self) -> float:
        """Return when the loop last turned, seconds since 1970."""
        return self._beat

    @property
    def amiss(self) -> Mapping[str, str]:
        """Return the parts that are not done now, and why; without a part that says so, what was told."""
        found = {part: why for part, why in list(self._parts.items())[:_MOST_PARTS] if why is not None}
        return found or ({} if self.is_ready else {"service": self._told.why})

    def life(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the process lives, and what to answer."""
        still_s = self._clock() - self._beat
        if still_s < STANDS_STILL_S:
            return True, {"status": "alive", "service": self.service, "version": __version__}
        why = f"the loop of {self.service} has stood still for {still_s:.0f} s: restart it, and keep its log"
        return False, {"status": "stands still", "service": self.service, "version": __version__, "why": why}

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether all of the work is done, and the real state of each part of it, in sentences."""
        told, parts = self._told, self._parts
        known = {part: why or "works" for part, why in list(parts.items())[:_MOST_PARTS]}
        said: dict[str, Any] = {
            "status": told.word,
            "service": self.service,
            "for_s": round(max(0.0, self._clock() - told.since), 1),
        }
        if told.why:
            said["why"] = told.why
        alive, _ = self.life()
        return told.word == "ready" and alive, {**said, "parts": known}


STATE: Final = State()
"""This process's own: a process is one service."""
