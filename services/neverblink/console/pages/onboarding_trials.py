"""Pictures that are chosen: examples of presence checks, and those that a new product's model is tried on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from neverblink.console.access.said import SaidError
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.onboarding.activating import stations_of
from neverblink.console.onboarding.chosen import MOST, TRIES, check_room, offers, place_of, remove, shown_as, take
from neverblink.console.onboarding.named import examples_of, keep, kept, pictures_in, presence_of
from neverblink.console.onboarding.products import NewProduct, OnboardingError
from neverblink.console.onboarding.sources import Received
from neverblink.console.onboarding.steps import progress_of, try_wish
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
    shown,
    tried,
)
from neverblink.console.pages.runs import begun
from neverblink.console.pages.showing import in_words, page
from neverblink.console.visitors import CheckedForm, RefusedError, Visitor

router = APIRouter(include_in_schema=False)
RegionName = Annotated[str, Path(max_length=64)]
_LARGEST = 64 * 1024 * 1024


@router.get("/onboarding/{name}/regions/{region}")
async def examples(request: Request, visitor: Engineer, name: ProductId, region: RegionName) -> Response:
    """Show the examples of a presence check, and what there is to choose from."""
    return await _examples(request, visitor, await known(request, visitor, name), region)


@router.post("/onboarding/{name}/chosen")
async def choose(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Take pictures as examples, or to try the model on; or take them away."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)
    into = form.get("into", 100)
    try:
        place = await _place(request, product, into)
        if form.get("do", 8) == "remove":
            taken: dict[str, object] = {"into": into, "removed": len(form.all("file"))}
            await asyncio.to_thread(remove, place, form.all("file"))
        else:
            found = await asyncio.to_thread(progress_of, product, desk.runs)
            if form.get("looked", 64) != product.looked:
                raise OnboardingError("the pictures were looked over anew: choose again")
            picked = set(form.all("pick"))
            wanted = [one for one in offers(product, found.looked) if str(one.number) in picked]
            room = await asyncio.to_thread(receiving_into(request, place).left)
            await asyncio.to_thread(take, product, wanted, place, room)
            taken = {"into": into, "taken": len(wanted)}
        await _changed(request, product, into)
        await noted(request, visitor, product, "onboarding.chosen", taken)
    except (SaidError, RefusedError) as error:
        fault, status = in_words(request, error)
        if into == TRIES:
            return await shown(request, visitor, product, fault, status)
        return await _examples(request, visitor, product, into.partition("/")[0], fault, status)
    back = f"/onboarding/{name}#try" if into == TRIES else f"/onboarding/{name}/regions/{into.partition('/')[0]}"
    return RedirectResponse(back, 303)


@router.get("/onboarding/{name}/chosen")
async def chosen(
    request: Request,
    visitor: Engineer,
    name: ProductId,
    into: Annotated[str, Query(max_length=100)],
    file: Annotated[str, Query(max_length=120)],
) -> Response:
    """Return a picture that was chosen, as it is."""
    product = await known(request, visitor, name)
    try:
        place = await _place(request, product, into)
    except OnboardingError as error:
        raise RefusedError(404, N_("There is no such picture.")) from error
    content = await asyncio.to_thread(_content, place, file)
    if content is None:
        raise RefusedError(404, N_("There is no such picture."))
    kind = shown_as(content)
    headers = {"Cache-Control": "private, max-age=300", "Content-Security-Policy": "sandbox; default-src 'none'"}
    if kind is None:
        headers["Content-Disposition"] = "attachment"
    return Response(content, media_type=kind or "application/octet-stream", headers=headers)


@router.post("/onboarding/{name}/try")
async def try_out(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Let the model judge the chosen pictures, or all examples."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)

    async def work() -> None:
        found = await asyncio.to_thread(progress_of, product, desk.runs)
        if found.model is None:
            raise RefusedError(422, N_("There is no model yet."))
        folder = folder_of(request, product)
        place = folder / ("regions/examples" if form.get("what", 16) == "examples" else TRIES)
        if not await asyncio.to_thread(lambda: any(one.is_file() for one in place.rglob("*"))):
            raise OnboardingError("there is no picture to try: choose some first")
        stations = stations_of(desk.plant, product.line, product.product)
        wish = try_wish(product, found.model, place, next(iter(stations), None), desk.plant_file)
        run = await begun(request, visitor, form, wish)
        await asyncio.to_thread(products_of(request).change, name, lambda _: {"tried": run.id})

    return await tried(request, visitor, product, work, "try")


async def received_into(
    request: Request, product: NewProduct, into: str, file: str, body: AsyncIterator[bytes]
) -> Received:
    """Keep what is sent as examples, or to try the model on. Raises OnboardingError."""
    place = await _place(request, product, into)
    await asyncio.to_thread(check_room, place, 1)
    await asyncio.to_thread(lambda: place.mkdir(parents=True, mode=0o700, exist_ok=True))
    left = MOST - len(await asyncio.to_thread(pictures_in, place))
    received = await receiving_into(request, place, left).receive(file, body)
    await _changed(request, product, into)
    return received


async def _place(request: Request, product: NewProduct, into: str) -> FilePath:
    folder = folder_of(request, product)
    return await asyncio.to_thread(lambda: place_of(folder, kept(folder, product.regions), into))


async def _changed(request: Request, product: NewProduct, into: str) -> None:
    """Write the regions anew when their examples are others: a model that learnt from those is another one."""
    if into == TRIES:
        return
    await refuse_while_running(request, product)
    folder = folder_of(request, product)
    regions = await asyncio.to_thread(kept, folder, product.regions)
    file = await asyncio.to_thread(keep, folder, regions, {}, product.regions)
    await drawn_upon(request, product, lambda _: {"regions": file})


async def _examples(
    request: Request,
    visitor: Visitor,
    product: NewProduct,
    region: str,
    fault: str | None = None,
    status: int = 200,
) -> Response:
    desk: Desk = request.app.state.desk
    folder = folder_of(request, product)
    regions = await asyncio.to_thread(kept, folder, product.regions)
    if region not in {one.name for one in presence_of(regions)}:
        raise RefusedError(404, N_("There is no such presence check among the regions that are kept."))
    found = await asyncio.to_thread(progress_of, product, desk.runs)
    values: dict[str, Any] = {
        "product": product,
        "region": region,
        "fault": fault,
        "states": examples_of(folder, regions)[region],
        "offers": offers(product, found.looked),
        "upload_mib": desk.plant.console.onboarding.upload_mib,
    }
    return page(request, "onboarding/examples.html.jinja", visitor, status=status, **values)


def _content(place: FilePath, file: str) -> bytes | None:
    if file not in pictures_in(place):
        return None
    with (place / file).open("rb") as opened:
        content = opened.read(_LARGEST + 1)
    return content if len(content) <= _LARGEST else None
