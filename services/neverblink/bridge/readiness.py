"""Whether the bridge serves all its lines, and which it does not: a refused line is never covered up by the rest. Pure.

A line that only reconnects is not told of: a broken session is normally back within a second.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neverblink.bridge.line_status import LinkState

PATIENCE_S = 3.0
REMIND_S = 300.0
LEFT_OUT = "left-out"
KAFKA = "Kafka"
_SERVED = (LinkState.READY, LinkState.DEGRADED)
_ENDED = (LinkState.DOWN, LinkState.REFUSED)


@dataclass(frozen=True, slots=True)
class LineStanding:
    """Where a line stands now; `sentence` says why it is not served, as it was last told."""

    link: LinkState
    sentence: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What to tell: the lines that are served, and why each other one is not."""

    served: tuple[str, ...]
    missing: Mapping[str, str]

    @property
    def sentence(self) -> str:
        """Return it in words."""
        lines = {name: why for name, why in self.missing.items() if name != KAFKA}
        total = len(self.served) + len(lines)
        said = [] if KAFKA not in self.missing else [f"no verdicts come or no outcomes go: {self.missing[KAFKA]}"]
        if lines:
            named = "; ".join(f"{name}, {why}" for name, why in lines.items())
            said.append(f"the bridge serves {len(self.served)} of {total} lines; not served: {named}")
        return "; ".join(said)


class Readiness:
    """Turns the lines' standing into what is worth telling: a change, and now and then what is still missing.

    `left_out` are the plant file's faults: nobody can serve those lines before it is corrected.
    """

    def __init__(self, left_out: Sequence[str]) -> None:
        self._left_out = {f"fault {number}": f"left out: {why}" for number, why in enumerate(left_out, 1)}
        self._away_since: dict[str, float] = {}
        self._link: dict[str, LinkState] = {}
        self._told: frozenset[tuple[str, str]] | None = None
        self._told_at = 0.0
        self._kafka_since: float | None = None
        self.missing: Mapping[str, str] = {}
        """Why each line that is not served is not, as of the last update."""

    def update(self, lines: Mapping[str, LineStanding], now: float, kafka: str | None = None) -> Standing | None:
        """Take the lines as they are at `now`, seconds of a steady clock; return the standing if it is to be told.

        `kafka` says what cannot be read or written there, in words with since when: without it no line gets verdicts.
        """
        missing = dict(self._left_out)
        settled = True
        self._kafka_since = None if kafka is None else self._kafka_since or now
        if kafka is not None and self._kafka_since is not None:
            if now - self._kafka_since >= PATIENCE_S:
                missing[KAFKA] = kafka
            else:
                settled = False
        for name, line in lines.items():
            if line.link in _SERVED:
                self._away_since.pop(name, None)
                self._link.pop(name, None)
                continue
            # A refused line knocks again every few seconds; until it is let in it is refused.
            link = self._link[name] = line.link if line.link in _ENDED else self._link.get(name, LinkState.DOWN)
            since = self._away_since.setdefault(name, now)
            if link is LinkState.REFUSED or now - since >= PATIENCE_S:
                missing[name] = f"{link}: {line.sentence}" if line.sentence else str(link)
            else:
                settled = False
        self.missing = missing
        if self._told is None and not settled:
            return None  # at the start, the first word is about all lines
        told = frozenset((name, str(self._link.get(name, name))) for name in missing)
        if told == self._told and (not missing or now - self._told_at < REMIND_S):
            return None
        self._told, self._told_at = told, now
        return Standing(tuple(name for name in lines if name not in missing), missing)

    def parts(self, lines: Mapping[str, LineStanding], kafka: str | None) -> Mapping[str, str | None]:
        """Return how each line and Kafka do at this moment: None, or why a line is not served."""
        served = {
            name: None if line.link in _SERVED else f"{line.link}: {line.sentence}" if line.sentence else str(line.link)
            for name, line in lines.items()
        }
        return {**self._left_out, **served, KAFKA: kafka}

    def count(self, lines: Mapping[str, LineStanding]) -> Mapping[str, int]:
        """Return how many lines are in each state, zeros included."""
        found = Counter(line.link for line in lines.values())
        return {str(link): found[link] for link in LinkState} | {LEFT_OUT: len(self._left_out)}
