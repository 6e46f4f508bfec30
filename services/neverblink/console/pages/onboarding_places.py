"""Where a new product's parts lie on its pictures, and how they are turned alike."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.onboarding.canvas import check_choice
from neverblink.console.onboarding.steps import ALIGNS, look_wish, progress_of
from neverblink.console.pages.onboarding import (
    Engineer,
    ProductId,
    alignment_of,
    known,
    noted,
    products_of,
    refuse_while_running,
    tried,
)
from neverblink.console.pages.runs import begun
from neverblink.console.visitors import CheckedForm, RefusedError

router = APIRouter(include_in_schema=False)


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
        shown = None if found.looked is None else found.looked.parts
        if product.folder is not None and chosen != "none" and (shown is None or shown.asked != chosen):
            wish = look_wish(product.model_copy(update=change), alignment_of(request, product))
            change["looked"] = (await begun(request, visitor, form, wish)).id
        await asyncio.to_thread(products_of(request).change, name, lambda _: change)
        await noted(request, visitor, product, "onboarding.align", {"align": chosen})

    return await tried(request, visitor, product, work, "lie")
