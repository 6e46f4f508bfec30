"""The figures of a study, from what was decided and what the parts are known to be. Pure: no files, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from neverblink.agreement.kappa import Decisions, Kappa, cohen, fleiss
from neverblink.agreement.limits import EFFECTIVENESS, FALSE_ALARM_RATE, MISS_RATE, Grade, at_least, at_most, worst
from neverblink.confidence.clusters import ClusteredShare, clustered_share


@dataclass(frozen=True, slots=True)
class Judged:
    """What one appraiser decided: (N, T) bool, True for defective, of N parts in T whole rounds, at least one."""

    name: str
    decisions: Decisions
    is_machine: bool = False


@dataclass(frozen=True, slots=True)
class TypeMissed:
    """Decisions about parts with one type of defect that called them good."""

    defect_type: str
    missed: int
    decisions: int


@dataclass(frozen=True, slots=True)
class AppraiserFigures:
    """One appraiser, round against round and against the reference.

    `alike`: parts with the same decision in all rounds, and `within`, Fleiss' kappa of the rounds; None of one round.
    `effectiveness`: parts judged right in all rounds; `misses` and `false_alarms`: wrong decisions about defective and
    good parts; `against`: Cohen's kappa with the reference.
    """

    name: str
    is_machine: bool
    rounds: int
    alike: ClusteredShare | None
    within: Kappa | None
    effectiveness: ClusteredShare
    misses: ClusteredShare
    false_alarms: ClusteredShare
    against: Kappa
    types: tuple[TypeMissed, ...]

    @property
    def grades(self) -> tuple[Grade | None, Grade | None, Grade | None]:
        """Return what the manual calls effectiveness, misses and false alarms."""
        return (
            at_least(self.effectiveness.share, EFFECTIVENESS),
            at_most(self.misses.share, MISS_RATE),
            at_most(self.false_alarms.share, FALSE_ALARM_RATE),
        )

    @property
    def grade(self) -> Grade | None:
        """Return the worst of the three."""
        return worst(*self.grades)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two appraisers, and how far they agree."""

    one: str
    other: str
    kappa: Kappa


@dataclass(frozen=True, slots=True)
class PartAnswers:
    """A part and what each appraiser decided in each round, in the order of the appraisers."""

    part: int
    defective: bool
    answers: tuple[tuple[bool, ...], ...]

    @property
    def split(self) -> bool:
        """Say whether not all decisions are the same one."""
        return len({one for rounds in self.answers for one in rounds}) > 1

    @property
    def wrong(self) -> int:
        """Return how many decisions are not the reference's."""
        return sum(one != self.defective for rounds in self.answers for one in rounds)

    @property
    def all_wrong(self) -> bool:
        """Say whether no decision is the reference's: perhaps it is the reference that is wrong."""
        return all(one != self.defective for rounds in self.answers for one in rounds)


@dataclass(frozen=True, slots=True)
class StudyFigures:
    """A whole study. `between` and `all_alike` are of people, and None where only one was asked.

    `all_alike`: parts with one decision by all people in all rounds; `all_right`: those where it is the reference's.
    `parts` holds people's answers alone.
    """

    good: int
    defective: int
    appraisers: tuple[AppraiserFigures, ...]
    pairs: tuple[Pair, ...]
    between: Kappa | None
    all_alike: ClusteredShare | None
    all_right: ClusteredShare | None
    parts: tuple[PartAnswers, ...]


def figures_of(defective: Sequence[bool], types: Sequence[str | None], judged: Sequence[Judged]) -> StudyFigures:
    """Return a study's figures; `defective` and `types` are what its N parts are known to be."""
    truth = np.array(defective, dtype=np.bool_)
    people = [one for one in judged if not one.is_machine]
    looks = np.hstack([one.decisions for one in people]) if people else np.empty((len(truth), 0), np.bool_)
    several = len(people) > 1
    one_each = np.ones(len(truth), np.int64)
    alike = np.all(looks == looks[:, :1], axis=1)
    right = np.all(looks == truth[:, None], axis=1)
    return StudyFigures(
        good=int((~truth).sum()),
        defective=int(truth.sum()),
        appraisers=tuple(_of_one(one, truth, types) for one in judged),
        pairs=tuple(_pair(one, other) for one, other in combinations(judged, 2)),
        between=fleiss(looks) if several else None,
        all_alike=clustered_share(alike, one_each) if several else None,
        all_right=clustered_share(right, one_each) if people else None,
        parts=tuple(
            PartAnswers(place, bool(known), tuple(tuple(map(bool, one.decisions[place])) for one in people))
            for place, known in enumerate(truth)
        ),
    )


def _of_one(judged: Judged, truth: Decisions, types: Sequence[str | None]) -> AppraiserFigures:
    decisions = judged.decisions
    rounds = decisions.shape[1]
    each, one_each = np.full(len(truth), rounds), np.ones(len(truth), np.int64)
    wrong = (decisions != truth[:, None]).sum(axis=1)
    repeated = rounds > 1
    return AppraiserFigures(
        name=judged.name,
        is_machine=judged.is_machine,
        rounds=rounds,
        alike=clustered_share(np.all(decisions == decisions[:, :1], axis=1), one_each) if repeated else None,
        within=fleiss(decisions) if repeated else None,
        effectiveness=clustered_share(wrong == 0, one_each),
        misses=clustered_share(wrong[truth], each[truth]),
        false_alarms=clustered_share(wrong[~truth], each[~truth]),
        against=cohen(decisions, truth[:, None]),
        types=tuple(
            TypeMissed(name, int(wrong[chosen].sum()), len(chosen) * rounds)
            for name, chosen in _by_type(truth, types).items()
        ),
    )


def _by_type(truth: Decisions, types: Sequence[str | None]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place in np.flatnonzero(truth).tolist():
        found.setdefault(types[place] or "not named", []).append(place)
    return dict(sorted(found.items()))


def _pair(one: Judged, other: Judged) -> Pair:
    """Compare two round by round, as far as both went; who went one round is beside each of the other's."""
    rounds = one.decisions.shape[1], other.decisions.shape[1]
    both = max(rounds) if 1 in rounds else min(rounds)
    return Pair(one.name, other.name, cohen(one.decisions[:, :both], other.decisions[:, :both]))
