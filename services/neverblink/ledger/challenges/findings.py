"""From what came, what was owed and what is known already to the alarms that are to be raised and cleared. Pure.

Every alarm is named by its cause and dated by the parts that it is about: whoever looks finds the same, so two ledgers
raise it once, and one that was away finds what it has missed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from neverblink.events import Alarm, Decision
from neverblink.events.alarm import CLEARED, RAISED
from neverblink.events.identity import alarm_id, alarm_stage_id
from neverblink.ledger.challenges.owed import Owed
from neverblink.plant.references import ReferencePart, References
from neverblink.records.questions.alarms import KnownAlarm
from neverblink.records.questions.challenges import ChallengePart

MISSED = "challenge-missed"
UNSCORED = "challenge-unscored"
ABSENT = "challenge-absent"
UNKNOWN = "challenge-unknown"
KINDS = (MISSED, UNSCORED, ABSENT, UNKNOWN)

_CAME = "came"
"""Where a cleared alarm says when the part was triggered that cleared it."""

Subject = tuple[str, str]
"""Line and reference."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known now. `caught_up` says that the records have all that has happened until `now` less `grace`."""

    references: References
    parts: Sequence[ChallengePart]
    owed: Sequence[Owed]
    alarms: Sequence[KnownAlarm]
    now: datetime
    grace: timedelta
    caught_up: bool


@dataclass(slots=True)
class _Told:
    """The alarms of one kind about one reference part of a line."""

    alarms: list[KnownAlarm] = field(default_factory=list)

    @property
    def open(self) -> list[KnownAlarm]:
        """Return those that stand."""
        return [one for one in self.alarms if one.is_open]

    def covers(self, moment: datetime) -> bool:
        """Say whether what happened then is told already: an alarm stood, or began with it."""
        return any(one.since <= moment and (one.is_open or moment < _came(one)) for one in self.alarms)

    def named(self, alarm: str) -> bool:
        """Say whether this alarm was raised before."""
        return any(one.alarm == alarm for one in self.alarms)


def findings(found: Situation) -> list[Alarm]:
    """Return the stages of alarms that are not told yet, each after those that it follows."""
    told: defaultdict[tuple[str, Subject], _Told] = defaultdict(_Told)
    for alarm in found.alarms:
        told[alarm.kind, (alarm.line, alarm.subject.get("reference", ""))].alarms.append(alarm)
    by_subject: defaultdict[Subject, list[ChallengePart]] = defaultdict(list)
    for part in sorted(found.parts, key=lambda one: (one.triggered, one.part_id)):
        by_subject[part.line, part.reference].append(part)
    subjects = {*by_subject, *(subject for _, subject in told), *((one.line, one.reference) for one in found.owed)}
    return [
        alarm for subject in sorted(subjects) for alarm in _about(found, subject, by_subject.get(subject, []), told)
    ]


def _about(
    found: Situation,
    subject: Subject,
    parts: Sequence[ChallengePart],
    alarms: defaultdict[tuple[str, Subject], _Told],
) -> Iterator[Alarm]:
    def told(kind: str) -> _Told:
        return alarms[kind, subject]

    line, name = subject
    reference = found.references.get(name)
    settled = [part for part in parts if _has_settled(part, found)]
    if reference is None:
        yield from _runs(UNKNOWN, settled, told(UNKNOWN), lambda _: True, lambda _: False, _unknown)
    else:
        for alarm in told(UNKNOWN).open:
            yield _cleared(alarm, found.now, found.now, f"reference part {name} is described now")

        def right(part: ChallengePart) -> bool:
            return part.decision == (Decision.PASS if reference.is_good else Decision.REJECT)

        def wrong(part: ChallengePart) -> bool:
            return part.decision != Decision.UNSCORED and not right(part)

        yield from _runs(MISSED, settled, told(MISSED), wrong, right, lambda part: _missed(part, reference))
    yield from _runs(UNSCORED, settled, told(UNSCORED), _is_unscored, lambda part: not _is_unscored(part), _unscored)
    owed = [one for one in found.owed if (one.line, one.reference) == (line, name)]
    yield from _absent(found, owed, parts, told(ABSENT))


def _has_settled(part: ChallengePart, found: Situation) -> bool:
    """Say whether all stations have answered about it, or must have."""
    return part.decision == Decision.REJECT or part.settles + found.grace <= found.now


def _runs(
    kind: str,
    parts: Sequence[ChallengePart],
    told: _Told,
    is_bad: Callable[[ChallengePart], bool],
    is_good: Callable[[ChallengePart], bool],
    sentences: Callable[[ChallengePart], "_Sentences"],
) -> Iterator[Alarm]:
    """Yield what parts in the order of time raise and clear: one alarm from the first bad one to the next good one."""
    standing: list[KnownAlarm | Alarm] = list(told.open)
    for part in parts:
        if is_bad(part) and not standing and not told.covers(part.triggered):
            alarm = _raised(kind, part.line, part.reference, (part.verdict,), part.triggered, part.settles)
            raised = alarm.model_copy(
                update={"subject": alarm.subject | _subject_of(part), **sentences(part).as_fields()}
            )
            standing.append(raised)
            yield raised
        elif is_good(part):
            for before in [one for one in standing if one.since < part.triggered]:
                standing.remove(before)
                yield _cleared(before, part.settles, part.triggered, f"{_as_part(part)} came out as it should")


