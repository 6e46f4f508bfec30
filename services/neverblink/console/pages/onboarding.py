"""A new product: begun, its model made and tried, its threshold chosen, and let score."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.responses import RedirectResponse, Response

from neverblink.console.access.audit import note
from neverblink.console.access.roles import Role
from neverblink.console.access.said import SaidError
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.onboarding.activating import activate, stations_of
from neverblink.console.onboarding.canvas import canvas_of, keep_alignment
from neverblink.console.onboarding.chosen import TRIES, offers
from neverblink.console.onboarding.named import KINDS, Draft, Row, draft_of, examples_of, kept, pictures_in, said
from neverblink.console.onboarding.products import NewProduct, NewProducts, OnboardingError
from neverblink.console.onboarding.sources import Receiving, folders_in
from neverblink.console.onboarding.steps import (
    ALIGNS,
    GALLERY,
    GROUPS,
    PER_PAGE,
    SIZES,
    USUAL_SIZE,
    Progress,
    fit_wish,
    golden_wish,
    progress_of,
    region_text,
    threshold_wish,
)
from neverblink.console.onboarding.told import Model
from neverblink.console.pages.runs import begun
from neverblink.console.pages.showing import in_words, page, rendering
from neverblink.console.pages.signing import confirmed
from neverblink.console.runs.book import Wish
from neverblink.console.visitors import CheckedForm, Form, Gate, RefusedError, Visitor
from neverblink.vision.named_regions.spec import MOST_REGIONS

router = APIRouter(include_in_schema=False)
Engineer = Annotated[Visitor, Depends(Gate(Role.ENGINEER))]
ProductId = Annotated[str, Path(max_length=64)]
Step = Callable[[], Awaitable[object]]


def products_of(request: Request) -> NewProducts:
    """Return the new products of this console."""
    desk: Desk = request.app.state.desk
    return NewProducts(desk.plant.console.work)


def folder_of(request: Request, product: NewProduct) -> FilePath:
    """Return a new product's own folder."""
    return products_of(request).folder(product.id).absolute()


def receiving_into(request: Request, pictures: FilePath, flat: int | None = None) -> Receiving:
    """Return what takes uploads into a folder of a new product, within the bounds of the plant file."""
    desk: Desk = request.app.state.desk
    settings = desk.plant.console.onboarding
    room = int(settings.disk_gib * 1024**3)
    return Receiving(pictures, products_of(request).place, settings.upload_mib * 1024**2, room, flat)


async def drawn_upon(
    request: Request, product: NewProduct, change: Callable[[NewProduct], dict[str, object]]
) -> NewProduct:
    """Set what `change` returns of what is drawn, and keep on which picture it is. Raises OnboardingError."""
    desk: Desk = request.app.state.desk
    place = products_of(request)

    def work() -> NewProduct:
        found = progress_of(product, desk.runs)
        canvas = canvas_of(product, found.looked)
        if canvas is None:
            raise OnboardingError("there is no picture to draw upon: look the pictures over first")
        if canvas.drawn_on == "upright":
            keep_alignment(place.folder(product.id), found.look, GALLERY, found.looked)

        def whole(before: NewProduct) -> dict[str, object]:
            changed = change(before)
            after = before.model_copy(update=changed)
            return {**changed, "drawn_on": canvas.drawn_on if after.draws else None}

        return place.change(product.id, whole)

    return await asyncio.to_thread(work)


async def known(request: Request, visitor: Visitor, name: str) -> NewProduct:
    """Return a new product of a line on which the visitor is an engineer. Raises RefusedError."""
    found = await asyncio.to_thread(products_of(request).find, name)
    if found is None or not visitor.holds(Role.ENGINEER, found.line):
        raise RefusedError(404, N_("There is no such new product among those of your lines."))
    return found


@router.get("/onboarding")
async def onboarding(request: Request, visitor: Engineer) -> Response:
    """Show the new products of the visitor's lines, and begin with another."""
    return await _all(request, visitor)


@router.post("/onboarding")
async def begin(request: Request, visitor: Engineer, form: CheckedForm) -> Response:
    """Begin with a new product."""
    desk: Desk = request.app.state.desk
    try:
        line = form.get("line", 64)
        if line not in desk.lines or not visitor.holds(Role.ENGINEER, line):
            raise RefusedError(422, N_("Choose a line on which you are an engineer."))
        actor, now = await confirmed(request, visitor, form), desk.clock()
        product = form.get("product", 64)
        made = await asyncio.to_thread(products_of(request).make, product, line, actor.who, now)
        detail = {"product": product, "line": line}
        await desk.access.change(lambda c: note(c, now, actor, "onboarding.begin", made.id, detail))
    except (SaidError, RefusedError) as error:
        return await _all(request, visitor, *in_words(request, error))
    return RedirectResponse(f"/onboarding/{made.id}", 303)


