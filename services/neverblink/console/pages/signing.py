"""Signing in and out, the lock, the own password, and what a browser prefers to see."""

from datetime import datetime, timedelta
from types import EllipsisType
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from neverblink import telemetry
from neverblink.console.access import sessions
from neverblink.console.access.accounts import Account, account_of, set_password
from neverblink.console.access.audit import Actor, note
from neverblink.console.access.passwords import PasswordError, check
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import COOKIE, N_
from neverblink.console.pages.showing import THEME_COOKIE, THEMES, page, rendering
from neverblink.console.visitors import (
    CheckedForm,
    Form,
    Gate,
    RefusedError,
    Visitor,
    address_of,
    local_path,
    visit_now,
)

_A_YEAR_S = 365 * 24 * 3600
PROVEN_FOR = timedelta(minutes=5)
"""For how long a change may be signed after the login provider has asked who it is."""

router = APIRouter(include_in_schema=False)
AnySession = Annotated[Visitor, Depends(Gate(Role.VIEWER, "locked"))]
WithPassword = Annotated[Visitor, Depends(Gate(Role.VIEWER, "new-password"))]
_NOBODY = "unknown name"
_WRONG = N_("Name or password is wrong.")
_WAIT = N_("Too many tries: wait a little and try again.")


@router.get("/sign-in")
async def sign_in_page(request: Request) -> Response:
    """Show the form, or go on where somebody has signed in already."""
    if await visit_now(request, by_hand=False) is not None:
        return RedirectResponse(local_path(request.query_params.get("next")), 303)
    wish, out = request.query_params.get("next", "/"), "out" in request.query_params
    return page(request, "sign_in.html.jinja", None, name="", fault=None, next=wish, out=out)


@router.post("/sign-in")
async def sign_in(request: Request, form: CheckedForm) -> Response:
    """Begin a session; whatever session the browser had before ends."""
    desk: Desk = request.app.state.desk
    name, address = form.get("name", 64), address_of(request)
    account = await desk.access.ask(lambda c: account_of(c, name))
    fault, status = await _refused(desk, name, address, form.raw("password"), account)
    if fault is not None or account is None:
        values = {"name": name, "fault": fault, "next": form.get("next") or "/", "out": False}
        return page(request, "sign_in.html.jinja", None, status=status, **values)
    before = await visit_now(request, by_hand=False)
    return await let_in(request, account, form.get("next"), None if before is None else before.digest, "sign-in")


@router.post("/sign-out")
async def sign_out(request: Request, visitor: AnySession, form: CheckedForm) -> Response:
    """End the session."""
    desk: Desk = request.app.state.desk
    now = desk.clock()

    def ended(connection: Connection) -> None:
        sessions.end(connection, visitor.visit.digest)
        note(connection, now, visitor.actor(), "session.sign-out", visitor.account.name)

    await desk.access.change(ended)
    # Our forms lead nowhere else, so what ends the session at the login provider too is a link on that page.
    elsewhere = desk.login is not None and visitor.account.issuer is not None
    answer = RedirectResponse("/sign-in?out=1" if elsewhere else "/sign-in", 303)
    answer.delete_cookie(desk.cookie, httponly=True, samesite="lax", secure=desk.secure)
    return answer


@router.get("/unlock")
async def unlock_page(request: Request, visitor: AnySession) -> Response:
    """Ask for the password of a session that was idle."""
    wish = local_path(request.query_params.get("next"))
    if not visitor.visit.locked:
        return RedirectResponse(wish, 303)
    return page(request, "unlock.html.jinja", visitor, fault=None, next=wish)


@router.post("/unlock")
async def unlock(request: Request, visitor: AnySession, form: CheckedForm) -> Response:
    """Go on with a session that was locked: it gets a new cookie."""
    desk: Desk = request.app.state.desk
    account = visitor.account
    fault, status = await _refused(desk, account.name, visitor.address, form.raw("password"), account)
    if fault is not None:
        return page(request, "unlock.html.jinja", visitor, status=status, fault=fault, next=form.get("next") or "/")
    return await let_in(request, account, form.get("next"), visitor.visit.digest, "unlock")


@router.post("/lock")
async def lock(request: Request, visitor: WithPassword, form: CheckedForm) -> Response:
    """Lock the session now, as who leaves the desk does."""
    desk: Desk = request.app.state.desk
    await desk.access.change(lambda c: sessions.lock(c, visitor.visit.digest))
    return RedirectResponse("/unlock", 303)


@router.get("/password")
async def password_page(request: Request, visitor: WithPassword) -> Response:
    """Show the form for the own password. Raises RefusedError where the login provider lets the person in."""
    if visitor.account.issuer is not None:
        raise RefusedError(404, N_("You sign in at the login provider: there is no password of yours here."))
    return page(request, "password.html.jinja", visitor, fault=None)


