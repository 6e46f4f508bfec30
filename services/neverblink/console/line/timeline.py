"""A part's way from the trigger to the gate: every step with its time, and the deadline that they share."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from neverblink.records.questions.part_story import PartStory

_AT_LEAST_MS = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `begin` and `end` are shares (0..1) of the whole way, `ms` is since the trigger.

    `name` is captured, scored, emitted, told or gate; `station` is whose it is, None of the part.
    """

    name: str
    station: str | None
    at: datetime
    ms: float
    begin: float
    end: float
    late: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """The steps in order of time. `deadline` is the share of the way at which the PLC had to know; None: not known."""

    trigger: datetime
    steps: tuple[Step, ...]
    deadline_at: datetime | None
    deadline_ms: float | None
    deadline: float | None
    slack_ms: float | None


def timeline_of(story: PartStory) -> Timeline:
    """Return the way of a part. `slack_ms` is what was left when the PLC had confirmed; negative: too late."""
    part = story.part
    moments = sorted(_moments(story), key=lambda one: one[2])
    begin = min([part.triggered, *(at for _, _, at in moments)])
    deadlines = [verdict.deadline for verdict in story.verdicts]
    deadlines += [one.deadline for one in story.actuations if one.stage == "told" and one.deadline is not None]
    due = max(deadlines, default=None)
    ends = [at for _, _, at in moments] + ([] if due is None else [due])
    whole = max([_ms(at - begin) for at in ends], default=_AT_LEAST_MS)
    whole = max(whole, _AT_LEAST_MS)
    steps: list[Step] = []
    before: dict[str | None, datetime] = {None: begin}
    for name, station, at in moments:
        since = before.get(station, begin) if station is not None else max(before.values())
        late = due is not None and at > due and name in {"emitted", "told"}
        steps.append(
            Step(name, station, at, _ms(at - begin), _ms(since - begin) / whole, _ms(at - begin) / whole, late)
        )
        before[station] = at
    due_ms = None if due is None else _ms(due - begin)
    return Timeline(begin, tuple(steps), due, due_ms, None if due_ms is None else due_ms / whole, part.slack_ms)


def _moments(story: PartStory) -> Iterator[tuple[str, str | None, datetime]]:
    for verdict in story.verdicts:
        yield "captured", verdict.station, verdict.captured
        if verdict.scored is not None:
            yield "scored", verdict.station, verdict.scored
        if verdict.emitted is not None:
            yield "emitted", verdict.station, verdict.emitted
    for actuation in story.actuations:
        yield actuation.stage, None, actuation.at


def _ms(span: timedelta) -> float:
    return span.total_seconds() * 1000
