"""Changing a station's models: what it would be, what the golden set says of it, and the change itself."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from neverblink.console.access.audit import note
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.models.changing import (
    ChangeError,
    NotMadeError,
    Wanted,
    chosen,
    in_words,
    made,
    proposed,
)
from neverblink.console.models.golden import Golden
from neverblink.console.models.stations import Placed, placed, plants_placed
from neverblink.console.pages.models import Place, golden_at, known_now, place_of
from neverblink.console.pages.runs import begun
from neverblink.console.pages.showing import page, rendering
from neverblink.console.pages.signing import confirmed
from neverblink.console.runs.book import Wish
from neverblink.console.visitors import CheckedForm, Form, Gate, RefusedError, Visitor
from neverblink.events import ModelSlots
from neverblink.model_registry.changes import Stamp
from neverblink.model_registry.known_artifacts import KnownArtifact

router = APIRouter(include_in_schema=False)
Engineer = Annotated[Visitor, Depends(Gate(Role.ENGINEER))]
Name = Annotated[str, Path(max_length=64)]
Word = Annotated[str, Query(max_length=100)]

_MEANWHILE = N_("Somebody has changed the models of this station meanwhile: look again before you confirm.")
_SAY_WHY = N_("Say in a few words what the change is for: it stays on record.")
_NO_FILE = N_("This console was started without a plant file, so it can start no jobs.")


@dataclass(frozen=True, slots=True)
class _Draft:
    """A change that is not made yet: the state after it, what would score then, and what the golden set says of that.

    `refused` is why the retraining of what would score refused it.
    """

    place: Place
    wanted: Wanted
    found: KnownArtifact | None
    after: ModelSlots
    active: Placed
    golden: Golden
    refused: str | None

    @property
    def needs_force(self) -> bool:
        return self.wanted.scores and (self.golden.state == "failed" or self.refused is not None)

    @property
    def may_be_made(self) -> bool:
        """Say whether a person may confirm it: known defects that escape are overridden only where the plant lets."""
        if not self.wanted.scores or self.golden.state in {"none", "passed"}:
            return True
        return self.golden.state == "failed" and not self.golden.demanded


@router.get("/models/at/{line}/{station}/change")
async def change_page(
    request: Request,
    visitor: Engineer,
    line: Name,
    station: Name,
    what: Word = "",
    artifact: Word = "",
    threshold: Word = "",
) -> Response:
    """Show a change before it is made."""
    place = await _place(request, visitor, line, station)
    try:
        async with in_words(rendering(request).gettext):
            draft = await _draft(request, visitor, place, Wanted.of(what, artifact, threshold))
    except NotMadeError as fault:
        return await _shown(request, visitor, place, None, fault)
    return await _shown(request, visitor, place, draft)


@router.post("/models/at/{line}/{station}/judge")
async def judge(request: Request, visitor: Engineer, line: Name, station: Name, form: CheckedForm) -> Response:
    """Let the model that would score judge the golden set, as a job of its own."""
    desk: Desk = request.app.state.desk
    place = await _place(request, visitor, line, station)
    draft = None
    try:
        async with in_words(rendering(request).gettext):
            draft = await _draft(request, visitor, place, _asked(form))
            if desk.plant_file is None:
                raise RefusedError(409, _NO_FILE)
            run = await begun(request, visitor, form, _job(draft, visitor, str(desk.plant_file)))
    except NotMadeError as fault:
        return await _shown(request, visitor, place, draft, fault)
    except RefusedError as error:
        said = NotMadeError(error.status, rendering(request).gettext(str(error)))
        return await _shown(request, visitor, place, draft, said)
    return RedirectResponse(f"/runs/{run.id}", 303)


@router.post("/models/at/{line}/{station}/change")
async def change(request: Request, visitor: Engineer, line: Name, station: Name, form: CheckedForm) -> Response:
    """Make a change, signed and with its reason; the event says who and why, and so does the audit."""
    desk: Desk = request.app.state.desk
    gettext = rendering(request).gettext
    place = await _place(request, visitor, line, station)
    draft = None
    try:
        async with in_words(gettext):
            draft = await _draft(request, visitor, place, _asked(form))
            if form.get("seen", 64) != _seen(place):
                raise RefusedError(409, _MEANWHILE)
            keys = [place.target.key, *_also(place, visitor, form, desk)]
            actor, now = await confirmed(request, visitor, form), desk.clock()
            if not actor.meaning:
                raise RefusedError(422, _SAY_WHY)
            force = bool(form.get("force", 1))
            stamp = Stamp(actor.who, actor.meaning, now)
            changed = await made(desk.plant, keys, draft.wanted, draft.found, stamp, force=force)
    except NotMadeError as fault:
        return await _shown(request, visitor, place, draft, fault)
    except RefusedError as error:
        return await _shown(request, visitor, place, draft, NotMadeError(error.status, gettext(str(error))))
    desk.models.take([(event.key, event) for event in changed.events])
    detail = {
        "artifact": draft.active.digest, "threshold": draft.active.edited, "before": place.models.active.digest,
        "forced": force and draft.needs_force,
    }  # fmt: skip

    def kept(connection: Any) -> None:
        for key in keys:
            note(connection, now, actor, f"models.{draft.wanted.what}", key, detail)

    await desk.access.change(kept)
    return RedirectResponse(f"/models/at/{line}/{station}?done=1", 303)


def _asked(form: Form) -> Wanted:
    return Wanted.of(form.get("what", 20), form.get("artifact", 100), form.get("threshold", 40))


async def _place(request: Request, visitor: Visitor, line: str, station: str) -> Place:
    """Return a station whose models the visitor may change. Raises RefusedError."""
    place = await place_of(request, visitor, line, station)
    if not visitor.holds(Role.ENGINEER, line):
        raise RefusedError(403, N_("Your role does not allow that."))
    return place


async def _draft(request: Request, visitor: Visitor, place: Place, asked: Wanted) -> _Draft:
    """Return what a change would come to. Raises ModelsError, ChangeError."""
    desk: Desk = request.app.state.desk
    wanted, found = chosen(asked, place.stock, place.models.active.own if asked.what == "threshold" else None)
    if found is not None and found.manifest.product != place.target.product:
        name = f"{found.manifest.name} {found.manifest.version}"
        raise ChangeError(
            "%(name)s is a model of %(product)s, and this station inspects %(inspected)s",
            name=name,
            product=found.manifest.product,
            inspected=place.target.product,
        )
    stamp = Stamp(visitor.account.name, None, desk.clock())
    plants = place.stock.plants.get(place.target.product)
    after = proposed(wanted, found, place.target, desk.models.changes(place.target.key), plants, stamp)
    product = place.target.product
    active = plants_placed(place.stock, product) if after.active is None else placed(after.active, place.stock)
    golden = await golden_at(desk, product, active, active.edited) if wanted.scores else Golden("none")
    trial = None if active.artifact is None else active.artifact.manifest.retraining
    untouched = active.digest == place.models.active.digest
    refused = None if trial is None or untouched or wanted.what not in {"activate", "promote"} else trial.refused
    return _Draft(place, wanted, found, after, active, golden, refused)


def _job(draft: _Draft, visitor: Visitor, plant_file: str) -> Wish:
    slot, target = draft.active.slot, draft.place.target
    if slot is None:
        raise ChangeError("the plant file's artifact cannot be read")
    settings = {"artifact": slot.location, "product": target.product, "plant": plant_file}
    settings["by"] = visitor.account.name
    if slot.threshold is not None:
        settings["threshold"] = slot.threshold  # type: ignore[assignment]
    subject = f"{draft.active.name}, {target.product}"
    return Wish("qualify", settings, subject, (target.line,), _address(draft))


def _address(draft: _Draft) -> str:
    target = draft.place.target
    return f"/models/at/{target.line}/{target.station}/change?{draft.wanted.query()}"


def _seen(place: Place) -> str:
    return "" if place.models.change is None else place.models.change.id


def _others(place: Place, visitor: Visitor, desk: Desk) -> list[str]:
    """Return the other stations of the product whose models the visitor may change."""
    return [
        f"{line.name}/{one.name}"
        for line, one in desk.plant.stations()
        if one.product == place.target.product
        and visitor.holds(Role.ENGINEER, line.name)
        and f"{line.name}/{one.name}" != place.target.key
    ]


def _also(place: Place, visitor: Visitor, form: Form, desk: Desk) -> list[str]:
    asked = form.all("also")
    return [key for key in _others(place, visitor, desk) if key in asked]


async def _shown(
    request: Request, visitor: Visitor, place: Place, draft: _Draft | None, fault: NotMadeError | None = None
) -> Response:
    desk: Desk = request.app.state.desk
    values = {
        **known_now(desk, place.stock),
        "models": place.models,
        "draft": draft,
        "shadow": None if draft is None or draft.after.shadow is None else placed(draft.after.shadow, place.stock),
        "seen": _seen(place),
        "others": _others(place, visitor, desk),
        "fault": fault,
        "jobs": desk.plant_file is not None,
    }
    return page(request, "models/change.html.jinja", visitor, status=200 if fault is None else fault.status, **values)
