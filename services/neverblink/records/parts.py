"""One part from the events that speak of it: which belong together, and what they come to.

Pure. Events of all topics arrive in any order; nothing here depends on it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from neverblink.events import Decision
from neverblink.records.review_state import DISPUTED, ReviewFacts, judgement_of
from neverblink.records.tables import Row

SLACK = timedelta(seconds=60)
"""Events of one name that lie farther apart than this are of two parts: a PLC counted anew, a day later."""

STOPPED = timedelta(hours=12)
"""A part may stand on a belt that does not move for so long before its gate acts."""

AGAIN = timedelta(seconds=2)
"""A station looks at a part once: one that speaks so much later of the same number speaks of another part."""

_ROUNDED = timedelta(milliseconds=100)  # an outcome says its trigger in rounded milliseconds

MOST_LETTERS = 128
"""Of a free word that is kept in an index or a count; the verdict has the whole."""


class Key(NamedTuple):
    """What a part is called: by the PLC's count, or where no PLC triggered it by its name."""

    line: str
    epoch: int | None
    number: int | None
    part: str | None


class VerdictFacts(NamedTuple):
    """What of a verdict's row counts for its part."""

    id: str
    line: str
    station: str
    product: str
    part: str
    epoch: int | None
    number: int | None
    decision: str
    reason: str | None
    ratio: float | None
    artifact_digest: str | None
    captured: datetime
    deadline: datetime
    late: bool
    holdout: bool
    challenge: bool
    holdout_share: float | None
    reference: str | None
    audit_share: float | None
    audited: bool
    unsure: bool
    order_no: str | None
    lot: str | None
    serial: str | None
    recipe: str | None
    carrier: str | None
    attributes: Mapping[str, Any] | None
    trace_id: str | None
    judgement: str | None

    @property
    def key(self) -> Key:
        """Return what its part is called."""
        return key_of(self.line, self.epoch, self.number, self.part)

    @property
    def span(self) -> tuple[datetime, datetime]:
        """Return the time that it covers: until the part is at the gate."""
        return self.captured, max(self.captured, self.deadline)


class ActuationFacts(NamedTuple):
    """What of an actuation's row counts for its part."""

    id: str
    line: str
    part: str | None
    epoch: int
    number: int
    stage: str
    code: int | None
    outcome: str | None
    gate: str | None
    at: datetime
    deadline: datetime | None
    slack_ms: float | None
    trigger_to_told_ms: float | None
    incident: bool
    order_no: str | None
    lot: str | None
    serial: str | None
    recipe: str | None
    carrier: str | None
    attributes: Mapping[str, Any] | None
    trace_id: str | None

    @property
    def key(self) -> Key:
        """Return what its part is called."""
        return key_of(self.line, self.epoch, self.number, None)

    @property
    def triggered(self) -> datetime:
        """Return when the part was triggered, as far as it is known."""
        try:
            return self.at - timedelta(milliseconds=self.trigger_to_told_ms or 0.0)
        except OverflowError:  # a time of thousands of years says nothing
            return self.at

    @property
    def span(self) -> tuple[datetime, datetime]:
        """Return the time that it covers: from the trigger to the gate, or the instant at which the gate acted."""
        if self.stage == "gate":
            return self.at, self.at
        return min(self.triggered, self.at), max(self.at, self.deadline or self.at)


Facts = VerdictFacts | ActuationFacts
Spanned = TypeVar("Spanned", bound=Facts)


def key_of(line: str, epoch: int | None, number: int | None, part: str | None) -> Key:
    """Return what a part is called by; its name counts only where the PLC has not counted it."""
    if epoch is not None and number is not None:
        return Key(line, epoch, number, None)
    return Key(line, None, None, part)


@dataclass(slots=True)
class PartEvents:
    """All that was said of one part. Reviews and types of defects are by verdict."""

    verdicts: list[VerdictFacts] = field(default_factory=list)
    actuations: list[ActuationFacts] = field(default_factory=list)
    reviews: dict[str, list[ReviewFacts]] = field(default_factory=dict)
    defects: dict[str, list[str]] = field(default_factory=dict)

    def ordered(self) -> "PartEvents":
        """Return the same, in the one order that everything is decided in."""
        return PartEvents(
            sorted(self.verdicts, key=lambda one: (one.captured, one.id)),
            sorted(self.actuations, key=lambda one: (one.stage != "told", one.at, one.id)),
            self.reviews,
            self.defects,
        )


