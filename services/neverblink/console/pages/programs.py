"""What programs read with a token: the wall and parts of its lines, and the audit for whoever keeps it elsewhere."""

from collections.abc import Mapping
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from neverblink.console.access.audit import exported
from neverblink.console.access.roles import Scope
from neverblink.console.access.tokens import Token
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.visitors import RefusedError, TokenGate
from neverblink.kafka.trouble import Trouble
from neverblink.records.questions.part_story import story_of

router = APIRouter(prefix="/api/v1", include_in_schema=False)
AuditToken = Annotated[Token, Depends(TokenGate(Scope.AUDIT))]
WallToken = Annotated[Token, Depends(TokenGate(Scope.WALL))]
PartsToken = Annotated[Token, Depends(TokenGate(Scope.PARTS))]
Form = Annotated[str, Query(alias="as", pattern="^(json|syslog)$")]
PartId = Annotated[int, Path(ge=1, le=(1 << 63) - 1)]


@router.get("/wall")
async def wall(request: Request, token: WallToken) -> Response:
    """Return every line of the token as its wall shows it, and what is stale."""
    desk: Desk = request.app.state.desk
    feed = desk.live.feed
    lines = [
        {
            "view": feed.boards[name].view(),
            "counts": feed.counts.get(name),
            "open": feed.of(name),
        }
        for name in desk.lines
        if token.lines is None or name in token.lines
    ]
    stale = {"kafka": _said(feed.kafka), "records": _said(feed.database)}
    return _json({"at": desk.clock(), "counted": feed.counted, "since": feed.since, "stale": stale, "lines": lines})


@router.get("/parts/{number}")
async def part(request: Request, token: PartsToken, number: PartId) -> Response:
    """Return everything that is kept of a part, but its pictures."""
    desk: Desk = request.app.state.desk
    story = await desk.ask(lambda session: story_of(session, number, token.lines))
    if story is None:
        raise RefusedError(404, N_("There is no such part among the lines that you may see."))
    return _json(story)


@router.get("/audit")
async def audit(request: Request, _: AuditToken, form: Form = "json") -> Response:
    """Return the whole audit as JSON lines or syslog messages."""
    desk: Desk = request.app.state.desk
    kind = "application/x-ndjson" if form == "json" else "text/plain; charset=utf-8"
    return StreamingResponse(exported(desk.access, desk.plant.site, form), media_type=kind)


def _said(trouble: Trouble | None) -> Mapping[str, object] | None:
    """Return since when something is away; why names hosts of the plant, and is for the log."""
    return None if trouble is None else {"since_s": trouble.since}


def _json(answer: object) -> Response:
    body = orjson.dumps(answer, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC, default=sorted)
    return Response(body, media_type="application/json")
