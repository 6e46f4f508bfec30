"""Quality: how good the inspection is, by line, product, lot, shift and period."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import Response, StreamingResponse

from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.pages.showing import page, rendering
from neverblink.console.quality.agreement import agreement_of, studies_in, study_report
from neverblink.console.quality.answers import quality_of
from neverblink.console.quality.asked import ALL, SPANS, Asked, FiguresError, Words, asked_of
from neverblink.console.quality.cards import cards_of
from neverblink.console.quality.drawn import drawn, marks_of
from neverblink.console.quality.exports import Kind, file_of, first_page
from neverblink.console.quality.reports import (
    Subject,
    counts_of,
    figure_rows,
    figures_csv,
    last_shifts,
    report_of,
    subject_of,
)
from neverblink.console.quality.signals import charts_of, drift_of, windows_of
from neverblink.console.visitors import Gate, RefusedError, Visitor
from neverblink.records.questions.figures import Figures, figures
from neverblink.records.questions.lots import within_lot
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.questions.yields import YieldBy

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
Engineer = Annotated[Visitor, Depends(Gate(Role.ENGINEER))]
Word = Annotated[str, Query(max_length=200)]
_AS_WRITTEN = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
"""A report holds its style and pictures in itself; it may show them and do nothing."""


def words_of(
    line: Word = "",
    product: Word = "",
    lot: Word = "",
    shift: Word = "",
    days: Word = "",
    first: Annotated[str, Query(alias="from", max_length=20)] = "",
    last: Annotated[str, Query(alias="to", max_length=20)] = "",
) -> Words:
    """Return what an address asks for, as it came."""
    return Words(line, product, lot, shift, days, first, last)


Asking = Annotated[Words, Depends(words_of)]


def seen_by(desk: Desk, visitor: Visitor) -> tuple[str, ...]:
    """Return the plant's lines that somebody may see."""
    return tuple(line for line in desk.lines if visitor.sees(line))


@router.get("/quality")
async def quality(request: Request, visitor: Viewer, words: Asking) -> Response:
    """Show the figures of a period, its chart of shifts, what was found most often and what changed."""
    desk: Desk = request.app.state.desk
    lines, now, speaks = seen_by(desk, visitor), desk.clock(), rendering(request)
    _line_of(words.line, lines)
    plan = desk.plant.shift_plan()
    values: dict[str, Any] = {
        "lines": lines,
        "products": [one.name for one in desk.plant.products],
        "shifts": plan.names,
        "spans": SPANS,
        "words": words,
        "found": None,
        "fault": None,
    }
    try:
        asked = asked_of(words, lines, plan.names, desk.zone, now)
    except FiguresError as error:
        asked = asked_of(Words(), lines, plan.names, desk.zone, now)
        values |= {"asked": asked, "fault": error.in_words(speaks.gettext)}
        return page(request, "quality/quality.html.jinja", visitor, status=422, **values)
    wanted, tables = asked.filter(visitor.lines), _tables(asked, len(lines))
    found = await desk.ask(lambda session: quality_of(session, wanted, plan, desk.zone, now, tables))
    values |= {
        "asked": asked,
        "found": found,
        "cards": cards_of(found.proof),
        "chart": drawn(found.chart, desk.zone, speaks.language),
        "marks": marks_of(found),
    }
    return page(request, "quality/quality.html.jinja", visitor, **values)


@router.get("/quality/drift")
async def drift(
    request: Request,
    visitor: Viewer,
    line: Word = "",
    station: Word = "",
    days: Annotated[int, Query(ge=1, le=400)] = 1,
) -> Response:
    """Show how the stations' signals drift, and of one of them how each went."""
    desk: Desk = request.app.state.desk
    seen, until, speaks = seen_by(desk, visitor), desk.clock(), rendering(request)
    stations = [(one.name, station.name) for one, station in desk.plant.stations() if one.name in seen]
    chosen = (line, station) if line or station else next(iter(stations), None)
    if chosen is not None and chosen not in stations:
        raise RefusedError(404, N_("There is no such station among those that you may see."))
    since = until - timedelta(days=days)
    found = await desk.ask(lambda session: drift_of(session, stations, chosen, since, until))
    now = next((one for name, place, one in found.stations if (name, place) == chosen), None)
    values: dict[str, Any] = {
        "found": found,
        "chosen": chosen,
        "charts": charts_of(found.points, now, since, until, desk.zone, speaks.language),
        "windows": windows_of(found.points),
        "has_normal": any(one.expected for one in found.points),
        "days": days,
        "spans": SPANS if days in SPANS else sorted((*SPANS, days)),
        "since": since,
        "until": until,
    }
    return page(request, "quality/drift.html.jinja", visitor, **values)


@router.get("/quality/reports")
async def reports(request: Request, visitor: Viewer, line: Word = "") -> Response:
    """Show the last shifts and lots, each with its report."""
    desk: Desk = request.app.state.desk
    lines, now = seen_by(desk, visitor), desk.clock()
    chosen = _line_of(line, lines)
    shifts = last_shifts(chosen, desk.plant.shift_plan(), desk.zone, now)
    told, lots = await desk.ask(lambda session: counts_of(session, shifts, chosen, visitor.lines, now))
    values: dict[str, Any] = {"lines": lines, "chosen": chosen, "shifts": told, "lots": lots, "now": now}
    values["shift_names"] = desk.plant.shift_plan().names
    return page(request, "quality/reports.html.jinja", visitor, **values)


