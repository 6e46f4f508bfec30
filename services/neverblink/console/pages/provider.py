"""Signing in at the plant's login provider: to it, back from it, and out of it."""

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import RedirectResponse, Response

from neverblink import telemetry
from neverblink.console.access import sessions
from neverblink.console.access.audit import Actor, note
from neverblink.console.access.roles import Role
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.console.pages.showing import page
from neverblink.console.pages.signing import let_in
from neverblink.console.visitors import Gate, RefusedError, Visitor, address_of, local_path, visit_now
from neverblink.shown import visible

if TYPE_CHECKING:  # it takes a while to import, and most plants have no login provider: so do the imports below
    from neverblink.console.access.provider.login import Login

router = APIRouter(include_in_schema=False)
_PLACE = "/sign-in/provider"
_COUNTED = "login provider"  # as whom tries are counted: nobody's name has a space
_AWAY = N_("The login provider cannot be used now; the console's log says why. Accounts of the console go on.")
_LOST = N_("This sign-in was not begun here, or too long ago: begin again.")
_REFUSED = N_("The login provider has let nobody in: try again.")
_WAIT = N_("Too many tries: wait a little and try again.")
Wish = Annotated[str | None, Query(alias="next", max_length=500)]
Signed = Annotated[Visitor, Depends(Gate(Role.VIEWER))]
Text = Annotated[str | None, Query(max_length=4000)]


@router.get(_PLACE)
async def to_provider(request: Request, wish: Wish = None, fresh: bool = False) -> Response:
    """Lead to the provider's page; `fresh` lets it ask anew who it is."""
    desk, login = _at_home(request)
    from neverblink.console.access.provider.id_tokens import ProviderError
    from neverblink.console.access.provider.pending import KEPT_S, sealed

    try:
        place, pending = await login.begin(local_path(wish), fresh)
    except ProviderError as error:
        return _told(request, _AWAY, 503, error)
    answer = RedirectResponse(place, 303)
    cookie, value = _cookie(desk), sealed(pending, desk.secret)
    answer.set_cookie(cookie, value, max_age=KEPT_S, httponly=True, samesite="lax", secure=desk.secure, path="/")
    return answer


@router.get(f"{_PLACE}/back")
async def from_provider(
    request: Request, code: Text = None, state: Text = None, error: Text = None, iss: Text = None
) -> Response:
    """Take what the provider sends back, ask it who that is, and begin a session."""
    desk, login = _at_home(request)
    from neverblink.console.access.provider.id_tokens import ProviderError
    from neverblink.console.access.provider.pending import opened
    from neverblink.console.access.provider.people import entered

    now, address = desk.clock(), address_of(request)
    pending = opened(request.cookies.get(_cookie(desk)), desk.secret, int(now.timestamp()))
    if pending is None or state is None or state != pending.state:
        return _told(request, _LOST, 403)
    if error is not None or code is None:
        return _told(request, _REFUSED, 403, error)
    if desk.attempts.wait_s(_COUNTED, address) > 0:
        return _told(request, _WAIT, 429)
    desk.attempts.failed(_COUNTED, address)
    try:
        proof = await login.finish(pending, code, iss)
    except ProviderError as fault:
        who = Actor(login.settings.title, address)
        await desk.access.change(lambda c: note(c, now, who, "session.refused", login.settings.title))
        return _told(request, _REFUSED, 403, fault)
    desk.attempts.worked(_COUNTED, address)
    found = await desk.access.change(lambda c: entered(c, login.settings, proof, address, now))
    account = found.account
    if account is None:
        return _told(request, found.refusal or _REFUSED, 403)
    before = await visit_now(request, by_hand=True)
    if pending.fresh and before is not None and not before.locked and before.account.key == account.key:
        # The same person at the same session: a page that waits to be sent goes on being good.
        mine, at = before.digest, proof.at
        await desk.access.change(lambda c: sessions.prove(c, mine, at))
        answer: Response = RedirectResponse(pending.wish, 303)
    else:
        digest = None if before is None else before.digest
        answer = await let_in(request, account, pending.wish, digest, "sign-in", proven=proof.at)
    answer.delete_cookie(_cookie(desk), httponly=True, samesite="lax", secure=desk.secure, path="/")
    return answer


@router.get(f"{_PLACE}/out")
async def out_of_provider(request: Request) -> Response:
    """Lead to where the provider ends its own session."""
    _, login = _at_home(request)
    from neverblink.console.access.provider.id_tokens import ProviderError

    try:
        return RedirectResponse(await login.out() or "/sign-in", 303)
    except ProviderError as error:
        return _told(request, _AWAY, 503, error)


@router.get("/proven")
async def proven(request: Request, visitor: Signed) -> Response:
    """Say that a form that waits in another tab can be sent now."""
    return page(request, "proven.html.jinja", visitor)


def _at_home(request: Request) -> "tuple[Desk, Login]":
    """Return the desk and the plant's login provider. Raises RefusedError where it has none."""
    desk: Desk = request.app.state.desk
    if desk.login is None:
        raise RefusedError(404, N_("There is nothing at this address."))
    return desk, desk.login


def _cookie(desk: Desk) -> str:
    return "__Host-login" if desk.secure else "login"


def _told(request: Request, sentence: str, status: int, why: object = None) -> Response:
    """Return the page to sign in with why it did not work; `why` is for the log alone."""
    desk: Desk = request.app.state.desk
    if status == 403:
        desk.measured.sign_ins.add(1, {"outcome": "wrong"})
    if why is not None:
        telemetry.logger("console").warning(f"nobody signs in at the login provider: {visible(str(why))[:500]}")
    answer = page(request, "sign_in.html.jinja", None, status=status, name="", fault=sentence, next="/", out=False)
    answer.delete_cookie(_cookie(desk), httponly=True, samesite="lax", secure=desk.secure, path="/")
    return answer
