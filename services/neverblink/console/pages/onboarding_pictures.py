"""The pictures of a new product: where they come from, which are left out, and where on them is looked."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import FileResponse, JSONResponse, Response

from neverblink.console.access.roles import Role
from neverblink.console.access.said import SaidError
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.onboarding.products import NewProduct, OnboardingError
from neverblink.console.onboarding.sources import folder_below
from neverblink.console.onboarding.steps import (
    GALLERY,
    GROUPS,
    frames_wanted,
    left_out,
    look_wish,
    progress_of,
    region_of,
)
from neverblink.console.pages.onboarding import (
    Engineer,
    ProductId,
    drawn_upon,
    folder_of,
    known,
    noted,
    products_of,
    receiving_into,
    refuse_while_running,
    tried,
)
from neverblink.console.pages.onboarding_trials import received_into
from neverblink.console.pages.runs import begun, run_of
from neverblink.console.pages.showing import in_words
from neverblink.console.visitors import CheckedForm, Form, FormGate, Gate, RefusedError, Visitor, marked

router = APIRouter(include_in_schema=False)
Sending = Annotated[Visitor, Depends(Gate(Role.ENGINEER))]
_PICTURE = re.compile(r"[a-z0-9-]{1,60}\.jpg")
_FORGOTTEN: dict[str, object] = {"left_out": (), "region": None, "regions": None, "drawn_on": None}
"""What was decided on other pictures."""

_MOST_HOURS = 24 * 31
_MOST_FRAMES = 5000


@dataclass(frozen=True, slots=True)
class Upload:
    """A body that is to come, from a page of ours."""

    body: AsyncIterator[bytes]


class UploadGate(FormGate):
    """Takes a body of bytes from a page of ours, marked by a header; it is read when the page has been allowed to."""

    async def __call__(self, request: Request) -> Upload:  # type: ignore[override]  # no fields: a body
        """Return what is to come. Raises RefusedError."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/octet-stream":
            raise RefusedError(415, N_("A picture or a ZIP archive is expected."))
        await marked(request, request.headers.get("x-form-mark", ""))
        return Upload(request.stream())


