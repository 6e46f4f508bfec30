"""How many parts of a lot are inspected, and how many of them may be bad: ISO 2859-1 single sampling by attributes.

Source: ISO 2859-1:1999, table 1 (code letters), tables 2-A and 2-B (single sampling plans for normal and tightened
inspection), up to an AQL of 10, beyond which the standard counts nonconformities and no longer parts. Reduced
inspection (table 2-C) is left out: whether it may be used depends on the lots before (clause 9.3).
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import binom

from neverblink.confidence.intervals import upper_bound
from neverblink.trainer.offline_inspection.settings import Level, Severity
from neverblink.vision.errors import VisionError

AQLS = (0.010, 0.015, 0.025, 0.040, 0.065, 0.10, 0.15, 0.25, 0.40, 0.65, 1.0, 1.5, 2.5, 4.0, 6.5, 10.0)
"""The preferred AQLs that count nonconforming parts, in percent: the columns of the tables below."""

CONSUMER_RISK = 0.10
"""The chance at which the standard states the quality that a customer may still get (tables 6-A and 6-B)."""

_LARGEST_LOTS = (8, 15, 25, 50, 90, 150, 280, 500, 1_200, 3_200, 10_000, 35_000, 150_000, 500_000)
_CODES: dict[Level, str] = {"I": "AABCCDEFGHJKLMN", "II": "ABCDEFGHJKLMNPQ", "III": "BCDEFGHJKLMNPQR"}

_LETTERS = "ABCDEFGHJKLMNPQRS"
_SIZES = (2, 3, 5, 8, 13, 20, 32, 50, 80, 125, 200, 315, 500, 800, 1_250, 2_000, 3_150)

# Acceptance numbers by letter and AQL; v and ^ are the arrows: the first plan below, the first plan above.
_NORMAL = """
    v  v  v  v  v  v  v  v  v  v  v  v  v  v  0  v
    v  v  v  v  v  v  v  v  v  v  v  v  v  0  ^  v
    v  v  v  v  v  v  v  v  v  v  v  v  0  ^  v  1
    v  v  v  v  v  v  v  v  v  v  v  0  ^  v  1  2
    v  v  v  v  v  v  v  v  v  v  0  ^  v  1  2  3
    v  v  v  v  v  v  v  v  v  0  ^  v  1  2  3  5
    v  v  v  v  v  v  v  v  0  ^  v  1  2  3  5  7
    v  v  v  v  v  v  v  0  ^  v  1  2  3  5  7 10
    v  v  v  v  v  v  0  ^  v  1  2  3  5  7 10 14
    v  v  v  v  v  0  ^  v  1  2  3  5  7 10 14 21
    v  v  v  v  0  ^  v  1  2  3  5  7 10 14 21  ^
    v  v  v  0  ^  v  1  2  3  5  7 10 14 21  ^  ^
    v  v  0  ^  v  1  2  3  5  7 10 14 21  ^  ^  ^
    v  0  ^  v  1  2  3  5  7 10 14 21  ^  ^  ^  ^
    0  ^  v  1  2  3  5  7 10 14 21  ^  ^  ^  ^  ^
    ^  ^  1  2  3  5  7 10 14 21  ^  ^  ^  ^  ^  ^
"""
_TIGHTENED = """
    v  v  v  v  v  v  v  v  v  v  v  v  v  v  v  v
    v  v  v  v  v  v  v  v  v  v  v  v  v  v  0  v
    v  v  v  v  v  v  v  v  v  v  v  v  v  0  v  v
    v  v  v  v  v  v  v  v  v  v  v  v  0  v  v  1
    v  v  v  v  v  v  v  v  v  v  v  0  v  v  1  2
    v  v  v  v  v  v  v  v  v  v  0  v  v  1  2  3
    v  v  v  v  v  v  v  v  v  0  v  v  1  2  3  5
    v  v  v  v  v  v  v  v  0  v  v  1  2  3  5  8
    v  v  v  v  v  v  v  0  v  v  1  2  3  5  8 12
    v  v  v  v  v  v  0  v  v  1  2  3  5  8 12 18
    v  v  v  v  v  0  v  v  1  2  3  5  8 12 18  ^
    v  v  v  v  0  v  v  1  2  3  5  8 12 18  ^  ^
    v  v  v  0  v  v  1  2  3  5  8 12 18  ^  ^  ^
    v  v  0  v  v  1  2  3  5  8 12 18  ^  ^  ^  ^
    v  0  v  v  1  2  3  5  8 12 18  ^  ^  ^  ^  ^
    0  ^  v  1  2  3  5  8 12 18  ^  ^  ^  ^  ^  ^
    ^  ^  1  ^  ^  ^  ^  ^  ^  ^  ^  ^  ^  ^  ^  ^
