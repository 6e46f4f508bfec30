"""One part: what every station saw and decided, its way to the gate, what the PLC did, what people said."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.line.history import History, history_of
from neverblink.console.line.timeline import timeline_of
from neverblink.console.pages.showing import page
from neverblink.console.visitors import Gate, RefusedError, Visitor
from neverblink.events import Decision
from neverblink.records.evidence_store import EvidenceMissingError
from neverblink.records.questions.part_story import (
    ActuationOf,
    PartStory,
    PictureOf,
    ReviewOf,
    VerdictOf,
    part_of_verdict,
    picture_of,
    story_of,
)
from neverblink.records.questions.parts_before import GoodExample, ScoreOf, good_example, scores_before
from neverblink.records.review_state import ReviewFacts, ReviewState, standing_of

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
PartId = Annotated[int, Path(ge=1, le=(1 << 63) - 1)]
VerdictId = Annotated[str, Path(max_length=64, pattern="^[A-Za-z0-9._-]+$")]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]

_SHOWN = frozenset({"image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif"})
"""Kinds of pictures that browsers show; others, as TIFF, are offered to be saved."""

_NOT_TO_BE_RUN = {"Content-Security-Policy": "sandbox; default-src 'none'"}


@dataclass(frozen=True, slots=True)
class Look:
    """What a station saw: the picture to look at, the anomaly map over it, and what a browser cannot show.

    `good` is a part that passed there before, `history` how others scored; `after_told`: it was decided when the PLC
    had been told already.
    """

    verdict: VerdictOf
    picture: PictureOf | None
    overlay: PictureOf | None
    file: PictureOf | None
    deleted: PictureOf | None
    good: GoodExample | None = None
    history: History | None = None
    after_told: bool = False


@router.get("/parts/{number}")
async def part(request: Request, visitor: Viewer, number: PartId) -> Response:
    """Show a part."""
    desk: Desk = request.app.state.desk
    story = await desk.ask(lambda session: story_of(session, number, visitor.lines))
    if story is None:
        raise RefusedError(404, N_("There is no such part among the lines that you may see."))
    told = told_to(visitor.account.name, story.reviews)
    hidden, story = len(story.reviews) - len(told), replace(story, reviews=told)
    told_last = _told(story.actuations)
    values: dict[str, Any] = {
        "hidden": hidden,
        "story": story,
        "part": story.part,
        "timeline": timeline_of(story),
        "looks": await _compared(desk, story, looks(story)),
        "told_otherwise": told_last if told_last is not None and told_last.decision != story.part.decision else None,
        "trace_url": desk.plant.console.trace_address,
    }
    return page(request, "part.html.jinja", visitor, **values)


@router.get("/verdicts/{verdict}")
async def part_of(request: Request, visitor: Viewer, verdict: VerdictId) -> Response:
    """Lead from a verdict, as tiles and events name it, to its part."""
    desk: Desk = request.app.state.desk
    found = await desk.ask(lambda session: part_of_verdict(session, verdict, visitor.lines))
    if found is None:
        raise RefusedError(404, N_("The ledger has no such part yet: load the page again in a moment."))
    return RedirectResponse(f"/parts/{found}", 303)


@router.get("/pictures/{digest}")
async def picture(request: Request, visitor: Viewer, digest: Digest) -> Response:
    """Return a picture of the evidence store."""
    desk: Desk = request.app.state.desk
    found = await desk.ask(lambda session: picture_of(session, digest, visitor.lines))
    store = desk.store
    if found is None or store is None:
        raise RefusedError(404, N_("There is no such picture among the lines that you may see."))
    try:
        content = await desk.ask(lambda _: store.get(digest))
    except EvidenceMissingError as error:
        raise RefusedError(404, N_("The picture is no longer kept.")) from error
    kind = found.content_type if found.content_type.startswith("image/") else "application/octet-stream"
    headers = {"ETag": f'"{digest}"', "Cache-Control": "private, max-age=86400, immutable", **_NOT_TO_BE_RUN}
    if kind not in _SHOWN:
        headers["Content-Disposition"] = f'attachment; filename="{digest[:16]}"'
    return Response(content, media_type=kind, headers=headers)


def told_to(name: str, reviews: Sequence[ReviewOf]) -> tuple[ReviewOf, ...]:
    """Return the answers that a person may see: while a second look is waited for, the person's own alone."""
    found: list[ReviewOf] = []
    for verdict in dict.fromkeys(one.verdict for one in reviews):
        about = [one for one in reviews if one.verdict == verdict]
        facts = [ReviewFacts(one.id, one.reviewer, one.judgement, one.at, one.withdrawn, one.round) for one in about]
        blind = standing_of(facts).state is ReviewState.NEEDS_SECOND
        found += [one for one in about if not blind or one.reviewer == name]
    return tuple(found)


async def _compared(desk: Desk, story: PartStory, found: Sequence[Look]) -> list[Look]:
    """Return what stations saw beside what they saw of parts before."""

    def asked(session: Session) -> list[tuple[list[ScoreOf], GoodExample | None]]:
        return [
            (scores_before(session, *_place(story, one)), good_example(session, *_place(story, one))) for one in found
        ]

    told = _told(story.actuations)
    compared = []
    for one, (scores, good) in zip(found, await desk.ask(asked), strict=True):
        verdict = one.verdict
        drawn = history_of(scores, verdict.ratio, rejected=verdict.decision == Decision.REJECT)
        late = told is not None and verdict.emitted is not None and verdict.emitted > told.at
        compared.append(replace(one, good=good, history=drawn, after_told=late))
    return compared


def _place(story: PartStory, look: Look) -> tuple[str, str, str, datetime]:
    verdict = look.verdict
    return story.part.line, verdict.station, verdict.product, verdict.captured


def _told(actuations: Sequence[ActuationOf]) -> ActuationOf | None:
    """Return what the PLC was told last."""
    return next((one for one in reversed(actuations) if one.stage == "told" and one.decision is not None), None)


def looks(story: PartStory) -> list[Look]:
    """Return what each station saw: first what decided about the part, then in the order of time."""
    found = []
    for verdict in sorted(story.verdicts, key=lambda one: one.decision != story.part.decision):
        own = [one for one in story.pictures if one.verdict_id == verdict.id]
        there = {one.kind: one for one in own if one.deleted is None}
        frame = there.get("frame")
        shown = next((one for kind in ("frame", "thumbnail") if (one := there.get(kind)) and _is_shown(one)), None)
        overlay = there.get("overlay")
        gone = next((one for one in own if one.deleted is not None), None)
        file = frame if frame is not None and not _is_shown(frame) else None
        found.append(Look(verdict, shown, overlay if overlay and _is_shown(overlay) else None, file, gone))
    return found


def _is_shown(picture: PictureOf) -> bool:
    return picture.content_type in _SHOWN
