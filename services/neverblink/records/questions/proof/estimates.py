"""Recall, precision, false rejects and escapes of the parts of a period, each with its interval and its sample.

With R rejected and P passed parts, of which people found the share p of the drawn rejects and e of the drawn passes
defective: recall is R·p / (R·p + P·e), precision p, the false-reject rate R·(1 − p) / (R·(1 − p) + P·(1 − e)), the
escape rate e. Intervals of 95 % are of the process that made these parts; see `confidence.melded_shares`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from neverblink.confidence.intervals import Interval, share_interval
from neverblink.confidence.melded_shares import share_interval_beside, share_interval_of
from neverblink.confidence.sample_sizes import growth_for, reach
from neverblink.confidence.weighted_counts import WeightedCount
from neverblink.records.questions.proof.samples import Drawn, Sample, Stratum, together

MOSTLY = 0.8
"""So large a share of the unsure passes must have an answer for all of them to count as looked at."""

Unit = Literal["held-out passed parts", "judged rejects", "parts of the line"]
HELD_OUT: Unit = "held-out passed parts"
JUDGED: Unit = "judged rejects"
PARTS: Unit = "parts of the line"

_NONE = WeightedCount.of(0)


@dataclass(frozen=True, slots=True)
class Exactness:
    """To ± how much a figure must be known to be told: recall, precision and agreement; the other rates."""

    shares: float = 0.1
    rates: float = 0.01


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, where the parts are enough to know it to ± `within`; else `value` is None.

    `low` and `high` are its interval in any case. `seen` of `sample` answered parts were so. `more` says how many more
    `unit` it takes, 0 where there are enough, and `line_parts` how many parts the line makes meanwhile; None where that
    cannot be known, because nothing of the kind was seen.
    """

    value: float | None
    low: float
    high: float
    seen: int
    sample: int
    within: float
    unit: Unit
    more: int | None
    line_parts: int | None


