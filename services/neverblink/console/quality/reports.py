"""The report of a shift or a lot: which it is, what is in it, and its figures as rows for other programs."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from sqlalchemy.orm import Session

from neverblink.console.quality.answers import changes_in
from neverblink.console.quality.asked import FiguresError, day_of
from neverblink.plant.shifts import ShiftPlan
from neverblink.records.questions.alarms import KnownAlarm, alarms
from neverblink.records.questions.figures import Figures, Share, figures
from neverblink.records.questions.holds import TimeHeld, time_held
from neverblink.records.questions.lots import within_lot
from neverblink.records.questions.pareto import Pareto, pareto
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import Part, parts
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.proof.changes import Change, SlotChange
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.questions.yields import YieldOf, yields

MOST_SHIFTS: Final = 12
MOST_LOTS: Final = 20
MOST_REJECTS: Final = 100
MOST_WORDS: Final = 10
_LOTS_BACK: Final = timedelta(days=28)
_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is of: a shift of a day, a whole day where there are no shifts, or a lot.

    `ends` None is of a lot, which ends when its last part has come.
    """

    line: str | None
    shift: str | None
    day: date | None
    lot: str | None
    begins: datetime | None
    ends: datetime | None

    def counted(self, seen: tuple[str, ...] | None) -> RollupFilter:
        """Return which counts it has, of the lines in `seen` alone; None: of all."""
        lines = None if self.line is None else (self.line,)
        return RollupFilter(lines, None, None, self.lot, self.begins, self.ends, self.shift or None).within(seen)

    def parts(self, seen: tuple[str, ...] | None, until: datetime, **more: Any) -> PartFilter:
        """Return which parts it has, those triggered before `until` at most."""
        lines = None if self.line is None else (self.line,)
        ends = until if self.ends is None else min(self.ends, until)
        return PartFilter(lines=lines, lot=self.lot, since=self.begins, until=ends, **more).within(seen)

    @property
    def query(self) -> dict[str, str]:
        """Return the address's words that lead to it."""
        words = (
            ("line", self.line),
            ("shift", self.shift),
            ("day", self.day and self.day.isoformat()),
            ("lot", self.lot),
        )
        return {name: word for name, word in words if word}

    @property
    def file(self) -> str:
        """Return the name of its files, without an ending, of harmless signs alone."""
        text = "-".join(self.query[name] for name in ("line", "day", "shift", "lot") if name in self.query)
        return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in text)[:100]


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in a shift or to a lot. `rejects` are the first; `more_rejects` says whether more are.

    `held` is for how long its lines were on hold and in bypass, None of a lot: other parts came meanwhile.
    """

    subject: Subject
    figures: Figures
    proof: Proof
    defects: Pareto
    reasons: Pareto
    stations: tuple[YieldOf, ...]
    products: tuple[YieldOf, ...]
    artifacts: tuple[YieldOf, ...]
    slots: tuple[SlotChange, ...]
    alerts: tuple[Change, ...]
    alarms: tuple[KnownAlarm, ...]
    held: TimeHeld | None
    rejects: tuple[Part, ...]
    more_rejects: bool


def subject_of(line: str | None, shift: str, day: str, lot: str, plan: ShiftPlan, zone: tzinfo) -> Subject:
    """Return what is asked for. Raises FiguresError."""
    if lot:
        return Subject(line, None, None, lot, None, None)
    found = day_of(day)
    if found is None:
        raise FiguresError("say which lot, or which day and shift")
    if not shift:
        begins, ends = (datetime.combine(one, time(), zone) for one in (found, found + timedelta(days=1)))
        return Subject(line, None, found, None, begins, ends)
    moment = datetime.combine(found, time(), zone)
    for _ in range(2 * len(plan.names) + 2):
        span = plan.span_at(moment)
        if span is None:
            break
        if span.name == shift and span.begins.astimezone(zone).date() == found:
            return Subject(line, shift, found, None, span.begins, span.ends)
        moment = span.ends
    raise FiguresError("the plant has no shift %(name)s", name=shift[:70])


def last_shifts(line: str | None, plan: ShiftPlan, zone: tzinfo, now: datetime) -> tuple[Subject, ...]:
    """Return the shift that runs and those before it, newest first; whole days where the plan has no shifts."""
    found, moment = [], now
    for _ in range(MOST_SHIFTS):
        span = plan.span_at(moment)
        if span is None:
            day = moment.astimezone(zone).date()
            begins, ends = (datetime.combine(one, time(), zone) for one in (day, day + timedelta(days=1)))
            found.append(Subject(line, None, day, None, begins, ends))
            moment = begins - _INSTANT
        else:
            day = span.begins.astimezone(zone).date()
            found.append(Subject(line, span.name, day, None, span.begins, span.ends))
            moment = span.begins - _INSTANT
    return tuple(found)


def counts_of(
    session: Session, shifts: Sequence[Subject], line: str | None, seen: tuple[str, ...] | None, now: datetime
) -> tuple[tuple[tuple[Subject, Figures], ...], tuple[YieldOf, ...]]:
    """Return the figures of each shift, and the newest lots of the last four weeks."""
    told = tuple((one, figures(session, one.counted(seen))) for one in shifts)
    lines = None if line is None else (line,)
    lots = RollupFilter(lines, since=now - _LOTS_BACK).within(seen)
    found = yields(session, "lot", lots, limit=MOST_LOTS + 1)
    return told, tuple(one for one in found if one.group)[:MOST_LOTS]


def report_of(
    session: Session, subject: Subject, lines: Sequence[str], seen: tuple[str, ...] | None, now: datetime
) -> Report:
    """Return a report, as far as it has come. `lines` are the plant's that may be seen, `seen` None for all."""
    wanted = subject.counted(seen)
    proof = proof_of(session, wanted)
    narrow = within_lot(session, wanted)
    slots, alerts = changes_in(session, narrow, now)
    page = parts(session, subject.parts(seen, now, decision="reject"), order="oldest", limit=MOST_REJECTS)
    return Report(
        subject=subject,
        figures=figures(session, narrow),
        proof=proof,
        defects=pareto(session, "defects", narrow, decision="reject", limit=MOST_WORDS),
        reasons=pareto(session, "reasons", narrow, limit=MOST_WORDS),
        stations=yields(session, "station", narrow, limit=MOST_WORDS),
        products=yields(session, "product", narrow, limit=MOST_WORDS),
        artifacts=yields(session, "artifact", narrow, limit=MOST_WORDS),
        slots=slots,
        alerts=alerts,
        alarms=_alarms(session, narrow, now),
        held=_held(session, subject, lines, now),
        rejects=page.parts,
        more_rejects=page.more,
    )


