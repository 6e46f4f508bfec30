"""What went wrong with a request, as problem+json (RFC 9457): `detail` is a sentence for a person."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from neverblink import telemetry
from neverblink.errors import NeverblinkError, reason_of
from neverblink.http_serving.asking import BusyError
from neverblink.ledger.api.tokens import TokenError
from neverblink.records.database import LedgerError
from neverblink.records.evidence_store import EvidenceStoreError
from neverblink.records.questions.cursor import CursorError
from neverblink.records.reading import QuestionTooLongError
from neverblink.shown import visible

MEDIA_TYPE = "application/problem+json"
_SHOWN = 80


class Problem(BaseModel):
    """What went wrong. `type` is about:blank: status and detail say it all."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class ApiError(NeverblinkError):
    """A request that is refused, with the status and headers that say so."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def answer(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem as a response."""
    title = HTTPStatus(status).phrase
    body = orjson.dumps(Problem(title=title, status=status, detail=detail).model_dump())
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def tell_problems(app: FastAPI) -> None:
    """Let every error of the application be answered as a problem."""
    log = telemetry.logger("ledger-api")

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return answer(error.status, str(error), error.headers)

    @app.exception_handler(CursorError)
    async def no_cursor(_: Request, error: CursorError) -> Response:
        return answer(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> Response:
        return answer(422, "; ".join(_sentence(fault) for fault in error.errors()[:10]))

    @app.exception_handler(HTTPException)
    async def not_here(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return answer(404, f"there is nothing at {_short(request.url.path)}; /openapi.json says what there is")
        if error.status_code == 405:
            return answer(405, "this interface only reads: use GET", error.headers)
        return answer(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> Response:
        return answer(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(QuestionTooLongError)
    async def too_long(_: Request, error: QuestionTooLongError) -> Response:
        return answer(503, str(error), {"Retry-After": "5"})

    @app.exception_handler(LedgerError)
    @app.exception_handler(TokenError)
    @app.exception_handler(EvidenceStoreError)
    async def away(_: Request, error: NeverblinkError) -> Response:
        # The sentence names files and servers of the plant: it is for the log.
        log.error(str(error))
        return answer(503, "the records cannot be read now; the server's log says why", {"Retry-After": "5"})

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        # A bug: the log has its traceback, the stranger does not.
        return answer(500, "the server has made a mistake; its log says which")


def _sentence(fault: Mapping[str, Any]) -> str:
    name = ".".join(str(word) for word in fault["loc"][1:]) or "the request"
    if fault["type"] == "extra_forbidden":
        return f"there is no parameter {_short(name)}"
    return f"{_short(name)} is {_short(repr(fault.get('input')))}: {reason_of(fault)}"


def _short(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
