"""Models: which artifact scores what, where it comes from, and what another threshold would make of real parts."""

import asyncio
import math
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.models.golden import Golden, golden_of
from neverblink.console.models.histories import LENGTHS, USUAL
from neverblink.console.models.history import history
from neverblink.console.models.plots import held_out_plot, parts_plot
from neverblink.console.models.stations import (
    Placed,
    StationModels,
    in_use,
    seen_artifacts,
    station_models,
    target_of,
)
from neverblink.console.models.stock import Stock, StoreAwayError
from neverblink.console.models.threshold import preview_of
from neverblink.console.pages.showing import page
from neverblink.console.visitors import Gate, RefusedError, Visitor
from neverblink.decisions.rules import rules_for
from neverblink.model_registry.changes import Target
from neverblink.model_registry.qualifications import QualificationError
from neverblink.records.database import LedgerError
from neverblink.records.questions.models.changes import KeptChange, model_history
from neverblink.records.questions.models.score_history import ScoreHistory, parts_to_look_at
from neverblink.records.questions.models.shadow_comparison import shadow_comparison
from neverblink.vision.calibration import promised_at

router = APIRouter(include_in_schema=False)
Viewer = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
Name = Annotated[str, Path(max_length=64)]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Threshold = Annotated[float | None, Query(gt=0, le=1e9, allow_inf_nan=False)]

_REPORT = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A report is a page of its own: its styles and pictures are in it, and nothing of it runs."""


@dataclass(frozen=True, slots=True)
class Place:
    """A station that the visitor may see."""

    target: Target
    stock: Stock
    models: StationModels


@router.get("/models")
async def models(request: Request, visitor: Viewer) -> Response:
    """Show what scores where, and which artifacts there are."""
    desk: Desk = request.app.state.desk
    stock = await desk.stock.now()
    stations = _stations(desk, visitor, stock)
    golden = {one.key: await golden_at(desk, one.target.product, one.active, one.active.edited) for one in stations}
    products = list(dict.fromkeys(one.target.product for one in stations))
    artifacts = seen_artifacts(desk.plant, stock, products, all_lines=visitor.lines is None)
    names = list(dict.fromkeys([*products, *(one.manifest.product for one in artifacts)]))
    values = {
        **known_now(desk, stock),
        "products": [
            (
                name,
                [one for one in stations if one.target.product == name],
                [one for one in artifacts if one.manifest.product == name],
            )
            for name in names
        ],
        "golden": golden,
        "uses": in_use(stations),
        "faults": stock.listed.faults,
    }
    return page(request, "models/overview.html.jinja", visitor, **values)


@router.get("/models/artifacts/{digest}")
async def artifact(request: Request, visitor: Viewer, digest: Digest) -> Response:
    """Show where an artifact comes from, its calibration, and where it scores."""
    desk: Desk = request.app.state.desk
    stock = await desk.stock.now()
    stations = _stations(desk, visitor, stock)
    products = [one.target.product for one in stations]
    seen = seen_artifacts(desk.plant, stock, products, all_lines=visitor.lines is None)
    found = next((one for one in seen if one.digest == f"sha256:{digest}"), None)
    if found is None:
        raise RefusedError(404, N_("There is no such artifact among those that you may see."))
    scores = await desk.stock.held_out(found)
    calibration = found.manifest.calibration
    values = {
        **known_now(desk, stock),
        "one": found,
        "manifest": found.manifest,
        "plot": None if scores is None else held_out_plot(scores, calibration.threshold),
        "scores": () if scores is None else scores,
        "uses": in_use(stations).get(found.digest),
        "golden": await golden_at(desk, found.manifest.product, Placed(None, found), None),
        "champion": stock.listed.of(found.manifest.retraining.champion) if found.manifest.retraining else None,
        "stations": [one for one in stations if one.target.product == found.manifest.product],
    }
    return page(request, "models/artifact.html.jinja", visitor, **values)


@router.get("/models/reports/{artifact}/{report}")
async def report(request: Request, visitor: Viewer, artifact: Digest, report: Digest) -> Response:
    """Return the page of what came of a golden set."""
    desk: Desk = request.app.state.desk
    stock = await desk.stock.now()
    products = {one.target.product for one in _stations(desk, visitor, stock)}
    missing = RefusedError(404, N_("There is no such report among those that you may see."))
    try:
        kept = (await desk.stock.ask(lambda: desk.stock.reports.about(f"sha256:{artifact}"))).of(f"sha256:{report}")
        if kept is None or (kept.report.product not in products and visitor.lines is not None):
            raise missing
        found = await desk.stock.ask(lambda: desk.stock.reports.page(f"sha256:{artifact}", f"sha256:{report}"))
    except (StoreAwayError, QualificationError) as error:
        raise RefusedError(503, N_("The store of artifacts does not answer: try again in a moment.")) from error
    if found is None:
        raise missing
    headers = {"Content-Security-Policy": _REPORT, "Cache-Control": "no-store"}
    return Response(found, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/models/at/{line}/{station}")
async def station(request: Request, visitor: Viewer, line: Name, station: Name) -> Response:
    """Show a station's models: champion, challenger, and every change."""
    desk: Desk = request.app.state.desk
    place = await place_of(request, visitor, line, station)
    models = place.models
    changes, comparison, differ, away = await _kept(desk, models)
    values = {
        **known_now(desk, place.stock),
        "models": models,
        "golden": await golden_at(desk, place.target.product, models.active, models.active.edited),
        "shadow_golden": None
        if (shadow := models.shadow) is None
        else await golden_at(desk, place.target.product, shadow, shadow.edited),
        "history": history(changes, desk.models.changes(models.key)),
        "comparison": comparison,
        "differ": differ,
        "away": away,
        "may_change": visitor.holds(Role.ENGINEER, line),
        "artifacts": [one for one in place.stock.listed.found if one.manifest.product == place.target.product],
        "done": bool(request.query_params.get("done")),
    }
    return page(request, "models/station.html.jinja", visitor, **values)


