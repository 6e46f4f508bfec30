"""The states of an alarm after ISA-18.2 (IEC 62682), and every way from one to another. Pure.

No person makes a cause go away: only its source does. What was raised stays on the list until somebody has
acknowledged it, even when its cause is gone. What is shelved comes back by itself, and anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

from neverblink.console.access.said import SaidError

LONGEST_SHELF: Final = timedelta(days=7)
MOST_REASON: Final = 300


class AlarmError(SaidError):
    """What cannot be done with an alarm; the message says why."""


class State(StrEnum):
    """How an alarm stands."""

    NORMAL = "normal"
    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    RETURNED = "returned"
    """Its cause is gone, and nobody has acknowledged it."""
    SHELVED = "shelved"


class Priority(IntEnum):
    """How soon somebody must act: in days, in this shift, in minutes, now."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    URGENT = 4

    @property
    def word(self) -> str:
        """Return the name as people and databases write it."""
        return self.name.lower()


class Stage(StrEnum):
    """What happened to an alarm."""

    RAISED = "raised"
    ESCALATED = "escalated"
    CLEARED = "cleared"
    """One of its causes is gone."""
    RETURNED = "returned"
    """The last of its causes is gone."""
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `source` is the cause's own id; `calls` says that it wants somebody anew."""

    stage: Stage
    source: str | None = None
    calls: bool = False


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm. `causes` are the ids of what stands; `rounds` counts what has called for somebody.

    `priority` is the highest since somebody last had nothing more to do with it.
    """

    causes: frozenset[str] = frozenset()
    acknowledged: bool = True
    priority: Priority = Priority.LOW
    shelved_until: datetime | None = None
    rounds: int = 0

    @property
    def state(self) -> State:
        """Return how it stands."""
        if self.shelved_until is not None:
            return State.SHELVED
        if self.causes:
            return State.ACKNOWLEDGED if self.acknowledged else State.UNACKNOWLEDGED
        return State.NORMAL if self.acknowledged else State.RETURNED


Change = tuple[Alarm, tuple[Step, ...]]
"""What an alarm is afterwards, and what has happened to it, in that order."""


def looked(
    before: Alarm, stands: Mapping[str, Priority], now: datetime, went: Mapping[str, Priority] | None = None
) -> Change:
    """Take what its source says now: `stands` are the causes that there are, `went` those that came and are gone.

    A look that finds nothing new changes nothing. A shelf whose end has come ends here as well.
    """
    alarm, steps = _off_the_shelf(before, now)
    for cause, priority in sorted((went or {}).items()):
        if cause not in stands:
            alarm, more = _raised(alarm, cause, priority)
            steps += more
            alarm, more = _cleared(alarm, cause)
            steps += more
    for cause, priority in sorted(stands.items()):
        if cause not in alarm.causes:
            alarm, more = _raised(alarm, cause, priority)
            steps += more
    for cause in sorted(alarm.causes - stands.keys()):
        alarm, more = _cleared(alarm, cause)
        steps += more
    if stands and max(stands.values()) > alarm.priority:
        calls = alarm.shelved_until is None
        alarm = replace(alarm, priority=max(stands.values()), acknowledged=not calls, rounds=alarm.rounds + calls)
        steps += (Step(Stage.ESCALATED, calls=calls),)
    return alarm, steps


def acknowledged(before: Alarm, seen: int) -> Change:
    """Take that somebody has seen it, as it was at its round `seen`; of two who say so the second changes nothing.

    Raises AlarmError for one that has called anew since, and for a shelved one.
    """
    if before.shelved_until is not None:
        raise AlarmError("this alarm is shelved: take it off the shelf first")
    if before.rounds != seen:
        raise AlarmError("this alarm has called again since you saw it: look at it once more")
    if before.acknowledged:
        return before, ()
    return _rested(replace(before, acknowledged=True)), (Step(Stage.ACKNOWLEDGED),)


def shelved(before: Alarm, until: datetime, reason: str, now: datetime) -> Change:
    """Set it aside until then. Raises AlarmError without a reason, and for an end that is past or too far away."""
    if not reason.strip() or len(reason) > MOST_REASON:
        raise AlarmError("say why it is shelved, in %(most)s characters or less: it stays on record", most=MOST_REASON)
    if not now < until <= now + LONGEST_SHELF:
        raise AlarmError("an alarm is shelved for %(most)s days at most", most=LONGEST_SHELF.days)
    if before.state is State.NORMAL:
        raise AlarmError("this alarm does not stand any more: there is nothing to shelve")
    return replace(before, shelved_until=until, acknowledged=True), (Step(Stage.SHELVED),)


def unshelved(before: Alarm) -> Change:
    """Take it off the shelf before its end: while its cause stands, it calls anew."""
    if before.shelved_until is None:
        return before, ()
    calls = bool(before.causes)
    alarm = replace(before, shelved_until=None, acknowledged=not calls, rounds=before.rounds + calls)
    return _rested(alarm), (Step(Stage.UNSHELVED, calls=calls),)


def _off_the_shelf(before: Alarm, now: datetime) -> Change:
    if before.shelved_until is None or now < before.shelved_until:
        return before, ()
    return unshelved(before)


def _raised(before: Alarm, cause: str, priority: Priority) -> Change:
    calls = before.shelved_until is None
    alarm = replace(
        before,
        causes=before.causes | {cause},
        priority=max(priority, before.priority),
        acknowledged=before.acknowledged and not calls,
        rounds=before.rounds + calls,
    )
    return alarm, (Step(Stage.RAISED, cause, calls),)


def _cleared(before: Alarm, cause: str) -> Change:
    alarm = replace(before, causes=before.causes - {cause})
    stage = Stage.CLEARED if alarm.causes else Stage.RETURNED
    return _rested(alarm), (Step(stage, cause),)


def _rested(alarm: Alarm) -> Alarm:
    """Return the alarm with no priority kept where nobody has anything to do with it any more."""
    return replace(alarm, priority=Priority.LOW) if alarm.state is State.NORMAL else alarm