@router.post("/password")
async def password(request: Request, visitor: WithPassword, form: CheckedForm) -> Response:
    """Take a new password; all sessions of the account end, and this browser gets a new one."""
    desk: Desk = request.app.state.desk
    account = visitor.account
    said = rendering(request).gettext
    fault, status = await _refused(desk, account.name, visitor.address, form.raw("password"), account)
    chosen = form.raw("new")
    if fault is None:
        try:
            check(chosen, account.name)
            if chosen == form.raw("password"):
                raise PasswordError("the new password is the old one: choose another")
            if chosen != form.raw("again"):
                raise PasswordError("the two new passwords differ: type it twice alike")
        except PasswordError as error:
            fault, status = error.in_words(said), 422
    if fault is not None:
        return page(request, "password.html.jinja", visitor, status=status, fault=said(fault))
    held = await desk.passwords.hash(chosen)
    now = desk.clock()
    await desk.access.change(lambda c: set_password(c, account, held, visitor.actor(), now))
    return await let_in(request, account, form.get("next"), visitor.visit.digest, "new-password")


@router.post("/preferences")
async def preferences(request: Request, form: CheckedForm) -> Response:
    """Keep language and theme in the browser."""
    desk: Desk = request.app.state.desk
    answer = RedirectResponse(local_path(form.get("next")), 303)
    language, theme = form.get("language"), form.get("theme")
    if language in desk.plant.console.languages:
        answer.set_cookie(COOKIE, language, max_age=_A_YEAR_S, httponly=True, samesite="lax", secure=desk.secure)
    if theme in THEMES:
        answer.set_cookie(THEME_COOKIE, theme, max_age=_A_YEAR_S, httponly=True, samesite="lax", secure=desk.secure)
    return answer


async def confirmed(request: Request, visitor: Visitor, form: Form) -> Actor:
    """Return who makes a change and what is meant; where the plant demands it, the password was given once more.

    Raises RefusedError.
    """
    desk: Desk = request.app.state.desk
    meaning = form.get("meaning", 300)
    if not desk.plant.console.sign_changes:
        return visitor.actor(meaning)
    if not meaning:
        raise RefusedError(422, N_("Say in a few words what the change is for: it stays on record."))
    account = visitor.account
    if account.issuer is not None:
        proven = visitor.visit.proven
        if proven is None or desk.clock() - proven > PROVEN_FOR:
            raise RefusedError(403, N_("Say at the login provider who you are, then send this again within 5 minutes."))
        return visitor.actor(meaning)
    fault, status = await _refused(desk, account.name, visitor.address, form.raw("password"), account)
    if fault is not None:
        raise RefusedError(status, fault)
    return visitor.actor(meaning)


async def _refused(
    desk: Desk, name: str, address: str, password: str, account: Account | None
) -> tuple[str | None, int]:
    """Return why a password does not open an account, with a status; None when it does."""
    log = telemetry.logger("console")
    if desk.attempts.wait_s(name, address) > 0:
        desk.measured.sign_ins.add(1, {"outcome": "slowed"})
        return _WAIT, 429
    desk.attempts.failed(name, address)
    held = account.password or None if account is not None and account.active else None
    right = await desk.passwords.right(password, held)
    void = account is not None and account.one_time_until is not None and desk.clock() >= account.one_time_until
    if not right or void:
        desk.measured.sign_ins.add(1, {"outcome": "wrong"})
        log.warning("a password was wrong", extra={"fields": {"address": address}})
        # A name that nobody has may be a password in the wrong field: it stays nowhere.
        who = account.name if account is not None else _NOBODY
        actor, now = Actor(who, address), desk.clock()
        await desk.access.change(lambda c: note(c, now, actor, "session.refused", who))
        return _WRONG, 403
    desk.attempts.worked(name, address)
    return None, 200


async def let_in(
    request: Request,
    account: Account,
    wish: str,
    before: str | None,
    how: str,
    *,
    proven: datetime | EllipsisType | None = ...,
) -> Response:
    """Begin a session in the place of the one before, and go on to `wish`.

    `proven` is when the person said who it is: now, unless another has asked.
    """
    desk: Desk = request.app.state.desk
    now, address = desk.clock(), address_of(request)
    at = now if proven is ... else proven
    agent = request.headers.get("user-agent", "")

    def begun(connection: Connection) -> str:
        if before is not None:
            sessions.end(connection, before)
        note(connection, now, Actor(account.name, address), f"session.{how}", account.name)
        return sessions.begin(connection, account, desk.rules, now, address, agent, proven=at)

    value = await desk.access.change(begun)
    desk.measured.sign_ins.add(1, {"outcome": "right"})
    answer = RedirectResponse(local_path(wish), 303)
    answer.set_cookie(desk.cookie, value, httponly=True, samesite="lax", secure=desk.secure, path="/")
    return answer