@dataclass(frozen=True, slots=True)
class PartRules:
    """What the plant file says of parts when they are written; afterwards the rows say it.

    `shift_at` names the shift of an instant; `counts` says of reviewer, line and instant whether an answer counts;
    `audit_share` with what share people judge the rejects of a product.
    """

    shift_at: Callable[[datetime], str] = lambda _: ""
    counts: Callable[[str, str, datetime], bool] = lambda *_: True
    audit_share: Callable[[str], float] = lambda _: 1.0


def judged(events: PartEvents) -> PartEvents:
    """Return the same with what people's answers about each verdict come to."""
    return replace(events, verdicts=[one._replace(judgement=_judgement(one, events)) for one in events.verdicts])


def _judgement(verdict: VerdictFacts, events: PartEvents) -> str | None:
    reviews = events.reviews.get(verdict.id)
    return judgement_of(reviews) if reviews else None


def clusters(facts: Iterable[Spanned]) -> Iterator[list[Spanned]]:
    """Yield what belongs together in time, oldest first: spans that overlap, with SLACK between them at most.

    A station that speaks again begins another part: a PLC counted anew. A gate that acts alone, later, is of the last
    part before it that was seen or told and has passed no gate yet: the belt stood still.
    """
    held: list[Spanned] = []
    for found in _touching(facts):
        if not all(is_gate(one) for one in found):
            if held:
                yield held
            held = found
        elif held and not any(map(is_gate, held)) and found[0].span[0] - held[0].span[0] <= STOPPED:
            held = [*held, *found]
        else:
            if held:
                yield held
            yield found
            held = []
    if held:
        yield held


def is_gate(fact: Facts) -> bool:
    """Say whether this is what a gate did."""
    return isinstance(fact, ActuationFacts) and fact.stage == "gate"


def _touching(facts: Iterable[Spanned]) -> Iterator[list[Spanned]]:
    found: list[Spanned] = []
    until: datetime | None = None
    for one in sorted(facts, key=lambda one: (one.span, one.id)):
        begin, end = one.span
        fresh: list[Spanned] = []
        again = _speaks_again(one, found)
        if again:
            # What other stations and the PLC said of that part may have been sorted just before it.
            fresh = [other for other in found if other.span[0] >= begin - (AGAIN if _is_verdict(other) else _ROUNDED)]
            found = [other for other in found if other not in fresh]
        if until is not None and (again or begin - until > SLACK):
            yield found
            found, until = fresh, max((other.span[1] for other in fresh), default=None)
        found.append(one)
        until = end if until is None else max(until, end)
    if found:
        yield found


def _is_verdict(fact: Facts) -> bool:
    return isinstance(fact, VerdictFacts)


def _speaks_again(fact: Facts, before: Iterable[Facts]) -> bool:
    return isinstance(fact, VerdictFacts) and any(
        fact.captured - other.captured > AGAIN
        for other in before
        if isinstance(other, VerdictFacts) and other.station == fact.station
    )


_WORST = {Decision.REJECT.value: 0, Decision.UNSCORED.value: 1, Decision.PASS.value: 2}


def worst_of(verdicts: Sequence[VerdictFacts]) -> VerdictFacts:
    """Return the verdict that decides: a reject before what was not scored, and only then a pass; then the earliest."""
    return min(verdicts, key=lambda one: (_WORST.get(one.decision, 1), one.captured, one.id))


def judged_together(judgements: Iterable[str | None]) -> str | None:
    """Return what the judgements of a part's verdicts come to: one defect is a defect of the part."""
    found = {one for one in judgements if one is not None}
    return next((one for one in ("defect", DISPUTED, "inconclusive", "normal") if one in found), None)


