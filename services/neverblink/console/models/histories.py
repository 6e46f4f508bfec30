"""The scores of a station's last parts, kept for the seconds in which a person moves a threshold to and fro."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from neverblink.http_serving.asking import Asking
from neverblink.records.questions.models.score_history import ScoreHistory, score_history

LENGTHS: Final = (1000, 5000, 10_000, 50_000)
"""How many of the last parts may be asked for."""

USUAL: Final = 5000
"""As many as a page has at hand in a tenth of a second."""

_KEPT_S: Final = 20.0
_MOST: Final = 4
"""Histories that are kept: one of 50,000 parts takes some 20 MB."""

_Key = tuple[str, str, str, int]


class Histories:
    """Asks the records once for all looks at one station within some seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[_Key, tuple[float, ScoreHistory]] = OrderedDict()

    async def of(self, ask: Asking, line: str, station: str, artifact: str, last: int, stations: int) -> ScoreHistory:
        """Return what the artifact of that digest scored of a station's last parts. Raises as `ask` does."""
        key = (line, station, artifact, last)
        for old in [one for one, held in self._kept.items() if self._clock() - held[0] >= _KEPT_S]:
            del self._kept[old]
        if key in self._kept:
            return self._kept[key][1]
        found = await ask(lambda session: score_history(session, line, station, artifact, last=last, stations=stations))
        self._kept[key] = (self._clock(), found)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return found