@router.get("/onboarding/{name}")
async def one(request: Request, visitor: Engineer, name: ProductId) -> Response:
    """Show how far a new product is."""
    return await shown(request, visitor, await known(request, visitor, name))


@router.post("/onboarding/{name}/fit")
async def fit(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Make a model."""
    product = await known(request, visitor, name)

    async def work() -> None:
        size, promise = form.get("size", 8), form.get("promise", 8).replace(",", ".")
        if size not in {str(one) for one in SIZES}:
            raise RefusedError(422, N_("Choose a size from the list."))
        try:
            share = float(promise) / 100 if promise else None
        except ValueError as error:
            raise OnboardingError("a promise is a share in percent, or empty") from error
        if share is not None and not 0.0001 <= share <= 0.5:
            raise OnboardingError("a promise lies between 0.01 and 50 percent")
        wish = fit_wish(product, folder_of(request, product), _out(request, product), int(size), share)
        await _made(request, visitor, form, product, wish)

    return await tried(request, visitor, product, work, "fit")


@router.post("/onboarding/{name}/threshold")
async def threshold(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Give the model the threshold of another promise."""
    product = await known(request, visitor, name)

    async def work() -> None:
        model = await _model(request, product)
        chosen = form.get("row", 24)
        rows = {} if model is None or model[1] is None or model[1].promises is None else {
            repr(one.promise): one.promise for one in model[1].promises.rows
        }  # fmt: skip
        if model is None or chosen not in rows:
            raise RefusedError(422, N_("Choose a promise from the table."))
        wish = threshold_wish(product, model[0], _out(request, product), rows[chosen])
        await _made(request, visitor, form, product, wish)

    return await tried(request, visitor, product, work, "promise")


@router.post("/onboarding/{name}/golden")
async def golden(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Let the model judge the product's golden set."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)

    async def work() -> None:
        model = await _model(request, product)
        if model is None or desk.plant_file is None:
            raise RefusedError(422, N_("There is no model yet, or the console does not know its plant file."))
        wish = golden_wish(product, model[0], desk.plant_file, visitor.account.name)
        run = await begun(request, visitor, form, wish)
        await asyncio.to_thread(products_of(request).change, name, lambda _: {"golden": run.id})

    return await tried(request, visitor, product, work, "golden")


@router.post("/onboarding/{name}/activate")
async def activation(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Let the model score stations of the product's line."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)
    notes: list[str] = []

    async def work() -> None:
        model = await _model(request, product)
        offered = stations_of(desk.plant, product.line, product.product)
        chosen = [one for one in form.all("station") if one in offered]
        if model is None or not chosen:
            raise RefusedError(422, N_("Choose the stations that the model is to score."))
        actor, now = await confirmed(request, visitor, form), desk.clock()
        detail = {"artifact": model[0].artifact, "digest": model[0].digest, "stations": chosen}
        # On record before it happens: whether Kafka has it is not always known.
        await desk.access.change(lambda c: note(c, now, actor, "onboarding.activate", product.id, detail))
        notes.extend(await activate(desk.plant, chosen, model[0].artifact, actor.who, actor.meaning, now))
        active = {"active": model[0].digest, "active_at": now}
        await asyncio.to_thread(products_of(request).change, name, lambda _: active)

    return await tried(request, visitor, product, work, "activate")


@router.post("/onboarding/{name}/remove")
async def remove(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Delete a new product's pictures and steps; its models stay."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)
    try:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        detail = {"product": product.product, "line": product.line}
        await refuse_while_running(request, product)
        await desk.access.change(lambda c: note(c, now, actor, "onboarding.remove", product.id, detail))
        await asyncio.to_thread(products_of(request).remove, name)
    except (SaidError, RefusedError) as error:
        return await shown(request, visitor, product, *in_words(request, error))
    return RedirectResponse("/onboarding", 303)


async def refuse_while_running(request: Request, product: NewProduct) -> None:
    """Raise OnboardingError while a job of the product runs."""
    desk: Desk = request.app.state.desk
    found = await asyncio.to_thread(progress_of, product, desk.runs)
    if found.running is not None:
        raise OnboardingError("a job of this product still runs: wait for it, or stop it")


async def noted(
    request: Request, visitor: Visitor, product: NewProduct, action: str, detail: dict[str, object]
) -> None:
    """Keep in the audit what a draft became: what holds of it is signed with the fit."""
    desk: Desk = request.app.state.desk
    now, actor = desk.clock(), visitor.actor()
    await desk.access.change(lambda connection: note(connection, now, actor, action, product.id, detail))


async def tried(request: Request, visitor: Visitor, product: NewProduct, work: Step, place: str) -> Response:
    """Take a step and go back to the page at its `place`, or say why the step was refused."""
    try:
        await work()
    except (SaidError, RefusedError) as error:
        return await shown(request, visitor, product, *in_words(request, error))
    return RedirectResponse(f"/onboarding/{product.id}#{place}", 303)


async def shown(
    request: Request,
    visitor: Visitor,
    product: NewProduct,
    fault: str | None = None,
    status: int = 200,
    draft: Draft | None = None,
) -> Response:
    """Return the page of a new product; `draft` are its named regions as somebody has just sent them."""
    desk: Desk = request.app.state.desk
    found = await asyncio.to_thread(progress_of, product, desk.runs)
    everything = request.query_params.get("all") == "1"
    first = _number(request.query_params.get("from"))
    cards = found.cards[first : first + PER_PAGE] if everything else found.odd[:PER_PAGE]
    plant, settings = desk.plant, desk.plant.console
    known_artifacts = (await desk.stock.now()).listed.found if found.model is not None else ()
    values: dict[str, Any] = {
        "product": product,
        "found": found,
        "fault": fault,
        "canvas": canvas_of(product, found.looked),
        "cards": cards,
        "everything": everything,
        "first": first,
        "per_page": PER_PAGE,
        "calibrations": {one.digest: one.manifest.calibration for one in known_artifacts},
        "run": found.running,
        "folders": await asyncio.to_thread(folders_in, settings.onboarding.folders),
        "groups": GROUPS,
        "offers": offers(product, found.looked) if found.model is not None else [],
        "aligns": ALIGNS,
        "sizes": SIZES,
        "usual_size": USUAL_SIZE,
        "region": region_text(product.region),
        "upload_mib": settings.onboarding.upload_mib,
        "stations": stations_of(plant, product.line, product.product),
        "all_stations": [f"{line.name}/{one.name}" for line, one in plant.stations() if line.name == product.line],
        "golden_set": product.product in plant.proof.golden.sets,
        "plant_file": desk.plant_file is not None,
        **await asyncio.to_thread(_drawn, folder_of(request, product), product, draft, rendering(request).gettext),
    }
    return page(request, "onboarding/product.html.jinja", visitor, status=status, **values)


def _drawn(folder: FilePath, product: NewProduct, draft: Draft | None, words: Callable[[str], str]) -> dict[str, Any]:
    """Return what the page shows of named regions; it reads files."""
    regions = kept(folder, product.regions)
    return {
        "draft": said(draft or draft_of(regions), words),
        "blank": Row(),
        "kinds": KINDS,
        "most_regions": MOST_REGIONS,
        "shares": {} if regions is None else regions.shares(),
        "examples": examples_of(folder, regions),
        "tries": pictures_in(folder / TRIES),
    }


async def _all(request: Request, visitor: Visitor, fault: str | None = None, status: int = 200) -> Response:
    desk: Desk = request.app.state.desk
    found = await asyncio.to_thread(products_of(request).newest)
    seen = [product for product in found if visitor.holds(Role.ENGINEER, product.line)]
    lines = [line for line in desk.lines if visitor.holds(Role.ENGINEER, line)]
    known_products = sorted({one.name for one in desk.plant.products})
    values = {"products": seen, "lines": lines, "known": known_products, "fault": fault}
    return page(request, "onboarding/products.html.jinja", visitor, status=status, **values)


async def _made(request: Request, visitor: Visitor, form: Form, product: NewProduct, wish: Wish) -> None:
    """Start a job that makes a model, and remember it."""
    run = await begun(request, visitor, form, wish)
    work = products_of(request).change
    await asyncio.to_thread(work, product.id, lambda before: {"models": (*before.models, run.id)})


async def _model(request: Request, product: NewProduct) -> tuple[Model, Model | None] | None:
    """Return the model that was made last, and what its fit came to; None where there is none."""
    desk: Desk = request.app.state.desk
    found: Progress = await asyncio.to_thread(progress_of, product, desk.runs)
    return None if found.model is None else (found.model, found.fitted)


def _out(request: Request, product: NewProduct) -> FilePath:
    """Return where the next model goes: where scorers look, or from where it is copied to their store."""
    desk: Desk = request.app.state.desk
    number = len(product.models) + 1
    if desk.plant.storage.artifact_store is None:
        return desk.plant.storage.artifacts.absolute() / f"{product.product}-{product.id[:15]}-{number}"
    return products_of(request).folder(product.id).absolute() / "models" / str(number)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else 0
