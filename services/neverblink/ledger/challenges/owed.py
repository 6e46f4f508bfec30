"""Which reference parts a line owes: what was announced, and what the plant's schedule asks of each shift. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from neverblink.plant.challenges import ScheduledChallenges
from neverblink.plant.shifts import ShiftPlan, ShiftSpan
from neverblink.records.questions.challenges import Announcement, ChallengePart


@dataclass(frozen=True, slots=True)
class Owed:
    """A reference part must come to a line between two instants; `because` says who wants it, `cause` names it."""

    line: str
    reference: str
    begins: datetime
    ends: datetime
    because: str
    cause: str

    def is_met_by(self, part: ChallengePart) -> bool:
        """Say whether this part is the one that was owed."""
        same = (part.line, part.reference) == (self.line, self.reference)
        return same and self.begins <= part.triggered <= self.ends


@dataclass(frozen=True, slots=True)
class OwedNumber(Owed):
    """One that was announced by the PLC's number: that part pays it, whenever it comes."""

    epoch: int
    number: int

    def is_met_by(self, part: ChallengePart) -> bool:
        """Say whether this part is the one that was owed."""
        return (part.line, part.reference, part.epoch, part.number) == (
            self.line,
            self.reference,
            self.epoch,
            self.number,
        )


def announced(announcements: Iterable[Announcement]) -> Iterator[Owed]:
    """Yield what was announced."""
    for one in announcements:
        because = f"{one.by} announced it"
        if one.epoch is None or one.number is None:
            yield Owed(one.line, one.reference, one.at, one.expires, because, one.id)
        else:
            because = f"{because} as part {one.epoch}/{one.number}"
            yield OwedNumber(
                one.line, one.reference, one.at, one.expires, because, one.id, epoch=one.epoch, number=one.number
            )


def shifts_between(plan: ShiftPlan, since: datetime, now: datetime) -> Iterator[ShiftSpan]:
    """Yield the shifts of which some lies between these instants, the oldest first."""
    moment = since
    while moment <= now and (span := plan.span_at(moment)) is not None:
        yield span
        moment = span.ends


def scheduled(
    schedule: Iterable[ScheduledChallenges],
    shifts: Iterable[ShiftSpan],
    known_since: Callable[[str, str], datetime],
    ran: Callable[[str, datetime, datetime], datetime | None],
) -> Iterator[Owed]:
    """Yield what the schedule asks of these shifts.

    `known_since` says since when a line's reference part is scheduled: what was before is not owed. `ran` returns the
    trigger of a line's first part from one instant on and before another: a line owes nothing for a shift in which it
    makes no part once its time is over.
    """
    for shift in shifts:
        for one in schedule:
            if one.shifts and shift.name not in one.shifts:
                continue
            begins = ran(one.line, shift.begins, shift.ends)
            if begins is None:
                continue
            ends = begins + timedelta(minutes=one.within_min)
            if ends >= shift.ends or ran(one.line, ends, shift.ends) is None:
                continue
            for reference in one.references:
                if known_since(one.line, reference) <= begins:
                    because = f"each shift {shift.name} wants it within {one.within_min:g} min of its first part"
                    yield Owed(one.line, reference, begins, ends, because, shift.begins.isoformat())
