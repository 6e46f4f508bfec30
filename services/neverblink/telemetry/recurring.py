"""What goes on happening, part after part: a line when it begins, and a count now and then."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

PERIOD_S: Final = 60.0
"""What goes on is summed up once in so long."""

_MOST_KINDS: Final = 256


@dataclass(slots=True)
class _Told:
    at: float
    more: int = 0


class Recurring:
    """Logs the first of a kind at once and the others as a count a minute; each of them is a line of level debug.

    An outage of two minutes at ten parts a second is one cause and twelve hundred parts: whoever reads the log wants
    the cause, since when and how many. Each part's own reason is in its event and in the metrics.
    """

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._told: dict[Hashable, _Told] = {}

    def tell(
        self,
        kind: Hashable,
        sentence: str,
        *,
        level: int = logging.WARNING,
        fields: Mapping[str, object] | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Say the sentence, or count it where its kind was told less than PERIOD_S ago; `error` gives a traceback."""
        now = self._clock()
        told = self._told.pop(kind, None)
        if told is None or now - told.at >= PERIOD_S:
            if told is not None and told.more:
                sentence = f"{sentence} (and {told.more} more like it in the {now - told.at:.0f} s before)"
            self._log.log(level, sentence, extra={"fields": dict(fields or {})}, exc_info=error)
            told = _Told(now)
        else:
            told.more += 1
            self._log.debug(sentence, extra={"fields": dict(fields or {})})
            if told.more == 1:
                self._sum_up_after(told.at + PERIOD_S - now, kind, sentence, level, fields)
        if len(self._told) >= _MOST_KINDS:
            del self._told[next(iter(self._told))]  # the one that has been silent for longest
        self._told[kind] = told

    def _sum_up_after(
        self, seconds: float, kind: Hashable, sentence: str, level: int, fields: Mapping[str, object] | None
    ) -> None:
        """Tell the count when the time is over even if nothing more happens. Without a loop the next one tells it."""

        def sum_up() -> None:
            told = self._told.get(kind)
            if told is not None and told.more:
                counted = f"{told.more} more like this in {PERIOD_S:.0f} s: {sentence}"
                self._log.log(level, counted, extra={"fields": dict(fields or {})})
                self._told[kind] = _Told(self._clock())

        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_later(seconds, sum_up)
