"""The page for reviewers: what waits, a part to judge, one key an answer, and which keys."""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from neverblink import telemetry
from neverblink.console.access.audit import note
from neverblink.console.access.database import AccessError
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.pages.showing import page, rendering
from neverblink.console.reviews.answering import Asked
from neverblink.console.reviews.asked import (
    AskedError,
    Before,
    Wish,
    answer_of,
    before_of,
    lines_of,
    stations_of,
    verdict_of,
    wish_of,
)
from neverblink.console.reviews.bench import Bench, RefusalError, bench_of, groups_of, in_words
from neverblink.console.reviews.keys import FIRST, MOST_KEYS, KeysError, checked, keep_keys, keys_of
from neverblink.console.visitors import CheckedForm, Form, Gate, Visitor
from neverblink.events import Review
from neverblink.reviewing import Desk as ReviewDesk

router = APIRouter(include_in_schema=False)
Reviewer = Annotated[Visitor, Depends(Gate(Role.REVIEWER))]
Looking = Annotated[Visitor, Depends(Gate(Role.REVIEWER, by_hand=False))]
Word = Annotated[str, Query(max_length=140)]
Work = Callable[["_Sitting", Form], Coroutine[Any, Any, Bench]]
_ROWS = 12


class _Sitting:
    """One request of a reviewer."""

    def __init__(self, request: Request, visitor: Visitor, before: Before, wish: Wish) -> None:
        self.request, self.visitor, self.before, self.wish = request, visitor, before, wish
        self.console: Desk = request.app.state.desk
        self.lines = lines_of(self.console, visitor)
        name, console = visitor.account.name, self.console
        self.desk = ReviewDesk(
            console.plant, name, console.clock, self.lines, topics=console.topics, records=Asked(console.ask).open
        )
        self.gettext = rendering(request).gettext

    async def take(self, last: Review | None = None) -> Bench:
        """Return the bench with the next part on it. Raises RefusalError."""
        async with in_words(self.gettext):
            taken = await self.desk.take(self.wish.where(), without=self.before.passed)
        if taken is None:
            return Bench(self.before, last=last, nothing_waits=True)
        return bench_of(taken, self.before, self.console.clock(), last)

    async def take_named(self, verdict: str) -> Bench:
        """Return the bench with that part on it. Raises RefusalError."""
        async with in_words(self.gettext):
            taken = await self.desk.take_named(verdict)
        passed = tuple(one for one in self.before.passed if one != verdict)
        return bench_of(taken, replace(self.before, passed=passed), self.console.clock())

    async def told(self, review: Review, action: str, **more: object) -> None:
        """Count an answer that Kafka has acknowledged, and keep it in the audit."""
        self.console.given.note(review)
        now, actor = self.console.clock(), self.visitor.actor()
        detail = {"line": review.line, "station": review.station, "part": review.part, **more}
        try:
            await self.console.access.change(lambda c: note(c, now, actor, action, review.verdict, detail))
        except AccessError as error:
            # The answer counts: whoever gave it must not be told to give it again.
            telemetry.logger("console").error(f"an answer of {actor.who} is not in the audit: {error}")


@router.get("/review")
async def review(
    request: Request, visitor: Reviewer, line: Word = "", station: Word = "", product: Word = ""
) -> Response:
    """Show what waits; nothing is taken yet."""
    desk: Desk = request.app.state.desk
    lines = lines_of(desk, visitor)
    try:
        wish, fault = wish_of(desk, lines, line, station, product), None
    except AskedError as error:
        wish, fault = Wish(), RefusalError(422, error.in_words(rendering(request).gettext))
    return await _whole(request, visitor, wish, Bench(Before(), fault=fault), 422 if fault else 200)


