"""What wants somebody: the list, one alarm with its history, and how well the alarms do."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from neverblink.console.access.roles import Role
from neverblink.console.access.said import SaidError
from neverblink.console.alarms import book, performance
from neverblink.console.alarms.book import Happened, Listed
from neverblink.console.alarms.performance import Call
from neverblink.console.alarms.state import AlarmError, State
from neverblink.console.alarms.watching import CALLING, told_by
from neverblink.console.alarms.words import said_of
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.pages.showing import in_words, page, rendering
from neverblink.console.pages.signing import confirmed
from neverblink.console.visitors import CheckedForm, Form, Gate, RefusedError, Visitor

router = APIRouter(prefix="/alarms", include_in_schema=False)
Viewer = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
Watching = Annotated[Visitor, Depends(Gate(Role.VIEWER, by_hand=False))]
Operator = Annotated[Visitor, Depends(Gate(Role.OPERATOR))]
Number = Annotated[int, Path(ge=1, le=(1 << 63) - 1)]

SHELVES = (
    (30, N_("30 minutes")),
    (120, N_("2 hours")),
    (480, N_("8 hours")),
    (1440, N_("24 hours")),
    (4320, N_("3 days")),
    (10080, N_("7 days")),
)
"""For how many minutes an alarm may be set aside, and what that is called."""

_PERIODS = (
    (timedelta(hours=1), N_("last hour")),
    (timedelta(hours=8), N_("last 8 hours")),
    (timedelta(days=1), N_("last 24 hours")),
    (timedelta(days=7), N_("last 7 days")),
)
_LONG = timedelta(days=1)


@router.get("")
async def alarms(request: Request, visitor: Viewer) -> Response:
    """Show what stands."""
    return page(request, "alarms/alarms.html.jinja", visitor, **_list(request, visitor), fault=None)


@router.get("/list")
async def live_list(request: Request, visitor: Watching) -> Response:
    """Return the list alone, for a page that follows it."""
    return _piece(request, "alarms/list.html.jinja", visitor)


@router.get("/count")
async def live_count(request: Request, visitor: Watching) -> Response:
    """Return the count in the bar alone."""
    return _piece(request, "alarms/count.html.jinja", visitor)


@router.get("/performance")
async def how_they_do(request: Request, visitor: Viewer) -> Response:
    """Show how often somebody was called, which alarms call most and which flicker."""
    desk: Desk = request.app.state.desk
    now, said = desk.clock(), rendering(request).gettext
    rows = await desk.access.ask(lambda c: book.calls_since(c, now - _PERIODS[-1][0]))
    began = await desk.access.ask(book.began) or now
    calls = [Call(step.alarm, step.at, step.priority) for step, line, _ in rows if _sees(desk, visitor, line)]
    found = performance.offenders(calls)
    known = await desk.access.ask(lambda c: book.by_number(c, [one.alarm for one in found]))
    values: dict[str, Any] = {
        "rates": [(name, performance.rate_of(calls, max(began, now - span), now)) for span, name in _PERIODS],
        "began": began,
        "priorities": performance.by_priority(calls),
        "offenders": [(one, known[one.alarm], said_of(known[one.alarm], said)) for one in found],
        "long": [(one, said_of(one, said)) for one in _seen(desk, visitor) if now - one.since >= _LONG],
        "total": len(calls),
        "good": performance.GOOD_PER_HOUR,
        "most": performance.MOST_PER_HOUR,
        "flood": performance.FLOOD,
    }
    return page(request, "alarms/performance.html.jinja", visitor, **values)


@router.get("/{number}")
async def one_alarm(request: Request, visitor: Viewer, number: Number) -> Response:
    """Show one alarm: what follows, what to do, what happened to it."""
    return await _one(request, visitor, await _found(request, visitor, number))


@router.post("/{number}/acknowledge")
async def acknowledge(request: Request, visitor: Operator, number: Number, form: CheckedForm) -> Response:
    """Note that somebody has seen it. It is not signed: what it changes is who looks after it."""
    desk: Desk = request.app.state.desk
    await _allowed(request, visitor, number)
    rounds, now = _whole(form, "rounds"), desk.clock()

    async def done() -> list[Happened]:
        return await desk.access.change(lambda c: book.acknowledge(c, number, rounds, visitor.actor(), now))

    fault, status = await _tried(request, done)
    if request.headers.get("hx-request") == "true":
        return _piece(request, "alarms/list.html.jinja", visitor, fault)
    if fault is None:
        return RedirectResponse("/alarms", 303)
    return page(request, "alarms/alarms.html.jinja", visitor, status=status, **_list(request, visitor), fault=fault)


@router.post("/{number}/shelve")
async def shelve(request: Request, visitor: Operator, number: Number, form: CheckedForm) -> Response:
    """Set an alarm aside for a time."""
    desk: Desk = request.app.state.desk
    listed = await _allowed(request, visitor, number)

    async def done() -> list[Happened]:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        minutes, reason = _whole(form, "minutes"), form.get("reason", 400)
        if minutes not in dict(SHELVES):
            raise AlarmError("choose for how long it is shelved")
        until = now + timedelta(minutes=minutes)
        return await desk.access.change(lambda c: book.shelve(c, number, until, reason, actor, now))

    return await _after(request, visitor, listed, done)


@router.post("/{number}/unshelve")
async def unshelve(request: Request, visitor: Operator, number: Number, form: CheckedForm) -> Response:
    """Take an alarm off the shelf."""
    desk: Desk = request.app.state.desk
    listed = await _allowed(request, visitor, number)

    async def done() -> list[Happened]:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        return await desk.access.change(lambda c: book.unshelve(c, number, actor, now))

    return await _after(request, visitor, listed, done)


def _sees(desk: Desk, visitor: Visitor, line: str | None) -> bool:
    return line is None or (line in desk.lines and visitor.sees(line))


def _seen(desk: Desk, visitor: Visitor) -> list[Listed]:
    return desk.alarms.of(lambda line: _sees(desk, visitor, line))


def _may(visitor: Visitor, line: str | None) -> bool:
    """Say whether the visitor looks after the alarms of a line; of the whole plant whoever does so on any line."""
    return visitor.may(Role.OPERATOR) if line is None else visitor.holds(Role.OPERATOR, line)


def _list(request: Request, visitor: Visitor) -> dict[str, Any]:
    desk: Desk = request.app.state.desk
    said = rendering(request).gettext
    found = [(one, said_of(one, said), _may(visitor, one.line)) for one in _seen(desk, visitor)]
    return {
        "calling": desk.alarms.calling(lambda line: _sees(desk, visitor, line)),
        "unseen": [row for row in found if row[0].state in CALLING],
        "acknowledged": [row for row in found if row[0].state is State.ACKNOWLEDGED],
        "shelved": [row for row in found if row[0].state is State.SHELVED],
        "looked": desk.alarms.looked,
        "trouble": desk.alarms.trouble,
        "now": desk.clock(),
    }


def _piece(request: Request, template: str, visitor: Visitor, fault: str | None = None) -> Response:
    values = {**_list(request, visitor), "csrf": visitor.visit.csrf, "fault": fault}
    return HTMLResponse(rendering(request).page(template, values))


async def _found(request: Request, visitor: Visitor, number: int) -> Listed:
    """Return an alarm that the visitor may see. Raises RefusedError."""
    desk: Desk = request.app.state.desk
    found = await desk.access.ask(lambda c: book.one_of(c, number))
    if found is None or not _sees(desk, visitor, found.line):
        raise RefusedError(404, N_("There is no such alarm on the lines that you may see."))
    return found


async def _allowed(request: Request, visitor: Visitor, number: int) -> Listed:
    """Return an alarm that the visitor looks after. Raises RefusedError."""
    found = await _found(request, visitor, number)
    if not _may(visitor, found.line):
        raise RefusedError(403, N_("Your role does not allow that."))
    return found


async def _tried(request: Request, work: Callable[[], Awaitable[list[Happened]]]) -> tuple[str | None, int]:
    """Do a change, let every page know of it, and return why it was refused, with a status."""
    desk: Desk = request.app.state.desk
    try:
        happened = await work()
    except (SaidError, RefusedError) as error:
        return in_words(request, error)
    told_by(desk.alarms, happened)
    return None, 200


async def _after(
    request: Request, visitor: Visitor, listed: Listed, work: Callable[[], Awaitable[list[Happened]]]
) -> Response:
    fault, status = await _tried(request, work)
    if fault is None:
        return RedirectResponse(f"/alarms/{listed.number}", 303)
    return await _one(request, visitor, listed, fault, status)


async def _one(
    request: Request, visitor: Visitor, listed: Listed, fault: str | None = None, status: int = 200
) -> Response:
    desk: Desk = request.app.state.desk
    steps = await desk.access.ask(lambda c: book.steps_of(c, listed.number))
    values: dict[str, Any] = {
        "one": listed,
        "said": said_of(listed, rendering(request).gettext),
        "steps": steps,
        "may": _may(visitor, listed.line),
        "shelves": SHELVES,
        "now": desk.clock(),
        "fault": fault,
    }
    return page(request, "alarms/alarm.html.jinja", visitor, status=status, **values)


def _whole(form: Form, name: str) -> int:
    """Return a whole number of a form. Raises RefusedError."""
    found = form.get(name, 12)
    if not (found.isascii() and found.isdigit()):
        raise RefusedError(422, N_("A number is expected."))
    return int(found)
