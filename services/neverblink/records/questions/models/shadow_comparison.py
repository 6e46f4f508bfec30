"""A model in shadow against what scored: the same frames, and about which parts the two are not of one mind."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink.events.identity import verdict_id
from neverblink.records.tables import ShadowVerdictRow, VerdictRow

LOOKED_AT: Final = 5000
"""The newest scores in shadow, of the whole plant, that one answer looks at."""

_AT_ONCE = 500
_DECIDED = ("pass", "reject")
_MOST_SHOWN = 24


@dataclass(frozen=True, slots=True)
class Comparison:
    """How both decided about `parts`, by (what acted, in shadow); `found` counts what people found, by the same.

    `differ` are the newest verdicts about which they are not of one mind. `unscored` could not be compared.
    """

    parts: int
    decided: dict[tuple[str, str], int]
    found: dict[tuple[str, str, str], int]
    differ: tuple[str, ...]
    unscored: int

    def count(self, acted: str, shadow: str, judgement: str | None = None) -> int:
        """Return how many were decided so; with a judgement, of how many of them people found that."""
        if judgement is None:
            return self.decided.get((acted, shadow), 0)
        return self.found.get((acted, shadow, judgement), 0)


def shadow_comparison(session: Session, line: str, station: str, champion: str, challenger: str) -> Comparison:
    """Compare two artifacts, by their digests, on the last frames of a station that both have scored."""
    shadow = ShadowVerdictRow
    newest = (
        select(
            shadow.line, shadow.station, shadow.artifact_digest, shadow.cause, shadow.frame_id, shadow.decision,
            shadow.challenge,
        )
        .order_by(shadow.recorded.desc(), shadow.captured.desc(), shadow.id)
        .limit(LOOKED_AT)
    )  # fmt: skip
    wanted = (line, station, challenger, "shadow-model")
    theirs = {
        verdict_id(frame): decision
        for *place, frame, decision, challenge in session.execute(newest)
        if tuple(place) == wanted and not challenge
    }
    decided: Counter[tuple[str, str]] = Counter()
    found: Counter[tuple[str, str, str]] = Counter()
    differ: list[str] = []
    unscored = 0
    ids = list(theirs)
    for begin in range(0, len(ids), _AT_ONCE):
        query = select(VerdictRow.id, VerdictRow.decision, VerdictRow.artifact_digest, VerdictRow.judgement)
        query = query.where(VerdictRow.id.in_(ids[begin : begin + _AT_ONCE]))
        acted = {one[0]: one[1:] for one in session.execute(query)}
        for id_ in ids[begin : begin + _AT_ONCE]:
            if id_ not in acted or acted[id_][1] != champion:
                continue
            decision, _, judgement = acted[id_]
            pair = (decision, theirs[id_])
            if not set(pair) <= set(_DECIDED):
                unscored += 1
                continue
            decided[pair] += 1
            if judgement is not None:
                found[*pair, judgement] += 1
            if pair[0] != pair[1] and len(differ) < _MOST_SHOWN:
                differ.append(id_)
    return Comparison(decided.total(), dict(decided), dict(found), tuple(differ), unscored)