@router.get("/review/queue")
async def queue(
    request: Request, visitor: Looking, line: Word = "", station: Word = "", product: Word = ""
) -> Response:
    """Return what waits, as a piece of the page."""
    desk: Desk = request.app.state.desk
    try:
        wish = wish_of(desk, lines_of(desk, visitor), line, station, product)
    except AskedError:
        wish = Wish()
    return _piece(request, "review_queue.html.jinja", await _waiting(_Sitting(request, visitor, Before(), wish)))


@router.post("/review/take")
async def take(request: Request, visitor: Reviewer, form: CheckedForm) -> Response:
    """Take the first that waits, or the one that is named."""

    async def taken(sitting: _Sitting, form: Form) -> Bench:
        named = form.get("named", 64)
        return await (sitting.take_named(named) if named else sitting.take())

    return await _done(request, visitor, form, taken)


@router.post("/review/answer")
async def answer(request: Request, visitor: Reviewer, form: CheckedForm) -> Response:
    """Publish an answer, and take the next part."""

    async def answered(sitting: _Sitting, form: Form) -> Bench:
        async with in_words(sitting.gettext):
            said = answer_of(form)
            (given,) = await sitting.desk.answer([said])
        looked = bool(form.get("looked", 1))
        await sitting.told(given.review, "review.answer", judgement=said.judgement.value, looked=looked)
        sitting.before = replace(sitting.before, done=(*sitting.before.done, said.named))
        return await _next(sitting, given.review)

    return await _done(request, visitor, form, answered)


@router.post("/review/skip")
async def skip(request: Request, visitor: Reviewer, form: CheckedForm) -> Response:
    """Put a part back for others, and take the next."""

    async def skipped(sitting: _Sitting, form: Form) -> Bench:
        async with in_words(sitting.gettext):
            verdict = verdict_of(form)
            await sitting.desk.put_back(verdict)
        sitting.before = replace(sitting.before, passed=(*sitting.before.passed, verdict))
        return await _next(sitting, None)

    return await _done(request, visitor, form, skipped)


@router.post("/review/undo")
async def undo(request: Request, visitor: Reviewer, form: CheckedForm) -> Response:
    """Take the last answer back, and take its part again."""

    async def undone(sitting: _Sitting, form: Form) -> Bench:
        async with in_words(sitting.gettext):
            if not sitting.before.done:
                raise AskedError("there is no answer of this page to take back")
            verdict = sitting.before.done[-1]
            given = await sitting.desk.undo(verdict)
        await sitting.told(given.review, "review.undo")
        sitting.before = replace(sitting.before, done=sitting.before.done[:-1])
        try:
            return replace(await sitting.take_named(verdict), last=given.review)
        except RefusalError as fault:
            return Bench(sitting.before, last=given.review, fault=fault)

    return await _done(request, visitor, form, undone)


@router.get("/review/keys")
async def keys(request: Request, visitor: Reviewer) -> Response:
    """Show which key does what."""
    return await _keys(request, visitor)


@router.post("/review/keys")
async def change_keys(request: Request, visitor: Reviewer, form: CheckedForm) -> Response:
    """Take the keys that an account has chosen, or go back to those that all begin with."""
    desk: Desk = request.app.state.desk
    try:
        chosen = None if form.get("first", 1) else checked({action: form.all(f"key:{action}") for action in FIRST})
    except KeysError as error:
        return await _keys(request, visitor, fault=error.in_words(rendering(request).gettext), form=form)
    await desk.access.change(lambda c: keep_keys(c, visitor.account, chosen))
    return RedirectResponse("/review", 303)


