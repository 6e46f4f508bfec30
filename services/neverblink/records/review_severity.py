"""Which verdicts a person should look at, and which first."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum

from neverblink.events import Decision

GOOD_REFERENCES = "good-references"
"""Under this name the ledger's state has the ids of the reference parts that are good: `{"ids": [...]}`."""


class Severity(IntEnum):
    """Why a verdict waits for a person, the worst first."""

    CHALLENGE_MISS = 0
    REJECT = 1
    UNSCORED = 2
    UNSURE = 3
    HOLDOUT = 4
    SHADOW_DISAGREEMENT = 5
    SECOND_LOOK = 6

    @property
    def word(self) -> str:
        """Return how people and programs call it, such as `challenge-miss`."""
        return self.name.lower().replace("_", "-")

    @property
    def is_blind(self) -> bool:
        """Say whether who judges is not told why: nobody shall know which of such parts are holdouts."""
        return self in _ALIKE

    @property
    def shown(self) -> str:
        """Return what reviewers are told, `look` for all among which holdouts are."""
        return LOOK if self.is_blind else self.word

    @classmethod
    def of_word(cls, word: str) -> "Severity | None":
        """Return the severity of that word, None when there is none."""
        return next((one for one in cls if one.word == word), None)


LOOK = "look"
"""What reviewers are told of what waits and may be a holdout."""

_ALIKE = frozenset({Severity.UNSURE, Severity.HOLDOUT, Severity.SHADOW_DISAGREEMENT, Severity.SECOND_LOOK})


@dataclass(frozen=True, slots=True)
class VerdictFacts:
    """What of a verdict its severity depends on. `shadows` are the decisions of shadow models about its frame.

    `audited` is False for a reject that was not drawn to be judged. `known_good` says of a challenge
    that it is a good part, sent to see it pass.
    """

    decision: str
    unsure: bool = False
    holdout: bool = False
    challenge: bool = False
    shadows: Collection[str] = ()
    audited: bool = True
    known_good: bool = False


def severity_of(verdict: VerdictFacts) -> Severity | None:
    """Return why a person should look at a verdict, None when nothing asks for it.

    What a challenge part is, is known: one that was rejected has answered already, and so has a good one that passed.
    """
    if verdict.challenge and verdict.decision == Decision.PASS:
        return None if verdict.known_good else Severity.CHALLENGE_MISS
    if verdict.decision == Decision.REJECT:
        if verdict.challenge:
            return None
        return Severity.REJECT if verdict.audited else Severity.HOLDOUT if verdict.holdout else None
    if verdict.decision == Decision.UNSCORED:
        return Severity.UNSCORED
    if verdict.unsure:
        return Severity.UNSURE
    if verdict.holdout:
        return Severity.HOLDOUT
    if Decision.REJECT in verdict.shadows:
        return Severity.SHADOW_DISAGREEMENT
    return None
