"""The REST API: every question of the records, for the bearer of a token, within the lines that it grants."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any, Literal
from urllib.parse import quote

import orjson
from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from neverblink import __version__
from neverblink.http_serving.asking import Asking
from neverblink.ledger.api.asked import Asked, HistoryAsked, ParetoAsked, PartsAsked, ProofAsked, YieldAsked
from neverblink.ledger.api.problems import MEDIA_TYPE, ApiError, Problem, tell_problems
from neverblink.ledger.api.tokens import Doorkeeper, Grant
from neverblink.records.evidence_store import EvidenceMissingError, EvidenceStore
from neverblink.records.questions.figures import Figures, figures
from neverblink.records.questions.pareto import Pareto, pareto
from neverblink.records.questions.part_story import PartStory, picture_of, story_of
from neverblink.records.questions.parts import PartsPage, parts
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.yields import YieldOf, yields

_ABOUT = """\
What was decided about each part, what the PLC's gate did and what people found. Only GET; every answer is JSON, every
error `application/problem+json`. Instants are RFC 3339 with a zone. A token names the lines it may see.

- `/api/v1/changes` is for whoever follows along: every change of a part in the order in which it was kept, each exactly
  once. Keep `next` and ask again with it; put rows by `id`, the greater `revision` is the newer.
- `/api/v1/parts` is history by trigger time: each part once, whatever arrives meanwhile.
"""


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: _problem(text)
    for status, text in (
        (400, "The cursor belongs to another question."),
        (401, "No token, or one that is not known or no longer valid."),
        (403, "The token does not grant that line."),
        (422, "A parameter is not valid."),
        (503, "Too many questions, one that takes too long, or the database is away: ask again."),
    )
}
_BEARER = HTTPBearer(auto_error=False, description="A token of `neverblink ledger token`.")
_LARGEST = (1 << 63) - 1


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]
    version: str


class Version(BaseModel):
    """Which program answers."""

    version: str
    api: Literal["v1"]


@dataclass(frozen=True, slots=True)
class YieldAnswer:
    """The yield of each group. `complete` is false where there are more groups than were asked for."""

    since: datetime | None
    until: datetime | None
    groups: tuple[YieldOf, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """What the API is made of. `zone` is that of the plant's days; `store` is None where no pictures are kept.

    `trace_address` says where a trace is seen, by its id, where anybody has said.
    """

    ask: Asking
    doorkeeper: Doorkeeper
    max_page: int
    zone: tzinfo
    clock: Callable[[], datetime]
    store: EvidenceStore | None = None
    trace_address: Callable[[str], str | None] = lambda _: None


def api_of(desk: Desk | None) -> FastAPI:
    """Return the application; without a desk it can only describe itself."""
    app = FastAPI(
        title="neverblink records",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        responses=_PROBLEMS,
        # What is measured is in schemas/telemetry.yaml; its spans would carry serial numbers, which stand in the query.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.desk = desk
    tell_problems(app)
    _add_life(app)
    _add_parts(app)
    _add_pictures(app)
    _add_counts(app)
    return app


def _granted(request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Grant:
    desk: Desk = request.app.state.desk
    grant = desk.doorkeeper.grant_of(request.headers.get("authorization"), desk.clock())
    if grant is None:
        raise ApiError(
            401,
            "give a valid token as `Authorization: Bearer nbl_…`; `neverblink ledger token` makes one",
            {"WWW-Authenticate": 'Bearer realm="neverblink records"'},
        )
    return grant


Granted = Annotated[Grant, Depends(_granted)]
PictureDigest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 in hexadecimal.")]
_NOT_TO_BE_RUN = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
_IN_ADDRESSES = ":/?#[]@!$&'()*+,;=%"
PartId = Annotated[int, Path(ge=1, le=_LARGEST, description="`id` of a part.")]


def _desk(request: Request, grant: Grant, asked: Asked) -> tuple[Desk, int]:
    """Return the desk and how many rows it gives. Raises ApiError for a line that is not granted."""
    desk: Desk = request.app.state.desk
    refused = [] if grant.lines is None else sorted(set(asked.line) - set(grant.lines))
    if refused:
        raise ApiError(403, f"the token {grant.name} does not grant the line {refused[0]}")
    return desk, min(asked.limit, desk.max_page)


def _json(answer: object) -> Response:
    body = orjson.dumps(answer, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


def _add_life(app: FastAPI) -> None:
    @app.get("/livez", response_model=Alive, tags=["life"])
    async def livez() -> Response:
        """Say that the process answers; it needs no token and asks no database."""
        return _json({"status": "alive", "version": __version__})

    @app.get("/version", response_model=Version, tags=["life"])
    async def version() -> Response:
        """Say which program answers; it needs no token."""
        return _json({"version": __version__, "api": "v1"})


def _add_parts(app: FastAPI) -> None:
    @app.get("/api/v1/parts", response_model=PartsPage, tags=["parts"])
    async def parts_by_time(request: Request, grant: Granted, asked: Annotated[HistoryAsked, Query()]) -> Response:
        """Return parts by trigger time; `next` is null at the end."""
        desk, limit = _desk(request, grant, asked)
        wanted = asked.wanted().within(grant.lines)
        return _json(await desk.ask(lambda s: parts(s, wanted, order=asked.sort, limit=limit, cursor=asked.cursor)))

    @app.get("/api/v1/changes", response_model=PartsPage, tags=["parts"])
    async def changes(request: Request, grant: Granted, asked: Annotated[PartsAsked, Query()]) -> Response:
        """Return parts in the order in which they last changed, each change once; `next` is always there."""
        desk, limit = _desk(request, grant, asked)
        wanted = asked.wanted().within(grant.lines)
        return _json(await desk.ask(lambda s: parts(s, wanted, order="changes", limit=limit, cursor=asked.cursor)))

    @app.get(
        "/api/v1/parts/{number}",
        response_model=PartStory,
        tags=["parts"],
        responses={404: _problem("There is no such part, or the token does not grant its line.")},
    )
    async def part(request: Request, grant: Granted, number: PartId) -> Response:
        """Return everything about one part: verdicts with defects, what the PLC and its gate did, reviews, pictures."""
        desk: Desk = request.app.state.desk
        story = await desk.ask(lambda s: story_of(s, number, grant.lines))
        if story is None:
            raise ApiError(404, f"there is no part {number} among the lines that the token grants")
        answer, trace = _json(story), story.part.trace_id
        if trace is not None and (address := desk.trace_address(trace)) is not None:
            answer.headers["Link"] = f'<{quote(address, safe=_IN_ADDRESSES)}>; rel="related"; title="trace"'
        return answer


def _add_pictures(app: FastAPI) -> None:
    @app.get(
        "/api/v1/pictures/{digest}",
        response_class=Response,
        tags=["parts"],
        responses={
            200: {"description": "The picture, as it was kept.", "content": {"image/*": {}}},
            404: _problem("There is no such picture any more, or the token does not grant its line."),
        },
    )
    async def picture(request: Request, grant: Granted, digest: PictureDigest) -> Response:
        """Return a picture of the evidence store by the digest that a part's `pictures` name."""
        desk: Desk = request.app.state.desk
        found = await desk.ask(lambda s: picture_of(s, digest, grant.lines))
        if found is None or desk.store is None:
            raise ApiError(404, f"there is no picture {digest} among the lines that the token grants")
        store = desk.store
        try:
            content = await desk.ask(lambda _: store.get(digest))
        except EvidenceMissingError as error:
            raise ApiError(404, f"the picture {digest} is no longer kept") from error
        headers = {"ETag": f'"{digest}"', "Cache-Control": "private, max-age=86400, immutable", **_NOT_TO_BE_RUN}
        return Response(content, media_type=found.content_type, headers=headers)