@router.get("/quality/report")
async def report(
    request: Request, visitor: Viewer, line: Word = "", shift: Word = "", day: Word = "", lot: Word = ""
) -> Response:
    """Show the report of a shift or a lot, made to be printed."""
    desk: Desk = request.app.state.desk
    now, subject = desk.clock(), _subject(request, visitor, line, shift, day, lot)
    lines = seen_by(desk, visitor)
    found = await desk.ask(lambda session: report_of(session, subject, lines, visitor.lines, now))
    values: dict[str, Any] = {"found": found, "subject": subject, "cards": cards_of(found.proof), "now": now}
    return page(request, "quality/report.html.jinja", visitor, **values)


@router.get("/quality/report/figures.csv")
async def report_figures(
    request: Request, visitor: Viewer, line: Word = "", shift: Word = "", day: Word = "", lot: Word = ""
) -> Response:
    """Return the figures of a report for other programs."""
    desk: Desk = request.app.state.desk
    subject, seen = _subject(request, visitor, line, shift, day, lot), visitor.lines
    wanted = subject.counted(seen)

    def asked(session: Session) -> tuple[Figures, Proof]:
        return figures(session, within_lot(session, wanted)), proof_of(session, wanted)

    content = figures_csv(figure_rows(subject, *await desk.ask(asked)))
    return Response(content, media_type="text/csv; charset=utf-8", headers=_saved(f"{subject.file}-figures.csv"))


@router.get("/quality/report/parts.{kind}")
async def report_parts(
    request: Request,
    visitor: Viewer,
    kind: Kind,
    line: Word = "",
    shift: Word = "",
    day: Word = "",
    lot: Word = "",
) -> Response:
    """Return the parts of a report for other programs, as CSV or Parquet."""
    desk: Desk = request.app.state.desk
    wanted = _subject(request, visitor, line, shift, day, lot).parts(visitor.lines, desk.clock())
    name = f"{_subject(request, visitor, line, shift, day, lot).file}-parts.{kind}"
    if desk.exports.full:
        raise RefusedError(503, N_("Too many files are being made: try again in a moment."), retry_after_s=10)
    content = file_of(kind, desk.ask, wanted, await first_page(desk.ask, wanted), desk.exports)
    media = "text/csv; charset=utf-8" if kind == "csv" else "application/vnd.apache.parquet"
    return StreamingResponse(content, media_type=media, headers=_saved(name))


@router.get("/quality/agreement")
async def agreement(
    request: Request, visitor: Viewer, line: Word = "", days: Annotated[int, Query(ge=1, le=400)] = 28
) -> Response:
    """Show how often people and the machine said the same, and the studies that were made of it."""
    desk: Desk = request.app.state.desk
    lines, now = seen_by(desk, visitor), desk.clock()
    chosen = _line_of(line, lines)
    wanted = RollupFilter(None if chosen is None else (chosen,), since=now - timedelta(days=days)).within(visitor.lines)
    stations = [(one.name, station.name) for one, station in desk.plant.stations()]
    own = [one for one in stations if one[0] in lines and chosen in (None, one[0])]
    may_read = visitor.may(Role.ENGINEER)
    folder = desk.plant.console.studies
    values: dict[str, Any] = {
        "found": await desk.ask(lambda session: agreement_of(session, wanted, chosen, own)),
        "studies": await asyncio.to_thread(studies_in, folder) if may_read else (),
        "may_read": may_read,
        "lines": lines,
        "chosen": chosen,
        "days": days,
        "spans": SPANS if days in SPANS else sorted((*SPANS, days)),
    }
    return page(request, "quality/agreement.html.jinja", visitor, **values)


@router.get("/quality/studies/{name}")
async def study(request: Request, _: Engineer, name: Annotated[str, Path(max_length=255)]) -> Response:
    """Return the report of a study as it was written: a page of its own, in which nothing runs."""
    desk: Desk = request.app.state.desk
    content = await asyncio.to_thread(study_report, desk.plant.console.studies, name)
    if content is None:
        raise RefusedError(404, N_("There is no such study."))
    return Response(content, media_type="text/html; charset=utf-8", headers=_AS_WRITTEN)


def _subject(request: Request, visitor: Visitor, line: str, shift: str, day: str, lot: str) -> Subject:
    """Return what a report is of. Raises RefusedError."""
    desk: Desk = request.app.state.desk
    try:
        chosen = _line_of(line, seen_by(desk, visitor))
        return subject_of(chosen, shift, day, lot, desk.plant.shift_plan(), desk.zone)
    except FiguresError as error:
        raise RefusedError(422, error.in_words(rendering(request).gettext)) from error


def _line_of(line: str, lines: Sequence[str]) -> str | None:
    """Return the line that an address names, the first where it names none, None for all. Raises RefusedError."""
    if line not in ("", ALL, *lines):
        raise RefusedError(404, N_("There is no such line among those that you may see."))
    return None if line == ALL else line or next(iter(lines), None)


def _saved(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _tables(asked: Asked, lines: int) -> tuple[YieldBy, ...]:
    """Return by what the yield is told."""
    found: list[YieldBy] = ["line"] if asked.line is None and lines > 1 else []
    found += ["day"] if asked.lot is None else ["shift"]
    found += [] if asked.product else ["product"]
    return (*found, *(() if asked.lot else ("lot",)))