def state_of(events: PartEvents, shift_at: Callable[[datetime], str]) -> Row:
    """Return a part's row, without its number and without when it changed. At least one verdict or actuation."""
    events = events.ordered()
    verdicts, actuations = events.verdicts, events.actuations
    told = next((one for one in actuations if one.stage == "told"), None)
    gate = next((one for one in actuations if one.stage == "gate"), None)
    first: Facts = verdicts[0] if verdicts else actuations[0]
    triggered = (
        verdicts[0].captured if verdicts else told.triggered if told is not None else min(one.at for one in actuations)
    )
    facts: list[Facts] = [*verdicts, *actuations]
    spans = [one.span for one in facts]
    return {
        "line": first.line,
        "product": verdicts[0].product if verdicts else None,
        "epoch": first.epoch,
        "number": first.number,
        "part": next((one.part for one in facts if one.part is not None), None),
        "triggered": triggered,
        "opened": min(begin for begin, _ in spans),
        "closed": max(end for _, end in spans),
        "shift": shift_at(triggered),
        **_decided(verdicts),
        **_acted(told, gate),
        "incident": any(one.incident for one in actuations),
        **_reviewed(events),
        **_named(facts),
    }


def _decided(verdicts: Sequence[VerdictFacts]) -> Row:
    worst = worst_of(verdicts) if verdicts else None
    ratios = [one.ratio for one in verdicts if one.ratio is not None]
    passes = worst is not None and worst.decision == Decision.PASS
    return {
        "decision": worst.decision if worst else None,
        "reason": shortened(worst.reason) if worst else None,
        "late": any(one.late for one in verdicts),
        "unsure": passes and any(one.unsure for one in verdicts),
        "holdout": any(one.holdout for one in verdicts),
        "challenge": any(one.challenge for one in verdicts),
        "holdout_share": next((one.holdout_share for one in verdicts if one.holdout_share is not None), None),
        "reference": next((one.reference for one in verdicts if one.reference is not None), None),
        "audit_share": worst.audit_share if worst else None,
        "audited": worst.audited if worst else True,
        "ratio": max(ratios) if ratios else None,
        "stations": len({one.station for one in verdicts}),
        "artifact_digest": worst.artifact_digest if worst else None,
    }


def _acted(told: ActuationFacts | None, gate: ActuationFacts | None) -> Row:
    return {
        "told_outcome": told.outcome if told else None,
        "told_at": told.at if told else None,
        "told_code": told.code if told else None,
        "slack_ms": told.slack_ms if told else None,
        "trigger_to_told_ms": told.trigger_to_told_ms if told else None,
        "gate": gate.gate if gate else None,
        "gate_at": gate.at if gate else None,
    }


def _reviewed(events: PartEvents) -> Row:
    judgement = judged_together(one.judgement for one in events.verdicts)
    waits = any(one.judgement is None for one in awaiting(events.verdicts))
    answers = [
        review.at
        for verdict in events.verdicts
        for review in events.reviews.get(verdict.id, ())
        if review.counted and not review.withdrawn
    ]
    return {
        "judgement": judgement,
        "partly_judged": judgement is not None and waits,
        "reviewed_at": max(answers) if judgement is not None and answers else None,
    }


def awaiting(verdicts: Sequence[VerdictFacts]) -> list[VerdictFacts]:
    """Return which verdicts of a part people are asked to judge.

    Of a reject those of the rejecting stations, of a holdout that passed all of them, of another pass those that were
    unsure.
    """
    rejecting = [one for one in verdicts if one.decision == Decision.REJECT]
    if rejecting or any(one.decision != Decision.PASS for one in verdicts):
        return rejecting
    return list(verdicts) if any(one.holdout for one in verdicts) else [one for one in verdicts if one.unsure]


_NAMES = ("order_no", "lot", "serial", "recipe", "carrier", "attributes", "trace_id")


def _named(facts: Sequence[Facts]) -> Row:
    """Return what the plant calls the part: of each name the first that is known, verdicts before actuations."""
    return {name: next((value for one in facts if (value := getattr(one, name))), None) for name in _NAMES}


def words_of(events: PartEvents) -> frozenset[str]:
    """Return the types of the defects that the part's stations saw."""
    return frozenset(shortened(word) or "" for words in events.defects.values() for word in words)


def shortened(word: str | None) -> str | None:
    """Return a free word as far as indexes and counts keep it."""
    return word[:MOST_LETTERS] if word is not None else None