def _held(session: Session, subject: Subject, lines: Sequence[str], now: datetime) -> TimeHeld | None:
    if subject.begins is None or subject.ends is None or subject.begins >= now:
        return None
    own = lines if subject.line is None else (subject.line,)
    return time_held(session, own, subject.begins, min(subject.ends, now))


def _alarms(session: Session, wanted: RollupFilter, now: datetime) -> tuple[KnownAlarm, ...]:
    if wanted.lines is None or wanted.since is None:
        return ()
    until = wanted.until or now
    found = alarms(session, wanted.lines, raised_since=wanted.since, limit=MOST_REJECTS)
    return tuple(sorted((one for one in found if one.raised < until), key=lambda one: one.raised))


FIGURE_COLUMNS: Final = (
    "line",
    "day",
    "shift",
    "lot",
    "since",
    "until",
    "figure",
    "value",
    "low",
    "high",
    "count",
    "sample",
)


def figure_rows(subject: Subject, counted: Figures, proof: Proof) -> Iterator[tuple[str, ...]]:
    """Yield a report's figures: shares between 0 and 1, empty where the sample is too small; instants in UTC."""
    since, until = proof.since or proof.first, proof.until or proof.last
    place = (
        subject.line or "", subject.day.isoformat() if subject.day else "", subject.shift or "", subject.lot or "",
        _instant(since), _instant(until),
    )  # fmt: skip
    for name in ("parts", "passed", "rejected", "unscored"):
        count = getattr(proof, name)
        yield (*place, name, "", "", "", str(count), str(proof.parts))
    for name in ("recall", "escapes", "precision", "false_rejects", "agreement", "defects_made"):
        found = getattr(proof.estimates, name)
        value = "" if found.value is None else repr(found.value)
        yield (*place, name, value, repr(found.low), repr(found.high), str(found.seen), str(found.sample))
    for name in ("late", "unsure", "told_in_time", "gate_escaped", "gate_lost", "reviewed", "inconclusive"):
        share: Share = getattr(counted, name)
        value = "" if share.share is None else repr(share.share)
        yield (*place, name, value, "", "", str(share.count), str(share.sample))


def figures_csv(rows: Iterator[tuple[str, ...]]) -> bytes:
    """Return rows of figures as CSV with a header; text that a spreadsheet would take for a formula is marked."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(FIGURE_COLUMNS)
    for row in rows:
        writer.writerow([f"'{one}" if place < 4 and one.startswith(("=", "+", "-", "@")) else one
                         for place, one in enumerate(row)])  # fmt: skip
    return text.getvalue().encode()


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