def _absent(found: Situation, owed: Sequence[Owed], parts: Sequence[ChallengePart], told: _Told) -> Iterator[Alarm]:
    """Yield an alarm for what did not come in time, and its end when it comes after all."""
    standing: list[KnownAlarm | Alarm] = list(told.open)
    for one in sorted(owed, key=lambda one: (one.ends, one.cause)):
        if not found.caught_up or one.ends + found.grace > found.now or any(map(one.is_met_by, parts)):
            continue
        name = alarm_id(ABSENT, one.line, one.reference, one.cause)
        if standing or told.covers(one.ends) or told.named(name):
            continue
        alarm = _raised(ABSENT, one.line, one.reference, (one.cause,), one.ends, one.ends + found.grace)
        raised = alarm.model_copy(update=_not_come(one).as_fields())
        standing.append(raised)
        yield raised
    for before in standing:
        came = next((part for part in parts if part.triggered > before.since or _pays(part, before, owed)), None)
        if came is not None:
            yield _cleared(before, max(came.triggered, before.since), came.triggered, f"it came as {_as_part(came)}")


def _pays(part: ChallengePart, alarm: KnownAlarm | Alarm, owed: Sequence[Owed]) -> bool:
    """Say whether a part is what an alarm misses: its verdict was late, and the part was not."""
    return any(
        one.is_met_by(part) and alarm_id(ABSENT, one.line, one.reference, one.cause) == alarm.alarm for one in owed
    )


def _is_unscored(part: ChallengePart) -> bool:
    return part.decision == Decision.UNSCORED


def _raised(kind: str, line: str, reference: str, cause: Iterable[object], since: datetime, at: datetime) -> Alarm:
    alarm = alarm_id(kind, line, reference, *cause)
    return Alarm(
        id=alarm_stage_id(alarm, RAISED),
        alarm=alarm,
        line=line,
        kind=kind,
        stage=RAISED,
        severity="act",
        since=since,
        at=max(since, at),
        subject={"reference": reference},
        what="",
        cause="",
        next_step="",
    )


def _cleared(before: KnownAlarm | Alarm, at: datetime, came: datetime, why: str) -> Alarm:
    return Alarm(
        id=alarm_stage_id(before.alarm, CLEARED),
        alarm=before.alarm,
        line=before.line,
        station=before.station,
        kind=before.kind,
        stage=CLEARED,
        severity=before.severity,
        since=before.since,
        at=max(at, before.since),
        subject={**before.subject, _CAME: came.isoformat()},
        what=f"{before.what}; since then {why}"[:500],
        cause=before.cause,
        next_step="nothing more to do for this alarm",
    )


def _came(alarm: KnownAlarm) -> datetime:
    """Return when the part was triggered that cleared an alarm; of one that says no such time, when it was cleared."""
    assert alarm.cleared is not None
    try:
        return datetime.fromisoformat(alarm.subject[_CAME])
    except (KeyError, ValueError):
        return alarm.cleared


# What people read


@dataclass(frozen=True, slots=True)
class _Sentences:
    what: str
    cause: str
    next_step: str

    def as_fields(self) -> dict[str, str]:
        return {
            "what": self.what[:500],
            "cause": self.cause[:500],
            "next_step": self.next_step[:500],
        }


def _subject_of(part: ChallengePart) -> dict[str, str]:
    ratio = {} if part.ratio is None else {"ratio": f"{part.ratio:.3g}"}
    artifact = {} if part.artifact is None else {"artifact": part.artifact[:256]}
    return {"part": part.part[:256], "decision": part.decision, **ratio, **artifact}


def _as_part(part: ChallengePart) -> str:
    return f"{part.part} at {part.triggered:%Y-%m-%d %H:%M:%S} UTC"


def _missed(part: ChallengePart, reference: ReferencePart) -> _Sentences:
    score = "" if part.ratio is None else f", at {part.ratio:.2g} of the threshold"
    model = "the model" if part.artifact is None else f"the model {part.artifact}"
    if reference.is_good:
        seen = f" for {', '.join(part.defects)}" if part.defects else ""
        return _Sentences(
            f"reference part {reference.id}, which is good, was rejected on {part.line}{seen} ({part.part}{score})",
            f"{model} or its threshold refuses good parts; or the part is dirty or damaged, or the picture has changed",
            f"look at the part and its picture, then send {reference.id} again: until it passes, good parts may go",
        )
    return _Sentences(
        f"reference part {reference.id} ({reference.in_words}) passed {part.line} ({part.part}{score})",
        f"{model}, its threshold or the picture no longer shows this defect",
        f"stop releasing parts of {part.line} unseen, look at its picture, and send {reference.id} again",
    )


def _unscored(part: ChallengePart) -> _Sentences:
    return _Sentences(
        f"reference part {part.reference} was not scored on {part.line} ({part.part}: {part.reason or 'no reason'})",
        "the same as for every part that is not scored: the reason says which",
        f"mend what the reason names, then send {part.reference} again: it has proved nothing",
    )


def _unknown(part: ChallengePart) -> _Sentences:
    return _Sentences(
        f"{part.part} of {part.line} is marked as reference part {part.reference}, which the plant does not describe",
        "the id is misspelt where it is announced, or the file of reference parts on the ledger's host lacks it",
        f"add it with `neverblink challenge add {part.reference}`, or correct who announces it",
    )


def _not_come(owed: Owed) -> _Sentences:
    return _Sentences(
        f"reference part {owed.reference} did not come to {owed.line} between {owed.begins:%Y-%m-%d %H:%M:%S} and"
        f" {owed.ends:%H:%M:%S} UTC: {owed.because}",
        "nobody has sent it, it was not announced in time, or no camera node has marked it",
        f"send {owed.reference} down {owed.line} now: `neverblink challenge announce {owed.reference} --line"
        f" {owed.line}`",
    )
