"""The wall: every line as it is now, followed live."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from neverblink.console.access.database import AccessError
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.pages.showing import page, rendering
from neverblink.console.visitors import Gate, RefusedError, Visitor, visit_now

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
Watching = Annotated[Visitor, Depends(Gate(Role.VIEWER, by_hand=False))]
LineName = Annotated[str, Path(max_length=64)]


def tiles_of(lines: int) -> int:
    """Return how many parts of each line are shown, so that two lines fill a screen and four still fit it."""
    return {1: 60, 2: 36, 3: 24}.get(lines, 12)


@router.get("/wall")
async def wall(request: Request, visitor: Viewer) -> Response:
    """Show all lines that the visitor may see."""
    desk: Desk = request.app.state.desk
    return _shown(request, visitor, [line for line in desk.lines if visitor.sees(line)], None)


@router.get("/wall/{line}")
async def one_line(request: Request, visitor: Viewer, line: LineName) -> Response:
    """Show one line, larger."""
    return _shown(request, visitor, [_seen(request, visitor, line)], line)


@router.get("/live")
async def live(
    request: Request,
    visitor: Watching,
    line: Annotated[list[str], Query(max_length=64)] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Send what changes of these lines, until the browser goes away."""
    desk: Desk = request.app.state.desk
    lines = [_seen(request, visitor, name) for name in line]
    if desk.live.full:
        raise RefusedError(503, N_("Too many pages follow the lines: close some."), retry_after_s=10)
    tiles = tiles_of(len(lines))

    async def may_look() -> bool:
        try:
            visit = await visit_now(request, by_hand=False)
        except AccessError:
            return True  # the wall goes on; whoever opens another page is told
        return visit is not None and not visit.locked and all(visit.account.roles.on(name) for name in lines)

    events = desk.live.follow(lines, rendering(request), tiles, may_look, desk.stop)
    return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _seen(request: Request, visitor: Visitor, line: str) -> str:
    desk: Desk = request.app.state.desk
    if line not in desk.lines or not visitor.sees(line):
        raise RefusedError(404, N_("There is no such line among those that you may see."))
    return line


def _shown(request: Request, visitor: Visitor, lines: list[str], one: str | None) -> Response:
    desk: Desk = request.app.state.desk
    speaks = rendering(request)
    tiles = tiles_of(len(lines))
    values: dict[str, Any] = {
        "one": one,
        "query": urlencode([("line", name) for name in lines]),
        "state": desk.live.state(speaks),
        "pieces": [(name, desk.live.line(name, speaks, tiles)) for name in lines],
    }
    return page(request, "wall.html.jinja", visitor, **values)