@dataclass(frozen=True, slots=True)
class Number:
    """About how many parts of the period, from `low` to `high`; all None where no such part was judged."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Estimates:
    """What the drawn parts say. `escaped` and `rejected_good` are numbers of parts of this period.

    `defects_made` is the share of defective ones among all judged parts, `agreement` the share about which people and
    machine are of one mind. `unsure_counted`: the unsure passes were looked at, and count as a pool of their own.
    A held-out pass (a sure one, if so) stood for `pass_weight` passed parts and a judged reject for `reject_weight`
    rejected ones; None where the weights differ, because parts were drawn with different shares.
    """

    recall: Estimate
    precision: Estimate
    false_rejects: Estimate
    escapes: Estimate
    defects_made: Estimate
    agreement: Estimate
    escaped: Number
    rejected_good: Number
    unsure_counted: bool
    pass_weight: float | None
    reject_weight: float | None


@dataclass(slots=True)
class _Cells:
    """Caught and clean rejects, and lost passes, as weighted counts of all; how many were passed and rejected."""

    rejects: Stratum
    passes: tuple[Stratum, ...]
    passed: int = field(init=False)
    judged: int = field(init=False)
    caught: WeightedCount = field(init=False)
    clean: WeightedCount = field(init=False)
    lost: WeightedCount = field(init=False)

    def __post_init__(self) -> None:
        self.passed = sum(one.pool for one in self.passes)
        self.judged = self.passed + self.rejects.pool
        answered = self.rejects.sample.answered > 0
        self.caught, self.clean = (self.rejects.counted(kind) if answered else _NONE for kind in ("defective", "good"))
        found = [one.counted("defective") for one in self.passes if one.sample.answered]
        self.lost = sum(found[1:], found[0]) if found else _NONE

    @property
    def held_out(self) -> Drawn:
        """Return what was answered of the passes, as one."""
        return together(one.sample for one in self.passes)

    @property
    def passes_known(self) -> bool:
        """Say whether every pool of passes was looked into."""
        return self.passed > 0 and all(one.sample.answered for one in self.passes if one.pool)

    @property
    def rejects_known(self) -> bool:
        """Say whether the rejects were looked into, or there are none."""
        return self.rejects.pool == 0 or self.rejects.sample.answered > 0

    def of_passed(self, growth: float) -> Interval:
        """Return the interval of the escape rate: exact where all parts had one weight."""
        groups = [one for stratum in self.passes for one in stratum.groups if one.answered]
        if len(groups) == 1:
            return share_interval(groups[0].defective * growth, groups[0].answered * growth)
        return _over(self.lost.times(growth), self.passed, growth)

    def precise(self, growth: float) -> Interval:
        """Return the interval of the precision: exact where all rejects had one weight."""
        sample = self.rejects.sample
        if len([one for one in self.rejects.groups if one.answered]) == 1:
            return share_interval(sample.defective * growth, sample.answered * growth)
        return share_interval_of(self.caught.times(growth), self.clean.times(growth))


def estimates_of(sample: Sample, exactness: Exactness | None = None) -> Estimates:
    """Return what the drawn parts say of all parts of their period."""
    wanted = exactness or Exactness()
    unsure_counted, passes = _passes(sample)
    cells = _Cells(sample.rejects, passes)
    rejects, held_out = sample.rejects.sample, cells.held_out
    return Estimates(
        recall=_recall(cells, wanted.shares),
        precision=_precision(cells, wanted.shares),
        false_rejects=_false_rejects(cells, wanted.rates),
        escapes=_escapes(cells, wanted.rates),
        defects_made=_of_all(
            cells, cells.caught + cells.lost, wanted.rates, held_out.defective + rejects.defective, turned=False
        ),
        agreement=_of_all(cells, cells.clean + cells.lost, wanted.shares, held_out.good + rejects.defective),
        escaped=_number(cells.lost, known=cells.passes_known),
        rejected_good=_number(cells.clean, known=cells.rejects_known),
        unsure_counted=unsure_counted,
        pass_weight=_weight(passes[0]),
        reject_weight=_weight(sample.rejects),
    )


def _passes(sample: Sample) -> tuple[bool, tuple[Stratum, ...]]:
    """Return the pools of passes: the unsure ones beside the rest where people looked at (nearly) all of them."""
    unsure = sample.unsure
    if unsure.pool and unsure.sample.answered >= MOSTLY * unsure.pool:
        return True, (sample.passes, unsure)
    groups = [*sample.passes.groups, *sample.unsure_holdouts]
    shares = sorted({one.share for one in groups})
    merged = (together(one for one in groups if one.share == share) for share in shares)
    return False, (Stratum(sample.passes.pool + unsure.pool, tuple(merged)),)


def _recall(cells: _Cells, within: float) -> Estimate:
    caught, lost, held = cells.caught, cells.lost, cells.held_out
    seen = cells.rejects.sample.defective
    if cells.passes_known and cells.rejects_known and caught.total + lost.total > 0:
        return _told(
            _share(caught, lost), lambda k: share_interval_of(caught.times(k), lost.times(k)), within,
            (seen, seen + held.defective), HELD_OUT, held.answered, cells.judged,
        )  # fmt: skip
    first = None
    if not held.answered and caught.total > 0:
        first = growth_for(
            lambda n: share_interval_of(caught, WeightedCount.of(0, max(1.0, cells.passed / n))), 1.0, within
        )
    return _untold(within, (seen, seen + held.defective), HELD_OUT, first, cells)


def _precision(cells: _Cells, within: float) -> Estimate:
    sample = cells.rejects.sample
    if sample.answered:
        seen = (sample.defective, sample.answered)
        value = _share(cells.caught, cells.clean)
        return _told(value, cells.precise, within, seen, JUDGED, sample.answered, cells.judged)
    first = growth_for(lambda n: share_interval(n / 2, n), 0.5, within)
    return _untold(within, (0, 0), JUDGED, first, cells)


def _false_rejects(cells: _Cells, within: float) -> Estimate:
    clean, lost, sample = cells.clean, cells.lost, cells.rejects.sample
    seen = (sample.good, sample.answered)
    if not (cells.passes_known and cells.rejects_known):
        return _untold(within, seen, HELD_OUT, _first_escapes(cells, within), cells)
    passed = cells.passed
    value = clean.total / (clean.total + max(passed - lost.total, 0)) if clean.total else 0.0
    return _told(
        value, lambda k: share_interval_beside(clean.times(k), passed * k, lost.times(k)), within, seen, PARTS,
        cells.judged, cells.judged,
    )  # fmt: skip


def _escapes(cells: _Cells, within: float) -> Estimate:
    held = cells.held_out
    seen = (held.defective, held.answered)
    if not cells.passes_known:
        return _untold(within, seen, HELD_OUT, _first_escapes(cells, within), cells)
    value = min(1.0, cells.lost.total / cells.passed)
    return _told(value, cells.of_passed, within, seen, HELD_OUT, held.answered, cells.judged)


def _of_all(cells: _Cells, count: WeightedCount, within: float, seen: int, *, turned: bool = True) -> Estimate:
    """Return the share of a count among all judged parts, or `turned` that of all others."""
    held, sample = cells.held_out, cells.held_out.answered + cells.rejects.sample.answered
    if not (cells.passes_known and cells.rejects_known):
        return _untold(within, (seen, sample), HELD_OUT, _first_escapes(cells, within), cells)
    value = min(1.0, count.total / cells.judged)

    def grown(times: float) -> Interval:
        low, high = _over(count.times(times), cells.judged, times)
        return Interval(1 - high, 1 - low) if turned else Interval(low, high)

    return _told(
        1 - value if turned else value, grown, within, (seen, sample), HELD_OUT, held.answered, cells.judged
    )  # fmt: skip


def _told(
    value: float,
    grown: Callable[[float], Interval],
    within: float,
    seen: tuple[int, int],
    unit: Unit,
    of_unit: int,
    of_line: int,
) -> Estimate:
    low, high = grown(1.0)
    if reach(value, Interval(low, high)) <= within:
        return Estimate(value, low, high, *seen, within, unit, 0, 0)
    growth = growth_for(grown, value, within)
    if growth is None:
        return Estimate(None, low, high, *seen, within, unit, None, None)
    more = (math.ceil((growth - 1) * count) for count in (of_unit, of_line))
    return Estimate(None, low, high, *seen, within, unit, *more)


def _untold(within: float, seen: tuple[int, int], unit: Unit, first: float | None, cells: _Cells) -> Estimate:
    """Return that nothing is known yet, and what a first sample must be, if all that it finds is as is hoped for."""
    if first is None:
        return Estimate(None, 0.0, 1.0, *seen, within, unit, None, None)
    shares = [one.share for stratum in cells.passes for one in stratum.groups if one.share > 0]
    line = math.ceil(first / min(shares)) if unit == HELD_OUT and shares else None
    return Estimate(None, 0.0, 1.0, *seen, within, unit, math.ceil(first), line)


def _first_escapes(cells: _Cells, within: float) -> float | None:
    return None if cells.held_out.answered else growth_for(lambda n: share_interval(0, n), 0.0, within)


def _share(hits: WeightedCount, others: WeightedCount) -> float:
    return hits.total / (hits.total + others.total)


def _over(count: WeightedCount, pool: float, growth: float) -> Interval:
    low, high = count.interval()
    return Interval(min(1.0, low / (pool * growth)), min(1.0, high / (pool * growth)))


def _number(count: WeightedCount, *, known: bool) -> Number:
    if not known:
        return Number(None, None, None)
    return Number(count.total, *count.interval())


def _weight(stratum: Stratum) -> float | None:
    held = [one for one in stratum.groups if one.answered]
    return stratum.pool / held[0].answered if len(held) == 1 else None