def _add_counts(app: FastAPI) -> None:
    @app.get("/api/v1/yield", response_model=YieldAnswer, tags=["counts"])
    async def yield_by(request: Request, grant: Granted, asked: Annotated[YieldAsked, Query()]) -> Response:
        """Return how many parts were good, by group. Counts are kept by the hour."""
        desk, limit = _desk(request, grant, asked)
        wanted = asked.counted().within(grant.lines)
        found = await desk.ask(lambda s: yields(s, asked.by, wanted, zone=desk.zone, limit=limit + 1))
        span = wanted.in_hours()
        return _json(YieldAnswer(span.since, span.until, found[:limit], len(found) <= limit))

    @app.get("/api/v1/pareto", response_model=Pareto, tags=["counts"])
    async def pareto_of(request: Request, grant: Granted, asked: Annotated[ParetoAsked, Query()]) -> Response:
        """Return what was found most often. Counts are kept by the hour."""
        desk, limit = _desk(request, grant, asked)
        wanted = asked.counted().within(grant.lines)
        return _json(await desk.ask(lambda s: pareto(s, asked.of, wanted, decision=asked.decision, limit=limit)))

    @app.get("/api/v1/proof", response_model=Proof, tags=["counts"])
    async def proof(request: Request, grant: Granted, asked: Annotated[ProofAsked, Query()]) -> Response:
        """Return recall, precision, false rejects and escapes with 95 % intervals, from the parts drawn for people.

        A figure that is not known exactly enough is null, with the number of parts that it still takes. Of whole parts.
        """
        desk, _ = _desk(request, grant, asked)
        wanted = asked.counted().within(grant.lines)
        return _json(await desk.ask(lambda s: proof_of(s, wanted, asked.exactness())))

    @app.get("/api/v1/figures", response_model=Figures, tags=["counts"])
    async def figures_of(request: Request, grant: Granted, asked: Annotated[Asked, Query()]) -> Response:
        """Return how the inspection did, each share with the sample it is of. Counts are kept by the hour."""
        desk, _ = _desk(request, grant, asked)
        wanted = asked.counted().within(grant.lines)
        return _json(await desk.ask(lambda s: figures(s, wanted)))


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)