@router.get("/models/at/{line}/{station}/threshold")
async def threshold(
    request: Request,
    visitor: Viewer,
    line: Name,
    station: Name,
    threshold: Threshold = None,
    last: Annotated[int, Query(ge=1, le=LENGTHS[-1])] = USUAL,
) -> Response:
    """Show what a threshold would make of the station's last parts."""
    desk: Desk = request.app.state.desk
    place = await place_of(request, visitor, line, station)
    models, active = place.models, place.models.active
    in_force = active.threshold
    if active.slot is None or in_force is None:
        values = {**known_now(desk, place.stock), "models": models, "preview": None}
        return page(request, "models/threshold.html.jinja", visitor, **values)
    chosen = in_force if threshold is None else _rounded(threshold, in_force, active.own)
    found, plot, preview = await _weighed(desk, models, chosen, last)
    wanted = [*preview.to_reject.newest, *preview.to_pass.newest]
    shown = {one.verdict: one for one in await desk.ask(lambda session: parts_to_look_at(session, wanted))}
    rules = rules_for(desk.plant.product(place.target.product))
    manifest = None if active.artifact is None else active.artifact.manifest
    values = {
        **known_now(desk, place.stock),
        "models": models,
        "may_change": visitor.holds(Role.ENGINEER, line),
        "preview": preview,
        "before": None if chosen == in_force else (await _weighed(desk, models, in_force, last))[2],
        "found": found,
        "plot": plot,
        "shown": shown,
        "in_force": in_force,
        "last": last,
        "lengths": LENGTHS,
        "reject_on": rules.policy.reject_on,
        "by_defects": manifest is not None and (manifest.unet is not None or manifest.classifier is not None),
        "normals": None if manifest is None else manifest.calibration.normals,
        "golden": await golden_at(desk, place.target.product, active, _edited(active, chosen)),
    }
    return page(request, "models/threshold.html.jinja", visitor, **values)


def _rounded(typed: float, *known: float | None) -> float:
    """Return one of the known thresholds where that one was typed as a page shows it."""
    return next((one for one in known if one is not None and math.isclose(one, typed, rel_tol=1e-5)), typed)


def _edited(active: Placed, chosen: float) -> float | None:
    """Return how a slot says that threshold: None is the artifact's own."""
    return None if chosen == active.own else chosen


async def _weighed(desk: Desk, models: StationModels, chosen: float, last: int) -> tuple[ScoreHistory, Any, Any]:
    active, target = models.active, models.target
    assert active.digest is not None
    stations = next(len(one.stations) for one in desk.plant.lines if one.name == target.line)
    found = await desk.histories.of(desk.ask, target.line, target.station, active.digest, last, stations)
    scores = None if active.artifact is None else await desk.stock.held_out(active.artifact)

    def promise(value: float) -> float | None:
        if active.artifact is not None and value == active.own:
            return active.artifact.manifest.calibration.false_reject
        return None if scores is None else promised_at(value, scores)

    in_force = active.threshold or chosen
    return await asyncio.to_thread(
        lambda: (found, parts_plot(found.parts, in_force), preview_of(found.parts, chosen, promise))
    )


async def place_of(request: Request, visitor: Visitor, line: str, station: str) -> Place:
    """Return a station that the visitor may see. Raises RefusedError."""
    desk: Desk = request.app.state.desk
    target = target_of(desk.plant, line, station)
    if target is None or not visitor.sees(line):
        raise RefusedError(404, N_("There is no such station among the lines that you may see."))
    stock = await desk.stock.now()
    return Place(target, stock, station_models(target, desk.models, stock, desk.live.feed.scored))


def _stations(desk: Desk, visitor: Visitor, stock: Stock) -> list[StationModels]:
    return [
        station_models(Target(line.name, one.name, one.product), desk.models, stock, desk.live.feed.scored)
        for line, one in desk.plant.stations()
        if visitor.sees(line.name)
    ]


def known_now(desk: Desk, stock: Stock) -> dict[str, Any]:
    """Return what every page of models says about what it knows."""
    return {"trouble": desk.models.trouble, "followed": desk.models.known, "stale_store": stock.stale}


async def golden_at(desk: Desk, product: str, placed: Placed, edited: float | None) -> Golden:
    """Return what the golden set says of a model, at a threshold that a person set, None: at its own."""
    digest = placed.digest or (placed.artifact.digest if placed.artifact is not None else None)
    if not desk.stock.gate.covers(product):
        return Golden("none")
    if digest is None:
        return Golden("unknown", fault=placed.fault)
    try:
        return await desk.stock.ask(lambda: golden_of(desk.stock.gate, product, digest, edited))
    except StoreAwayError as error:
        return Golden("unknown", desk.stock.gate.settings.demands(product), fault=str(error))


async def _kept(desk: Desk, models: StationModels) -> tuple[tuple[KeptChange, ...], Any, Any, bool]:
    """Return what the records hold of a station's models; the page goes on without, and says so."""
    target, champion = models.target, models.active.digest
    challenger = None if models.shadow is None else models.shadow.digest
    try:
        changes = await desk.ask(lambda session: model_history(session, target.line, target.station))
        if challenger is None or champion is None:
            return changes, None, (), False
        comparison = await desk.ask(
            lambda session: shadow_comparison(session, target.line, target.station, champion, challenger)
        )
        differ = await desk.ask(lambda session: parts_to_look_at(session, comparison.differ))
    except LedgerError:
        return (), None, (), True
    return changes, comparison, differ, False
