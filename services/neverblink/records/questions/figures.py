"""How the inspection did, in counts with the sample that each share is of."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from neverblink.records.part_tables import RollupRow
from neverblink.records.questions.rollup_filter import RollupFilter


@dataclass(frozen=True, slots=True)
class Share:
    """So many of a sample; `share` is None of an empty one."""

    count: int
    sample: int
    share: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What became of the parts between `since` and `until`.

    `false_rejects` are rejected parts that people found normal, of all rejected parts that they found normal or
    defective; `escapes` are parts that passed and that people found defective, of all passed parts with such an answer.
    Reviews are not drawn at random, so these are no estimates for all parts. `gate_escaped`: the gate passed what we
    did not.
    """

    since: datetime | None
    until: datetime | None
    parts: int
    passed: Share
    rejected: Share
    unscored: Share
    late: Share
    unsure: Share
    told_in_time: Share
    gate_escaped: Share
    gate_lost: Share
    reviewed: Share
    inconclusive: Share
    false_rejects: Share
    escapes: Share

    @property
    def good_after_review(self) -> Share:
        """Return the yield with what people said: rejects found normal are good, passed parts found defective not."""
        return _share(self.passed.count + self.false_rejects.count - self.escapes.count, self.parts)


_NAMES = (
    "parts", "passed", "rejected", "unscored", "late", "unsure", "told_confirmed", "told_late", "told_unknown",
    "told_failed", "gate_passed", "gate_rejected", "gate_fail_safe", "gate_stale", "gate_confirm_fail", "escaped",
    "lost", "reviewed", "judged_inconclusive", "false_rejects", "escapes", "passes_judged", "rejects_judged",
)  # fmt: skip


def figures(session: Session, wanted: RollupFilter) -> Figures:
    """Return the figures of the parts that fit, or of one station's verdicts."""
    query = select(*(func.coalesce(func.sum(getattr(RollupRow, name)), 0) for name in _NAMES))
    row = session.execute(query.where(*wanted.conditions(RollupRow))).one()
    found = {name: int(value) for name, value in zip(_NAMES, row, strict=True)}
    told = sum(found[f"told_{outcome}"] for outcome in ("confirmed", "late", "unknown", "failed"))
    gated = sum(found[f"gate_{act}"] for act in ("passed", "rejected", "fail_safe", "stale", "confirm_fail"))
    parts = found["parts"]
    span = wanted.in_hours()
    return Figures(
        since=span.since,
        until=span.until,
        parts=parts,
        passed=_share(found["passed"], parts),
        rejected=_share(found["rejected"], parts),
        unscored=_share(found["unscored"], parts),
        late=_share(found["late"], parts),
        unsure=_share(found["unsure"], parts),
        told_in_time=_share(found["told_confirmed"], told),
        gate_escaped=_share(found["escaped"], gated),
        gate_lost=_share(found["lost"], gated),
        reviewed=_share(found["reviewed"], parts),
        inconclusive=_share(found["judged_inconclusive"], found["reviewed"]),
        false_rejects=_share(found["false_rejects"], found["rejects_judged"]),
        escapes=_share(found["escapes"], found["passes_judged"]),
    )


def _share(count: int, sample: int) -> Share:
    return Share(count, sample, count / sample if sample else None)