async def _done(request: Request, visitor: Visitor, form: Form, work: Work) -> Response:
    """Do what a form asks. What is refused leaves the page as it is, with what was typed and drawn."""
    desk: Desk = request.app.state.desk
    lines = lines_of(desk, visitor)
    wish, status = Wish(), 200
    try:
        async with in_words(rendering(request).gettext):
            wish = wish_of(desk, lines, form.get("line", 140), form.get("station", 140), form.get("product", 140))
            before = before_of(form)
        bench = await work(_Sitting(request, visitor, before, wish), form)
    except RefusalError as fault:
        if _by_script(request):
            answer = _piece(request, "review_fault.html.jinja", {"fault": fault}, fault.status)
            answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#review-fault", "innerHTML"
            return answer
        bench, status = Bench(Before(), fault=fault), fault.status
    if not _by_script(request):
        return await _whole(request, visitor, wish, bench, status)
    answer = _piece(request, "review_bench.html.jinja", await _benched(request, visitor, wish, bench))
    answer.headers["HX-Trigger"] = "reviewed"
    return answer


async def _next(sitting: _Sitting, last: Review | None) -> Bench:
    """Return the bench with the next part; what was done before it is done, also where there is no next."""
    try:
        return await sitting.take(last)
    except RefusalError as fault:
        return Bench(sitting.before, last=last, fault=fault)


async def _whole(request: Request, visitor: Visitor, wish: Wish, bench: Bench, status: int = 200) -> Response:
    desk: Desk = request.app.state.desk
    lines = lines_of(desk, visitor)
    values = {
        **await _benched(request, visitor, wish, bench),
        **await _waiting(_Sitting(request, visitor, bench.before, wish)),
        "lines": lines,
        "stations": stations_of(desk, lines),
        "products": [one.name for one in desk.plant.products],
        "whole": True,
    }
    return page(request, "review.html.jinja", visitor, status=status, **values)


async def _benched(request: Request, visitor: Visitor, wish: Wish, bench: Bench) -> dict[str, Any]:
    desk: Desk = request.app.state.desk
    own = await desk.access.ask(lambda c: keys_of(c, visitor.account))
    judged = None if bench.taken is None else bench.taken.judged
    known = next((one for one in desk.plant.products if judged is not None and one.name == judged.product), None)
    return {
        "bench": bench,
        "keys": own,
        "types": [] if known is None else list(known.defects.types),
        "wish": wish,
        "csrf": visitor.visit.csrf,
    }


async def _waiting(sitting: _Sitting) -> dict[str, Any]:
    """Return what waits, or why nobody knows."""
    name, since = sitting.visitor.account.name, _shift_began(sitting.console)
    values: dict[str, Any] = {"wish": sitting.wish, "me": name, "since": since, "away": None}
    try:
        async with in_words(sitting.gettext):
            found, counts = await sitting.desk.waiting(sitting.wish.where(), _ROWS)
            kept = await sitting.desk.given(since)
    except RefusalError as fault:
        return {
            **values,
            "away": fault,
            "rows": [],
            "groups": [],
            "given": sitting.console.given.count(name, since, {}),
        }
    given = sitting.console.given.count(name, since, kept)
    return {**values, "rows": found.rows, "groups": groups_of(counts), "given": given}


def _shift_began(desk: Desk) -> datetime:
    """Return when the shift began, or the day where the plant names no shifts."""
    now = desk.clock()
    span = desk.plant.shift_plan().span_at(now)
    return now.astimezone(desk.zone).replace(hour=0, minute=0, second=0, microsecond=0) if span is None else span.begins


async def _keys(request: Request, visitor: Visitor, *, fault: str | None = None, form: Form | None = None) -> Response:
    desk: Desk = request.app.state.desk
    own = await desk.access.ask(lambda c: keys_of(c, visitor.account))
    shown = own if form is None else {action: tuple(form.all(f"key:{action}"))[:MOST_KEYS] for action in FIRST}
    rows = [(action, (*shown[action], *("",) * MOST_KEYS)[:MOST_KEYS]) for action in FIRST]
    values = {"rows": rows, "fault": fault, "first": own == FIRST}
    return page(request, "review_keys.html.jinja", visitor, status=422 if fault else 200, **values)


def _by_script(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _piece(request: Request, template: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
    return HTMLResponse(rendering(request).page(template, values), status)
