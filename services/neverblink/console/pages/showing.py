"""What all pages have in common: the frame, the language and the theme, the mark of forms."""

import secrets
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse, Response

from neverblink.console.access.roles import Role
from neverblink.console.access.said import SaidError
from neverblink.console.desk import Desk
from neverblink.console.language import COOKIE, N_, chosen, name_of
from neverblink.console.rendering import Rendering
from neverblink.console.visitors import FORM_COOKIE, RefusedError, Visitor, strangers_mark

THEME_COOKIE = "neverblink_theme"
THEMES = ("auto", "light", "dark")


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the bar: where it leads, what it is called, and the role on any line that it needs."""

    place: str
    name: str
    role: Role


SECTIONS = (
    Section("/wall", N_("Wall"), Role.VIEWER),
    Section("/review", N_("Review"), Role.REVIEWER),
    Section("/alarms", N_("Alarms"), Role.VIEWER),
    Section("/health", N_("Health"), Role.VIEWER),
    Section("/quality", N_("Quality"), Role.VIEWER),
    Section("/models", N_("Models"), Role.VIEWER),
    Section("/onboarding", N_("New product"), Role.ENGINEER),
    Section("/accounts", N_("Accounts"), Role.ADMINISTRATOR),
    Section("/tokens", N_("Tokens"), Role.ADMINISTRATOR),
    Section("/audit", N_("Audit"), Role.ADMINISTRATOR),
)


def rendering(request: Request) -> Rendering:
    """Return what renders a page in the language of whoever asks."""
    desk: Desk = request.app.state.desk
    accepted = request.headers.get("accept-language")
    return Rendering(chosen(desk.plant.console.languages, request.cookies.get(COOKIE), accepted), desk.zone)


def in_words(request: Request, error: SaidError | RefusedError) -> tuple[str, int]:
    """Return a refusal in the language of whoever asks, with its status."""
    said = rendering(request).gettext
    return (error.in_words(said), 422) if isinstance(error, SaidError) else (said(str(error)), error.status)


def page(request: Request, template: str, visitor: Visitor | None, *, status: int = 200, **values: Any) -> Response:
    """Return a whole page. A stranger's gets the cookie that its form is marked by."""
    desk: Desk = request.app.state.desk
    cookie = request.cookies.get(FORM_COOKIE, "")
    fresh = visitor is None and len(cookie) < 32
    if fresh:
        cookie = secrets.token_urlsafe(32)
    theme = request.cookies.get(THEME_COOKIE)
    frame = {
        "site": desk.plant.site,
        "visitor": visitor,
        "reviews": visitor is not None and visitor.may(Role.REVIEWER),
        "sections": [one for one in SECTIONS if visitor is not None and visitor.may(one.role)],
        "calling": [] if visitor is None else desk.alarms.calling(visitor.sees),
        "csrf": strangers_mark(desk.secret, cookie) if visitor is None else visitor.visit.csrf,
        "languages": [(one, name_of(one)) for one in desk.plant.console.languages],
        "theme": theme if theme in THEMES else THEMES[0],
        "path": request.url.path,
        "signs": desk.plant.console.sign_changes,
        "provider": None if desk.login is None else desk.login.settings.title,
    }
    answer = HTMLResponse(rendering(request).page(template, {**frame, **values}), status)
    if fresh:
        answer.set_cookie(FORM_COOKIE, cookie, httponly=True, samesite="strict", secure=desk.secure)
    return answer
