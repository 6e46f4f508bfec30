"""How the plant's services do: who lives, how much time is left before the deadline, what will run out, who waits."""

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, Response

from neverblink import __version__
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.health.services import ENDS_NOW, ENDS_SOON, LOW_SHARE, VERY_LOW_SHARE, Seen
from neverblink.console.health.waits import seen_parts, waits_of
from neverblink.console.pages.showing import page, rendering
from neverblink.console.visitors import Gate, Visitor
from neverblink.console.words import JOBS
from neverblink.http_serving.asking import BusyError
from neverblink.records.database import LedgerError
from neverblink.records.questions.review_queue import QueueFilter, counts

router = APIRouter(prefix="/health", include_in_schema=False)
Viewer = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
_OLDEST = timedelta(days=28)
"""Older parts are no longer asked for."""

Watching = Annotated[Visitor, Depends(Gate(Role.VIEWER, by_hand=False))]


@router.get("")
async def health(request: Request, visitor: Viewer) -> Response:
    """Show how everything does."""
    return page(request, "health/health.html.jinja", visitor, **await _values(request, visitor))


@router.get("/now")
async def now(request: Request, visitor: Watching) -> Response:
    """Return what the page shows alone, for a page that follows it."""
    values = await _values(request, visitor)
    return HTMLResponse(rendering(request).page("health/now.html.jinja", values))


async def _values(request: Request, visitor: Visitor) -> dict[str, Any]:
    desk: Desk = request.app.state.desk
    said = rendering(request).gettext
    lines = [line for line in desk.lines if visitor.sees(line)]
    services = [seen for seen in desk.services.view() if not seen.report.lines or set(seen.report.lines) & set(lines)]
    feed, moment = desk.live.feed, desk.clock()
    waiting, more = await _waiting(desk, lines)
    run = None if desk.runs is None else await asyncio.to_thread(desk.runs.running)
    waits = waits_of(
        services, kafka=feed.kafka, records=feed.database, reviewers=waiting, more=more,
        job=None if run is None else said(JOBS.get(run.asked.job, run.asked.job)),
    )  # fmt: skip
    return {
        "services": [(seen, seen_parts(seen, desk.lines, visitor.sees)) for seen in services],
        "waits": [(one, one.in_words(said)) for one in waits],
        "lines": [
            (line, feed.boards[line.name].spare(), feed.boards[line.name].view())
            for line in desk.plant.lines
            if line.name in lines
        ],
        "disks": _disks(services),
        "certificates": _certificates(services),
        "version": __version__,
        "read": desk.services.read,
        "known": desk.services.known,
        "waiting": waiting,
        "now": moment,
        "ends_soon": moment + ENDS_SOON,
        "ends_now": moment + ENDS_NOW,
        "low": LOW_SHARE,
        "very_low": VERY_LOW_SHARE,
    }


async def _waiting(desk: Desk, lines: list[str]) -> tuple[int | None, bool]:
    """Return how many parts wait for reviewers and whether there are more; None where that is not known now."""
    if not lines:
        return 0, False
    since = desk.clock() - _OLDEST
    try:
        found = await desk.ask(lambda session: counts(session, QueueFilter(since, tuple(lines))))
    except (BusyError, LedgerError):
        return None, False
    return sum(one.count for one in found), any(one.more for one in found)


def _disks(services: list[Seen]) -> list[tuple[str, str, int, int, list[str]]]:
    """Return each disk of a host once, with the services that told of it, the fullest first."""
    found: dict[tuple[str, str], tuple[int, int, list[str]]] = {}
    for seen in services:
        if seen.state == "stopped":
            continue
        for disk in seen.report.disks:
            known = found.setdefault((seen.report.host, disk.folder), (disk.free_bytes, disk.total_bytes, []))
            if seen.report.service not in known[2]:
                known[2].append(seen.report.service)
    rows = [(host, folder, free, total, names) for (host, folder), (free, total, names) in found.items()]
    return sorted(rows, key=lambda row: row[2] / row[3] if row[3] else 1.0)


def _certificates(services: list[Seen]) -> list[tuple[str, str, Any]]:
    """Return each certificate of a host once, the first to end first."""
    found = {
        (seen.report.host, one.what): one.ends
        for seen in services
        if seen.state != "stopped"
        for one in seen.report.certificates
    }
    return sorted(((host, what, ends) for (host, what), ends in found.items()), key=lambda row: row[2])
