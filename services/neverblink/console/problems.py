"""What went wrong with a request, as a page in the language of whoever asked, or as JSON for a program."""

from urllib.parse import quote

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from neverblink import telemetry
from neverblink.console.access.database import AccessError
from neverblink.console.language import N_
from neverblink.console.pages.showing import page, rendering
from neverblink.console.visitors import ElsewhereError, RefusedError
from neverblink.errors import NeverblinkError
from neverblink.http_serving.asking import BusyError
from neverblink.records.database import LedgerError
from neverblink.records.evidence_store import EvidenceStoreError
from neverblink.records.reading import QuestionTooLongError

_NOTHING = N_("There is nothing at this address.")
_NOT_VALID = N_("The address asks for something that cannot be.")
_BUSY = N_("Too many questions are in hand: try again in a moment.")
_LONG = N_("The question took too long: try again, or ask for less.")
_ACCESS = N_("The console's own database cannot be used now; its log says why.")
_RECORDS = N_("The records cannot be read now. The line goes on; the console's log says why.")
_BROKEN = N_("The console has made a mistake; its log says which.")


def tell_problems(app: FastAPI) -> None:
    """Let every error of the application be answered so that a person can go on."""
    log = telemetry.logger("console")

    @app.exception_handler(ElsewhereError)
    async def elsewhere(request: Request, error: ElsewhereError) -> Response:
        if is_program(request) or "text/event-stream" in request.headers.get("accept", ""):
            return answered(request, 401, N_("Sign in first."))
        if request.method == "GET" and request.headers.get("hx-request") == "true":
            # A piece of a page that follows something: the whole page is loaded anew, and leads to where it must.
            return Response(status_code=204, headers={"HX-Refresh": "true"})
        wish = request.url.path if request.method == "GET" else "/"
        if request.method == "GET" and request.url.query:
            wish += f"?{request.url.query}"
        place = error.place if wish == "/" else f"{error.place}?next={quote(wish)}"
        return RedirectResponse(place, 303)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        answer = answered(request, error.status, str(error))
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, _: RequestValidationError) -> Response:
        return answered(request, 422, _NOT_VALID)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return answered(request, error.status_code, _NOTHING if error.status_code == 404 else _NOT_VALID)

    @app.exception_handler(BusyError)
    async def busy(request: Request, _: BusyError) -> Response:
        return answered(request, 503, _BUSY)

    @app.exception_handler(QuestionTooLongError)
    async def too_long(request: Request, _: QuestionTooLongError) -> Response:
        return answered(request, 503, _LONG)

    @app.exception_handler(AccessError)
    async def no_access(request: Request, error: AccessError) -> Response:
        log.error(str(error))
        return answered(request, 503, _ACCESS)

    @app.exception_handler(LedgerError)
    @app.exception_handler(EvidenceStoreError)
    async def no_records(request: Request, error: NeverblinkError) -> Response:
        log.error(str(error))
        return answered(request, 503, _RECORDS)

    @app.exception_handler(Exception)
    async def broken(request: Request, _: Exception) -> Response:
        # A bug: the log has its traceback, the stranger does not.
        return answered(request, 500, _BROKEN)


def is_program(request: Request) -> bool:
    """Say whether a program asks, not a person."""
    return request.url.path.startswith("/api/")


def answered(request: Request, status: int, sentence: str) -> Response:
    """Return a refusal: JSON for a program, else a page."""
    said = rendering(request).gettext(sentence)
    if is_program(request):
        body = orjson.dumps({"status": status, "detail": sentence})
        return Response(body, status, media_type="application/problem+json")
    return page(request, "problem.html.jinja", None, status=status, number=status, sentence=said)
