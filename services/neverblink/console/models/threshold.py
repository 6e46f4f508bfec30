"""What another threshold would make of parts that were made: which would flip, what is promised, what escapes."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from neverblink.confidence.intervals import Interval, share_interval
from neverblink.confidence.sample_sizes import growth_for, reach
from neverblink.confidence.weighted_counts import WeightedCount
from neverblink.events import Decision, Judgement
from neverblink.records.questions.models.score_history import ScoredPart
from neverblink.records.questions.proof.samples import Drawn, Stratum

SHOWN: Final = 12
"""Parts that are shown of those that would flip, each way, the newest."""

_WITHIN: Final = 0.01
"""To ± so much an escape rate must be known to be called known: as the figures of proof ask for."""

_MOSTLY: Final = 0.8
"""So large a share of the unsure passes must be judged for them to count as a pool of their own, as in proof."""

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Flips:
    """Parts that would be decided otherwise, and what people found in them; `newest` are verdicts to look at."""

    count: int
    normal: int
    defective: int
    newest: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Escapes:
    """About how many defective parts of the history would pass, from `low` to `high`: from drawn and judged parts.

    `value` is None where no passed part was drawn and judged. `seen` of `judged` such parts are defective and would
    pass. `rate` is the share of `passing`, the parts that would pass; `more` held-out parts must be judged until it is
    known to ± 1 %: 0, it is; None, that cannot be known.
    """

    value: float | None
    low: float | None
    high: float | None
    seen: int
    judged: int
    passing: int
    more: int | None

    @property
    def rate(self) -> float | None:
        """Return the share of passing parts that would be defective."""
        return None if self.value is None or not self.passing else min(1.0, self.value / self.passing)


@dataclass(frozen=True, slots=True)
class Preview:
    """A threshold on real history. `rejected` are those of the history that were, `would` those that would be.

    `kept` are rejects that no threshold lets pass: a known defect was found in them. `known` and `known_escape` are
    parts that people judged defective, and those of them that would pass; they were partly chosen, so no rate follows.
    `promised` is the share of good parts rejected at most, by held-out images: None where nothing is promised or known.
    """

    threshold: float
    parts: int
    rejected: int
    would: int
    kept: int
    to_reject: Flips
    to_pass: Flips
    known: int
    known_escape: int
    escapes: Escapes
    promised: float | None


def preview_of(parts: Sequence[ScoredPart], threshold: float, promise: Callable[[float], float | None]) -> Preview:
    """Return what a threshold makes of these parts, the newest first; `promise` says what it promises.

    A part whose score lies above it is rejected, and one in which a known defect was found stays so.
    """
    to_reject: list[ScoredPart] = []
    to_pass: list[ScoredPart] = []
    rejected = would = kept = known = known_escape = 0
    for part in parts:
        was, by_defect = part.decision == Decision.REJECT, part.reason == "defect"
        will = stays(part, threshold)
        rejected += was
        would += will
        kept += was and by_defect
        if will and not was:
            to_reject.append(part)
        elif was and not will:
            to_pass.append(part)
        if part.judgement == Judgement.DEFECT:
            known += 1
            known_escape += not will
    return Preview(
        threshold=threshold,
        parts=len(parts),
        rejected=rejected,
        would=would,
        kept=kept,
        to_reject=_flips(to_reject),
        to_pass=_flips(to_pass),
        known=known,
        known_escape=known_escape,
        escapes=escapes_of(parts, threshold),
        promised=promise(threshold),
    )


def stays(part: ScoredPart, threshold: float) -> bool:
    """Say whether a part would be rejected."""
    return part.score > threshold or (part.decision == Decision.REJECT and part.reason == "defect")


def escapes_of(parts: Sequence[ScoredPart], threshold: float) -> Escapes:
    """Return about how many defective parts would pass, each judged one standing for those like it.

    Of passed parts those count that were held out, of rejects those that were drawn for the audit or held out.
    """
    passed = [one for one in parts if one.decision == Decision.PASS]
    unsure = [one for one in passed if one.unsure]
    looked_at = sum(_answered(one) for one in unsure)
    alone = bool(unsure) and looked_at >= _MOSTLY * len(unsure)
    sure = [one for one in passed if not (alone and one.unsure)]
    rejects = [one for one in parts if one.decision == Decision.REJECT]
    passes = [_stratum(len(sure), ((one, one.holdout_share or 1.0) for one in sure if one.holdout), threshold)]
    if alone:
        passes.append(_stratum(len(unsure), ((one, 1.0) for one in unsure), threshold))
    caught = _stratum(len(rejects), ((one, _share(one)) for one in rejects if one.audited or one.holdout), threshold)
    passing = sum(not stays(one, threshold) for one in parts)
    held = [one.sample for one in passes]
    answered, seen = sum(one.answered for one in held), sum(one.defective for one in held)
    seen, judged = seen + caught.sample.defective, answered + caught.sample.answered
    # A reject that no one has judged yet could be anything: only where some would pass does that matter.
    needed = any(not stays(one, threshold) for one in rejects)
    known = [one for one in (*passes, *([caught] if needed else [])) if one.pool]
    if not passing or not known or any(not one.sample.answered for one in known):
        first = growth_for(lambda count: share_interval(0, count), 0.0, _WITHIN)
        return Escapes(None, None, None, seen, judged, passing, None if first is None else math.ceil(first))
    counts = [one.counted("defective") for one in known]
    total = sum(counts[1:], counts[0])
    low, high = total.interval()
    return Escapes(total.total, low, min(high, float(passing)), seen, judged, passing, _more(total, passing, answered))


def _more(total: WeightedCount, passing: int, answered: int) -> int | None:
    """Return how many more held-out parts it takes until the escape rate is known to ± 1 %."""
    value = min(1.0, total.total / passing)

    def grown(growth: float) -> Interval:
        low, high = total.times(growth).interval()
        return Interval(min(1.0, low / (passing * growth)), min(1.0, high / (passing * growth)))

    if reach(value, grown(1.0)) <= _WITHIN:
        return 0
    growth = growth_for(grown, value, _WITHIN)
    return None if growth is None else math.ceil((growth - 1) * answered)


def _stratum(pool: int, drawn: Iterable[tuple[ScoredPart, float]], threshold: float) -> Stratum:
    """Count a pool's drawn parts: `defective` are those that are so and would pass, `good` all other answered ones."""
    groups: defaultdict[float, list[int]] = defaultdict(lambda: [0, 0, 0])
    for part, share in drawn:
        group = groups[share]
        if not _answered(part):
            group[2] += 1
        elif part.judgement == Judgement.DEFECT and not stays(part, threshold):
            group[0] += 1
        else:
            group[1] += 1
    found = (Drawn(share, counts[0], counts[1], waiting=counts[2]) for share, counts in sorted(groups.items()))
    return Stratum(pool, tuple(found))


def _answered(part: ScoredPart) -> bool:
    return part.judgement in (Judgement.NORMAL, Judgement.DEFECT)


def _share(part: ScoredPart) -> float:
    """Return with what share a reject like it is judged: as one of the audit, or as a holdout."""
    return 1 - (1 - (1.0 if part.audit_share is None else part.audit_share)) * (1 - (part.holdout_share or 0.0))


def _flips(parts: Sequence[ScoredPart]) -> Flips:
    return Flips(
        len(parts),
        sum(one.judgement == Judgement.NORMAL for one in parts),
        sum(one.judgement == Judgement.DEFECT for one in parts),
        tuple(one.verdict for one in parts[:SHOWN]),
    )