"""
_TABLES: dict[Severity, list[list[str]]] = {
    "normal": [row.split() for row in _NORMAL.strip().split("\n")],
    "tightened": [row.split() for row in _TIGHTENED.strip().split("\n")],
}


class LotError(VisionError):
    """A lot that no sampling plan can be drawn up for; the message says why and what would do."""


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """`sample` parts of a lot of `lot` are inspected; it is accepted with at most `accept` bad ones among them.

    `code` is the letter of the lot's size, `letter` that of the plan, which is another one where the table has an
    arrow. `aql` is in percent nonconforming.
    """

    lot: int
    level: Level
    severity: Severity
    aql: float
    code: str
    letter: str
    sample: int
    accept: int

    @property
    def reject(self) -> int:
        """Return the rejection number: from so many bad parts on the lot is not accepted."""
        return self.accept + 1

    @property
    def whole_lot(self) -> bool:
        """Say whether every part is inspected, because the plan's sample is not smaller than the lot."""
        return self.sample == self.lot

    def acceptance_probability(self, nonconforming: float) -> float:
        """Return how likely a lot is accepted from a process with that share of bad parts, 0 to 1.

        Binomial, as the standard's operating characteristic curves for nonconforming parts (clause 12.1).
        """
        return float(binom.cdf(self.accept, self.sample, nonconforming))

    def quality_accepted_with(self, probability: float) -> float:
        """Return the share of bad parts, 0 to 1, at which a lot is still accepted with that probability."""
        return upper_bound(self.accept, self.sample, 1 - probability)


@dataclass(frozen=True, slots=True)
class LotDecision:
    """What the sample says about its lot. Parts without a score count as bad: nobody knows that they are good."""

    plan: SamplingPlan
    rejected: int
    unscored: int

    @property
    def nonconforming(self) -> int:
        """Return how many parts of the sample count as bad."""
        return self.rejected + self.unscored

    @property
    def accepted(self) -> bool:
        """Say whether the lot is accepted."""
        return self.nonconforming <= self.plan.accept


def plan_for(lot: int, aql: float, *, level: Level = "II", severity: Severity = "normal") -> SamplingPlan:
    """Return the single sampling plan of a lot of `lot` parts for an AQL in percent nonconforming.

    An arrow leads to the next plan in its direction, with that plan's own sample size (clause 10.3); a sample that is
    not smaller than the lot is the whole lot (tables 2-A, 2-B). Raises LotError for an AQL that is no column of the
    tables, or a lot of fewer than two parts.
    """
    if lot < 2:
        raise LotError(f"a lot of {lot} has no sampling plan: the smallest has 2 parts")
    if aql not in AQLS:
        raise LotError(
            f"{aql:g} is no AQL of ISO 2859-1 for nonconforming parts: use one of {', '.join(map('{:g}'.format, AQLS))}"
        )
    code = row = _LETTERS.index(_CODES[level][bisect_left(_LARGEST_LOTS, lot)])
    table, column = _TABLES[severity], AQLS.index(aql)
    while not (cell := table[row][column]).isdigit():
        row += 1 if cell == "v" else -1
    return SamplingPlan(
        lot=lot,
        level=level,
        severity=severity,
        aql=aql,
        code=_LETTERS[code],
        letter=_LETTERS[row],
        sample=min(_SIZES[row], lot),
        accept=int(cell),
    )


def draw(parts: Iterable[str], count: int, seed: int) -> list[str]:
    """Return `count` of the parts at random, the same ones for the same seed on every machine; order does not matter.

    Those are drawn whose sha256 with the seed is lowest. Raises LotError when there are fewer.
    """
    candidates: Sequence[str] = sorted(set(parts), key=lambda part: hashlib.sha256(f"{seed}/{part}".encode()).digest())
    if len(candidates) < count:
        raise LotError(f"the plan needs {count} parts, and there are images of {len(candidates)}")
    return sorted(candidates[:count])