@router.post("/onboarding/{name}/source")
async def source(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Say where the pictures come from, and look them over."""
    product = await known(request, visitor, name)

    async def work() -> None:
        await refuse_while_running(request, product)
        group = form.get("group_by", 16)
        if group not in GROUPS:
            raise RefusedError(422, N_("Choose from the list."))
        kind = form.get("kind", 8)
        if kind == "folder":
            values = _folder(request, form)
            wanted = {}
        elif kind in {"upload", "line"}:
            values = {"source": kind, "folder": str(products_of(request).pictures(name).absolute())}
            wanted = _frames(request, product, form) if kind == "line" else {}
        else:
            raise RefusedError(422, N_("Choose from the list."))
        other = values["folder"] != product.folder
        again: dict[str, object] = _FORGOTTEN if other and product.folder is not None else {}
        chosen = product.model_copy(update={**values, "group_by": group or None, **again})
        run = await begun(request, visitor, form, look_wish(chosen, folder_of(request, product), **wanted))
        change: dict[str, object] = {**values, "group_by": group or None, "looked": run.id, **again}
        await asyncio.to_thread(products_of(request).change, name, lambda _: change)

    return await tried(request, visitor, product, work, "odd")


@router.post("/onboarding/{name}/pictures")
async def pictures(
    request: Request,
    visitor: Sending,
    name: ProductId,
    upload: Annotated[Upload, Depends(UploadGate())],
    file: Annotated[str, Query(max_length=400)] = "",
    into: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Keep a picture or an archive of them: good ones, or what is chosen `into` a place of its own."""
    product = await known(request, visitor, name)
    place = products_of(request)
    try:
        await refuse_while_running(request, product)
        if into:
            received = await received_into(request, product, into, file, upload.body)
            return JSONResponse({"kept": received.kept, "passed_over": received.passed_over})
        received = await receiving_into(request, place.pictures(name)).receive(file, upload.body)
        folder = str(place.pictures(name).absolute())
        await asyncio.to_thread(place.change, name, lambda _: {"source": "upload", "folder": folder})
    except (SaidError, RefusedError) as error:
        said, status = in_words(request, error)
        return JSONResponse({"fault": said}, status)
    return JSONResponse({"kept": received.kept, "passed_over": received.passed_over})


@router.post("/onboarding/{name}/left-out")
async def leave_out(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Say which of the pictures that were shown are left out."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)

    async def work() -> None:
        found = await asyncio.to_thread(progress_of, product, desk.runs)
        if form.get("of", 8) == "fit":
            paths = [] if found.fitted is None else _below(product, [one.path for one in found.fitted.suspicious])
        else:
            paths = [card.seen.path for card in found.cards]
        shown, chosen = _numbered(paths, form.get("shown", 4000).split()), _numbered(paths, form.all("out"))
        if found.looked is None or form.get("looked", 64) != product.looked:
            raise OnboardingError("the pictures were looked over anew: choose again")

        def change(before: NewProduct) -> dict[str, object]:
            return {"left_out": left_out(before.left_out, shown, chosen)}

        after = await asyncio.to_thread(products_of(request).change, name, change)
        await noted(request, visitor, product, "onboarding.left-out", {"pictures": len(after.left_out)})

    return await tried(request, visitor, product, work, "region")


@router.post("/onboarding/{name}/region")
async def region(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Say where on the pictures is looked."""
    product = await known(request, visitor, name)

    async def work() -> None:
        drawn = region_of(form.get("region", 8000))
        await drawn_upon(request, product, lambda _: {"region": drawn})
        shapes = 0 if drawn is None else len(drawn.inside) + len(drawn.outside)
        await noted(request, visitor, product, "onboarding.region", {"shapes": shapes})

    return await tried(request, visitor, product, work, "fit")


@router.get("/onboarding/{name}/picture")
async def picture(
    request: Request,
    visitor: Engineer,
    name: ProductId,
    run: Annotated[str, Query(max_length=64)],
    file: Annotated[str, Query(max_length=80)],
) -> Response:
    """Return a small picture that a job has made of one of the product's."""
    product = await known(request, visitor, name)
    if run not in {product.looked, product.tried, *product.models} or not _PICTURE.fullmatch(file):
        raise RefusedError(404, N_("There is no such picture."))
    path = (await run_of(request, visitor, run)).folder / GALLERY / file
    if not await asyncio.to_thread(path.is_file):
        raise RefusedError(404, N_("There is no such picture."))
    # Its name is its run's: it never changes.
    return FileResponse(path, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


def _folder(request: Request, form: Form) -> dict[str, str]:
    desk: Desk = request.app.state.desk
    found = folder_below(desk.plant.console.onboarding.folders, form.get("folder", 500))
    return {"source": "folder", "folder": str(found)}


def _frames(request: Request, product: NewProduct, form: Form) -> dict[str, object]:
    """Return which frames of the line are wanted. Raises OnboardingError, RefusedError."""
    desk: Desk = request.app.state.desk
    station, hours, count = form.get("station", 140), form.get("hours", 6).replace(",", "."), form.get("count", 6)
    offered = [f"{line.name}/{one.name}" for line, one in desk.plant.stations() if line.name == product.line]
    if station not in offered or desk.plant_file is None:
        raise RefusedError(422, N_("Choose a station of the line."))
    span = 0.0
    with suppress(ValueError):
        span = float(hours)
    if not 0 < span <= _MOST_HOURS or not count.isdigit() or not 2 <= int(count) <= _MOST_FRAMES:
        raise OnboardingError(
            "hours and number of pictures are numbers, of at most %(most)s pictures", most=_MOST_FRAMES
        )
    wanted = frames_wanted(station, desk.clock() - timedelta(hours=span), int(count), desk.plant_file)
    return {**wanted, "product": product.product}


def _below(product: NewProduct, paths: list[str]) -> list[str]:
    root = FilePath(product.folder or "/")
    return [FilePath(path).relative_to(root).as_posix() for path in paths if FilePath(path).is_relative_to(root)]


def _numbered(paths: list[str], numbers: object) -> list[str]:
    """Return the paths that a form names by their numbers; what is none is passed over."""
    found = [int(one) for one in numbers if str(one).isascii() and str(one).isdigit() and len(one) < 7]  # type: ignore[attr-defined]
    return [paths[number] for number in dict.fromkeys(found) if number < len(paths)]
