"""What programs read with a token: the audit, for whoever keeps it elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from neverblink.console.access.audit import exported
from neverblink.console.access.roles import Scope
from neverblink.console.access.tokens import Token
from neverblink.console.desk import Desk
from neverblink.console.visitors import TokenGate

router = APIRouter(prefix="/api/v1", include_in_schema=False)
AuditToken = Annotated[Token, Depends(TokenGate(Scope.AUDIT))]
Form = Annotated[str, Query(alias="as", pattern="^(json|syslog)$")]


@router.get("/audit")
async def audit(request: Request, _: AuditToken, form: Form = "json") -> Response:
    """Return the whole audit as JSON lines or syslog messages."""
    desk: Desk = request.app.state.desk
    kind = "application/x-ndjson" if form == "json" else "text/plain; charset=utf-8"
    return StreamingResponse(exported(desk.access, desk.plant.site, form), media_type=kind)
