"""The application: every route with the role that it needs."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from neverblink import __version__
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.guard import Guard
from neverblink.console.pages import (
    administration,
    alarms,
    health,
    model_changes,
    models,
    onboarding,
    onboarding_pictures,
    onboarding_places,
    onboarding_trials,
    parts,
    programs,
    provider,
    quality,
    reviews,
    runs,
    signing,
    wall,
)
from neverblink.console.problems import tell_problems
from neverblink.console.static_files import OwnFiles
from neverblink.console.visitors import Gate, Visitor

AnyVisitor = Annotated[Visitor, Depends(Gate(Role.VIEWER))]


def app_of(desk: Desk) -> FastAPI:
    """Return the application, without what `guarded` puts around it."""
    app = FastAPI(
        title="neverblink console",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # What is measured is in schemas/telemetry.yaml; spans would carry serial numbers.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.desk = desk
    tell_problems(app)
    app.include_router(signing.router)
    app.include_router(provider.router)
    app.include_router(wall.router)
    app.include_router(parts.router)
    app.include_router(reviews.router)
    app.include_router(runs.router)
    app.include_router(onboarding.router)
    app.include_router(onboarding_pictures.router)
    app.include_router(onboarding_places.router)
    app.include_router(onboarding_trials.router)
    app.include_router(alarms.router)
    app.include_router(health.router)
    app.include_router(quality.router)
    app.include_router(models.router)
    app.include_router(model_changes.router)
    app.include_router(administration.router)
    app.include_router(programs.router)
    app.mount("/static", OwnFiles(), name="static")

    @app.get("/", include_in_schema=False)
    async def first(_: AnyVisitor) -> Response:
        return RedirectResponse("/wall", 303)

    @app.get("/livez", include_in_schema=False)
    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "alive", "version": __version__})

    return app


def guarded(desk: Desk) -> Guard:
    """Return what a server serves: the application, and around it what every answer must have."""
    return Guard(app_of(desk), tls=desk.plant.console.cert_file is not None, measured=desk.measured)
