"""The wall: every line as it is now, followed live."""

from collections.abc import Sequence
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
HallName = Annotated[str, Query(max_length=64)]
Full = Annotated[bool | None, Query()]


def tiles_of(lines: int) -> int:
    """Return how many parts of each line are shown, so that two lines fill a screen and four still fit it."""
    return {1: 60, 2: 36, 3: 24}.get(lines, 12)


@router.get("/wall")
async def wall(request: Request, visitor: Viewer, hall: HallName = "", full: Full = None) -> Response:
    """Show all lines that the visitor may see, or those of one hall; `full` leaves out the bar above them."""
    desk: Desk = request.app.state.desk
    lines = [line for line in desk.plant.lines if visitor.sees(line.name)]
    if hall and all(line.hall != hall for line in lines):
        raise RefusedError(404, N_("There is no such hall among those of your lines."))
    halls = list(dict.fromkeys(line.hall for line in lines if line.hall is not None))
    wanted = [line.name for line in lines if not hall or line.hall == hall]
    return _shown(request, visitor, wanted, None, halls=halls, hall=hall, full=full)


@router.get("/wall/{line}")
async def one_line(request: Request, visitor: Viewer, line: LineName, full: Full = None) -> Response:
    """Show one line, larger."""
    return _shown(request, visitor, [_seen(request, visitor, line)], line, full=full)


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


def _shown(
    request: Request,
    visitor: Visitor,
    lines: list[str],
    one: str | None,
    *,
    halls: Sequence[str] = (),
    hall: str = "",
    full: bool | None = None,
) -> Response:
    desk: Desk = request.app.state.desk
    speaks = rendering(request)
    tiles = tiles_of(len(lines))
    standing = {line.name: line.hall for line in desk.plant.lines}
    pieces: dict[str | None, list[tuple[str, str]]] = {}
    for name in lines:
        pieces.setdefault(standing[name], []).append((name, desk.live.line(name, speaks, tiles)))
    values: dict[str, Any] = {
        "one": one,
        "halls": halls,
        "hall": hall,
        # A screen on the wall has nobody before it who would choose another page.
        "full": visitor.account.wall if full is None else full,
        "query": urlencode([("line", name) for name in lines]),
        "state": desk.live.state(speaks),
        "groups": list(pieces.items()),
    }
    return page(request, "wall.html.jinja", visitor, **values)
