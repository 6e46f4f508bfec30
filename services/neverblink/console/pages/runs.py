"""Jobs that pages have started: which run, how far each is, what came of it, and how one is stopped."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, RedirectResponse, Response

from neverblink.console.access.audit import note
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.pages.showing import in_words, page, rendering
from neverblink.console.pages.signing import confirmed
from neverblink.console.runs.book import Run, RunError, Wish
from neverblink.console.visitors import CheckedForm, Form, Gate, RefusedError, Visitor

router = APIRouter(include_in_schema=False)
Engineer = Annotated[Visitor, Depends(Gate(Role.ENGINEER))]
Following = Annotated[Visitor, Depends(Gate(Role.ENGINEER, by_hand=False))]
RunName = Annotated[str, Path(max_length=64)]
_SHOWN = 50
_MOST_FACTS = 40


async def begun(request: Request, visitor: Visitor, form: Form, wish: Wish) -> Run:
    """Start a job for a page, signed and kept in the audit. Raises RefusedError, RunError."""
    desk: Desk = request.app.state.desk
    if not may_run(visitor, wish.lines):
        raise RefusedError(403, N_("Your role does not allow that."))
    actor, now = await confirmed(request, visitor, form), desk.clock()

    def work(connection: Connection) -> Run:
        run = desk.runs.start(wish, actor.who, actor.meaning, now)
        try:
            detail = {"job": wish.job, "subject": wish.subject, "lines": list(wish.lines)}
            note(connection, now, actor, "run.start", run.id, detail)
        except BaseException:
            desk.runs.cancel(run)  # what is not on record does not run
            raise
        return run

    return await desk.access.change(work)


def may_run(visitor: Visitor, lines: tuple[str, ...]) -> bool:
    """Say whether a visitor is an engineer of all these lines."""
    return all(visitor.holds(Role.ENGINEER, line) for line in lines)


async def run_of(request: Request, visitor: Visitor, name: str) -> Run:
    """Return a run that the visitor may follow. Raises RefusedError."""
    desk: Desk = request.app.state.desk
    run = await asyncio.to_thread(desk.runs.find, name)
    if run is None or not may_run(visitor, run.asked.lines):
        raise RefusedError(404, N_("There is no such job, or it is no longer kept."))
    return run


@router.get("/runs")
async def runs(request: Request, visitor: Engineer) -> Response:
    """Show the jobs of the visitor's lines, the newest first."""
    desk: Desk = request.app.state.desk
    found = await asyncio.to_thread(desk.runs.newest)
    seen = [run for run in found if may_run(visitor, run.asked.lines)]
    return page(request, "runs/runs.html.jinja", visitor, runs=seen[:_SHOWN])


@router.get("/runs/{name}")
async def one_run(request: Request, visitor: Engineer, name: RunName) -> Response:
    """Show one job."""
    return await _shown(request, visitor, await run_of(request, visitor, name))


@router.get("/runs/{name}/state")
async def state(request: Request, visitor: Following, name: RunName) -> Response:
    """Return how far a job is, as a piece of a page that asks for it."""
    run = await run_of(request, visitor, name)
    values = await asyncio.to_thread(_values, run)
    answer = HTMLResponse(rendering(request).page("runs/state.html.jinja", values))
    if not run.running and request.query_params.get("whole"):
        # Around this piece stands a page that has more to show now.
        answer.headers["HX-Refresh"] = "true"
    return answer


@router.post("/runs/{name}/cancel")
async def cancel(request: Request, visitor: Engineer, name: RunName, form: CheckedForm) -> Response:
    """Stop a job."""
    desk: Desk = request.app.state.desk
    run = await run_of(request, visitor, name)
    try:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        await desk.access.change(lambda c: note(c, now, actor, "run.cancel", run.id, {"job": run.asked.job}))
        await asyncio.to_thread(desk.runs.cancel, run)
    except (RunError, RefusedError) as error:
        return await _shown(request, visitor, run, *in_words(request, error))
    return RedirectResponse(f"/runs/{run.id}", 303)


async def _shown(request: Request, visitor: Visitor, run: Run, fault: str | None = None, status: int = 200) -> Response:
    values = await asyncio.to_thread(_values, run)
    return page(request, "runs/run.html.jinja", visitor, status=status, fault=fault, **values)


def _values(run: Run) -> dict[str, Any]:
    """Return what a run's page shows; it reads files."""
    result = None if run.running else run.result()
    noise = "" if run.running or result is not None else run.noise()
    return {"run": run, "facts": _facts(result or {}), "noise": noise[-4000:]}


def _facts(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the plain values of a result by name: no page knows the results of all jobs."""
    plain = [(name, value) for name, value in result.items() if isinstance(value, str | int | float | bool)]
    return [(name.replace("_", " "), value) for name, value in plain][:_MOST_FACTS]
