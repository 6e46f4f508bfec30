"""What people found in the parts that were drawn, and of how many each stands. Counts, nothing estimated."""

from collections.abc import Iterable
from dataclasses import dataclass

from neverblink.confidence.weighted_counts import WeightedCount


@dataclass(frozen=True, slots=True)
class Drawn:
    """Parts that were drawn with one share, by what people found; `waiting` has no answer yet.

    `undecided` was looked at without a decision: inconclusive, or two reviewers disagree and no third has settled it.
    """

    share: float
    defective: int = 0
    good: int = 0
    undecided: int = 0
    waiting: int = 0

    @property
    def answered(self) -> int:
        """Return how many were found good or defective."""
        return self.defective + self.good

    @property
    def drawn(self) -> int:
        """Return how many were drawn."""
        return self.answered + self.undecided + self.waiting


def together(groups: Iterable[Drawn]) -> Drawn:
    """Return the groups as one; its share is that of all when they agree, else 0: there is no one share."""
    known = list(groups)
    shares = {one.share for one in known}
    return Drawn(
        shares.pop() if len(shares) == 1 else 0.0,
        *(sum(getattr(one, name) for one in known) for name in ("defective", "good", "undecided", "waiting")),
    )


@dataclass(frozen=True, slots=True)
class Stratum:
    """A pool of parts of known size, and what of it was drawn. What was drawn and has no answer is as the rest."""

    pool: int
    groups: tuple[Drawn, ...]

    @property
    def sample(self) -> Drawn:
        """Return what was drawn, as one."""
        return together(self.groups)

    def counted(self, kind: str) -> WeightedCount:
        """Return how many of the pool are `defective`, or `good`. At least one was answered.

        An answered part stands for pool/Σ(1/share)·(1/share) parts: with one share for all, for pool/answered.
        """
        held = [one for one in self.groups if one.answered]
        if len(held) == 1:
            return WeightedCount.sampled(getattr(held[0], kind), held[0].answered, max(self.pool, held[0].answered))
        weighed = sum(one.answered / one.share for one in held)
        weights = [self.pool / weighed / one.share for one in held]
        found = WeightedCount.of(0, max(weights))
        for one, weight in zip(held, weights, strict=True):
            found += WeightedCount.of(getattr(one, kind), weight)
        return found


@dataclass(frozen=True, slots=True)
class Reference:
    """How often a reference part was rejected, passed (`unsure` of these times), and could not be scored."""

    reference: str
    rejected: int
    passed: int
    unscored: int
    unsure: int = 0

    @property
    def came(self) -> int:
        """Return how often it came."""
        return self.rejected + self.passed + self.unscored


@dataclass(frozen=True, slots=True)
class Sample:
    """All counts that the figures are made of. Reference parts are in none but `references`.

    `passes` are the passed parts without doubt and what of them was held out, `unsure` the passed parts of which the
    machine was unsure, with all answers about them (everyone's review is asked for) as first group and those of
    holdouts among them in `unsure_holdouts`. `beyond`: parts that people judged although nobody drew them.
    """

    parts: int
    unscored: int
    passes: Stratum
    unsure: Stratum
    unsure_holdouts: tuple[Drawn, ...]
    rejects: Stratum
    beyond: int = 0
    references: tuple[Reference, ...] = ()
