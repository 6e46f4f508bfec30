"""Quality: how good the inspection is, by line, product, lot, shift and period."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.pages.showing import page, rendering
from neverblink.console.quality.answers import quality_of
from neverblink.console.quality.asked import ALL, SPANS, Asked, FiguresError, Words, asked_of
from neverblink.console.quality.cards import cards_of
from neverblink.console.quality.drawn import drawn, marks_of
from neverblink.console.visitors import Gate, RefusedError, Visitor
from neverblink.records.questions.yields import YieldBy

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
Word = Annotated[str, Query(max_length=200)]


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
    if words.line not in ("", ALL, *lines):
        raise RefusedError(404, N_("There is no such line among those that you may see."))
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


def _tables(asked: Asked, lines: int) -> tuple[YieldBy, ...]:
    """Return by what the yield is told."""
    found: list[YieldBy] = ["line"] if asked.line is None and lines > 1 else []
    found += ["day"] if asked.lot is None else ["shift"]
    found += [] if asked.product else ["product"]
    return (*found, *(() if asked.lot else ("lot",)))
