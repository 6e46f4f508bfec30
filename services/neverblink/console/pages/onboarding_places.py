"""Where a new product's parts lie on its pictures, and how they are turned alike."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from neverblink.console.access.said import SaidError
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.onboarding.canvas import canvas_of, check_choice
from neverblink.console.onboarding.named import Draft, checked, draft_from, keep, kept
from neverblink.console.onboarding.products import OnboardingError
from neverblink.console.onboarding.steps import ALIGNS, look_wish, progress_of
from neverblink.console.pages.onboarding import (
    Engineer,
    ProductId,
    drawn_upon,
    folder_of,
    known,
    noted,
    products_of,
    refuse_while_running,
    shown,
    tried,
)
from neverblink.console.pages.runs import begun
from neverblink.console.pages.showing import in_words
from neverblink.console.visitors import CheckedForm, RefusedError

router = APIRouter(include_in_schema=False)
_NAMED = 20


@router.post("/onboarding/{name}/align")
async def align(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Say how parts are found, and look at it on the pictures where that was not done yet."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)

    async def work() -> None:
        chosen = form.get("align", 32)
        if chosen not in ALIGNS:
            raise RefusedError(422, N_("Choose from the list."))
        check_choice(product, chosen)
        await refuse_while_running(request, product)
        found = await asyncio.to_thread(progress_of, product, desk.runs)
        change: dict[str, Any] = {"align": chosen}
        lie = None if found.looked is None else found.looked.parts
        if product.folder is not None and chosen != "none" and (lie is None or lie.asked != chosen):
            wish = look_wish(product.model_copy(update=change), folder_of(request, product))
            change["looked"] = (await begun(request, visitor, form, wish)).id
        await asyncio.to_thread(products_of(request).change, name, lambda _: change)
        await noted(request, visitor, product, "onboarding.align", {"align": chosen})

    return await tried(request, visitor, product, work, "lie")


@router.post("/onboarding/{name}/regions")
async def regions(request: Request, visitor: Engineer, name: ProductId, form: CheckedForm) -> Response:
    """Keep the named regions, or say beside their fields what is wrong."""
    desk: Desk = request.app.state.desk
    product = await known(request, visitor, name)
    draft: Draft | None = None
    try:
        draft = draft_from(form.get)
        await refuse_while_running(request, product)
        canvas = canvas_of(product, (await asyncio.to_thread(progress_of, product, desk.runs)).looked)
        if canvas is None or form.get("canvas", 64) != f"{canvas.drawn_on} {canvas.width} {canvas.height}":
            raise OnboardingError("the picture is another one than when the page was loaded: load it again")
        found = checked(draft, canvas)
        if draft.wrong:
            return await shown(request, visitor, product, status=422, draft=draft)
        folder = folder_of(request, product)
        before = await asyncio.to_thread(kept, folder, product.regions)
        names = set() if before is None else {one.name for one in before.regions}
        renamed = {row.was: row.name for row in draft.rows if row.was in names}
        file = await asyncio.to_thread(keep, folder, found, renamed, product.regions)
        await drawn_upon(request, product, lambda _: {"regions": file})
        detail: dict[str, object] = {"regions": [row.name for row in draft.rows][:_NAMED]}
        await noted(request, visitor, product, "onboarding.regions", detail)
    except (SaidError, RefusedError) as error:
        fault, status = in_words(request, error)
        return await shown(request, visitor, product, fault, status, draft)
    return RedirectResponse(f"/onboarding/{name}#named", 303)
