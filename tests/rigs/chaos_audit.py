"""Were all frames answered once, and rightly? Pure: from what was sent and what the topics hold to counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from neverblink.events import DeadLetter, Decision, Reason, Verdict
from rigs.true_scores import AGREES, TrueScores


@dataclass(frozen=True)
class Expected:
    """What must come of one frame: a verdict of this id, right for its picture, or with this reason.

    A frame that is poison lies at `place`, partition and offset, and has a dead letter.
    """

    frame: str
    verdict: str
    picture: int
    captured: datetime
    deadline: datetime
    reason: Reason | None = None
    place: tuple[int, int] | None = None


@dataclass
class Audit:
    """What was found. The lists hold a sentence for each fault of ours; all of them must be empty."""

    frames: int = 0
    effects: int = 0
    passed: int = 0
    rejected: int = 0
    late: list[Verdict] = field(default_factory=list)
    poison: int = 0
    duplicates: int = 0
    changed: int = 0
    """Duplicates that say otherwise than the first, which stands: by another model, or late by now."""
    without: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    contradicting: list[str] = field(default_factory=list)
    letters: int = 0
    without_letter: list[str] = field(default_factory=list)
    letters_too_many: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Return all that must not be."""
        return [
            *self.without, *self.doubled, *self.wrong, *self.contradicting, *self.without_letter, *self.letters_too_many
        ]  # fmt: skip


def audit(
    expected: Sequence[Expected],
    verdicts: Iterable[Verdict],
    letters: Iterable[DeadLetter],
    truth: TrueScores,
    thresholds: Mapping[str, float],
) -> Audit:
    """Compare. `verdicts` are in the order of their partitions: the first of an id stands, as for bridge and ledger.

    `thresholds` are those of the artifacts, by digest. Verdicts and letters of other frames are left out.
    """
    found = Audit(frames=len(expected))
    by_frame: dict[str, list[Verdict]] = {one.frame: [] for one in expected}
    for verdict in verdicts:
        if verdict.frame_id in by_frame:
            by_frame[verdict.frame_id].append(verdict)
    for one in expected:
        told = by_frame[one.frame]
        if not told:
            found.without.append(f"frame {one.frame} of {one.captured} has no verdict")
            continue
        if {verdict.id for verdict in told} != {one.verdict}:
            found.doubled.append(f"frame {one.frame} has verdicts of other ids: {[verdict.id for verdict in told]}")
            continue
        found.effects += 1
        first, *more = told
        _judge(found, one, first, truth, thresholds)
        found.duplicates += len(more)
        for again in more:
            _compare(found, first, again)
    _letters(found, expected, letters)
    return found


def _judge(found: Audit, one: Expected, verdict: Verdict, truth: TrueScores, thresholds: Mapping[str, float]) -> None:
    if one.reason is not None:
        found.poison += 1
        if (verdict.decision, verdict.reason) != (Decision.UNSCORED, one.reason):
            found.wrong.append(f"poison frame {one.frame}: {_said(verdict)} instead of {one.reason}")
        return
    if verdict.decision is Decision.UNSCORED:
        if verdict.reason == Reason.LATE:
            found.late.append(verdict)
        else:
            found.wrong.append(f"frame {one.frame}: {_said(verdict)}")
        return
    assert verdict.artifact is not None
    assert verdict.score is not None
    score = truth.get((verdict.artifact.digest, one.picture))
    if score is None or abs(verdict.score / score - 1) > AGREES:
        found.wrong.append(f"frame {one.frame}: the score is {verdict.score}, undisturbed it is {score}")
        return
    rejects = score > thresholds[verdict.artifact.digest]
    if verdict.decision is not (Decision.REJECT if rejects else Decision.PASS):
        found.wrong.append(f"frame {one.frame}: {_said(verdict)}, undisturbed it is {'reject' if rejects else 'pass'}")
    found.rejected += rejects
    found.passed += not rejects


def _compare(found: Audit, first: Verdict, again: Verdict) -> None:
    if (first.decision, first.reason) == (again.decision, again.reason):
        return
    if first.artifact is not None and first.artifact == again.artifact:
        found.contradicting.append(f"frame {first.frame_id}: first {_said(first)}, then {_said(again)}")
    else:
        found.changed += 1


def _letters(found: Audit, expected: Sequence[Expected], letters: Iterable[DeadLetter]) -> None:
    told = {(letter.partition, letter.offset): letter for letter in letters if letter.topic == "frames"}
    places = {one.place for one in expected if one.place is not None}
    found.letters = len(told)
    found.without_letter += [
        f"the poison record at {place} has no dead letter" for place in sorted(places - told.keys())
    ]
    found.letters_too_many += [
        f"the good record at {place} has a dead letter: {told[place].why}" for place in sorted(told.keys() - places)
    ]


def _said(verdict: Verdict) -> str:
    return f"{verdict.decision} ({verdict.reason}: {verdict.detail})" if verdict.reason else str(verdict.decision)
