"""Who asks: every route names the role that it needs, and every change carries its session's own mark."""

import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, Request

from neverblink.console.access import sessions
from neverblink.console.access.accounts import Account
from neverblink.console.access.audit import Actor
from neverblink.console.access.roles import Role, Scope
from neverblink.console.access.sessions import Visit
from neverblink.console.access.tokens import Token, token_of
from neverblink.console.desk import Desk
from neverblink.console.language import N_
from neverblink.errors import NeverblinkError

MAX_FORM = 64 * 1024
_MAX_FIELDS = 500
FORM_COOKIE = "form"
"""Marks the forms of those who have not signed in."""


class RefusedError(NeverblinkError):
    """A request that is refused: `status`, and a sentence that is translated where it is shown."""

    def __init__(self, status: int, sentence: str, retry_after_s: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after_s = retry_after_s


class ElsewhereError(NeverblinkError):
    """First another page must be seen, such as the one that asks for a password."""

    def __init__(self, place: str) -> None:
        super().__init__(f"first {place}")
        self.place = place


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who has signed in, and the address from which."""

    visit: Visit
    address: str

    @property
    def account(self) -> Account:
        """Return whose session it is."""
        return self.visit.account

    @property
    def lines(self) -> tuple[str, ...] | None:
        """Return the lines that may be seen, None for all."""
        return self.account.roles.lines()

    def sees(self, line: str) -> bool:
        """Say whether the visitor may see a line."""
        return self.account.roles.on(line) is not None

    def holds(self, role: Role, line: str) -> bool:
        """Say whether the visitor has a role, or a higher one, on a line."""
        return (self.account.roles.on(line) or 0) >= role

    def may(self, role: Role) -> bool:
        """Say whether the visitor has a role on any line."""
        return self.account.roles.highest >= role

    def actor(self, meaning: str = "") -> Actor:
        """Return who acts, for the audit."""
        return Actor(self.account.name, self.address, meaning)


class Gate:
    """Lets in who has `role` on any line; what is of one line asks for it once more.

    `state` is which sessions it is for: `open`; `new-password` also while the password is one that somebody else
    knows; `locked` also after idleness. `by_hand` is false where a page asks by itself: that puts off no lock.
    """

    def __init__(self, role: Role, state: str = "open", *, by_hand: bool = True) -> None:
        self.role = role
        self._state = state
        self._by_hand = by_hand

    async def __call__(self, request: Request) -> Visitor:
        """Return who asks. Raises ElsewhereError or RefusedError."""
        visit = await visit_now(request, by_hand=self._by_hand)
        if visit is None:
            raise ElsewhereError("/sign-in")
        if visit.locked and self._state != "locked":
            raise ElsewhereError("/unlock")
        account = visit.account
        if account.one_time_until is not None and self._state == "open":
            raise ElsewhereError("/password")
        if account.roles.highest < self.role:
            raise RefusedError(403, N_("Your role does not allow that."))
        return Visitor(visit, address_of(request))


async def visit_now(request: Request, *, by_hand: bool) -> Visit | None:
    """Return the session that a request belongs to, None for a stranger. Raises AccessError."""
    desk: Desk = request.app.state.desk
    value, now = request.cookies.get(desk.cookie), desk.clock()
    if value is None:
        return None
    return await desk.access.change(lambda c: sessions.visit_of(c, value, desk.rules, now, touch=by_hand))


class TokenGate:
    """Lets in the bearer of a token with `scope`."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Token:
        """Return the token. Raises RefusedError."""
        desk: Desk = request.app.state.desk
        given, now = request.headers.get("authorization"), desk.clock()
        token = await desk.access.ask(lambda c: token_of(c, given, now))
        if token is None:
            raise RefusedError(401, N_("Give a valid token as `Authorization: Bearer nbc_…`."))
        if self.scope not in token.scopes:
            raise RefusedError(403, N_("The token does not allow that."))
        return token


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form that came from one of our pages."""

    fields: tuple[tuple[str, str], ...]

    def get(self, name: str, longest: int = 500) -> str:
        """Return a field's value without spaces around it, empty where there is none. Raises RefusedError."""
        found = next((value for field, value in self.fields if field == name), "").strip()
        if len(found) > longest or "\x00" in found:
            raise RefusedError(422, N_("A field is longer than it may be."))
        return found

    def raw(self, name: str) -> str:
        """Return a field's value as it was typed, as a password is."""
        return next((value for field, value in self.fields if field == name), "")

    def all(self, name: str) -> Sequence[str]:
        """Return the values of a field that may come again."""
        return [value for field, value in self.fields if field == name]


class FormGate:
    """Reads a form, and refuses one that does not come from a page of ours, for this session."""

    async def __call__(self, request: Request) -> Form:
        """Return the form. Raises RefusedError."""
        _from_here(request)
        form = Form(await _fields(request))
        visit = await marked(request, form.raw("csrf"))
        desk: Desk = request.app.state.desk
        wait = desk.pace.wait_s("" if visit is None else visit.account.key, address_of(request))
        if wait > 0:
            raise RefusedError(429, N_("Too many changes at once: wait a little and try again."), math.ceil(wait))
        return form


async def marked(request: Request, given: str) -> Visit | None:
    """Refuse what does not come from a page of ours, for this session: `given` is its mark. Raises RefusedError.

    Returns the session, None of a stranger.
    """
    desk: Desk = request.app.state.desk
    _from_here(request)
    visit = await visit_now(request, by_hand=False)
    cookie = request.cookies.get(FORM_COOKIE, "")
    expected = strangers_mark(desk.secret, cookie) if visit is None else visit.csrf
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise RefusedError(403, N_("This page was opened too long ago: load it again."))
    return visit


CheckedForm = Annotated[Form, Depends(FormGate())]


def strangers_mark(secret: bytes, cookie: str) -> str:
    """Return what the form of a stranger must carry, empty without the cookie."""
    return hmac.new(secret, cookie.encode(), hashlib.sha256).hexdigest() if len(cookie) >= 32 else ""


def address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else ""


def local_path(wish: str | None) -> str:
    """Return a place of ours to go on to; anything else, as another host, becomes the first page."""
    if not wish or len(wish) > 500 or not wish.startswith("/") or wish.startswith("//"):
        return "/"
    parts = urlsplit(wish)
    if parts.scheme or parts.netloc or "\\" in wish or any(ord(sign) < 33 for sign in wish):
        return "/"
    return wish


def _from_here(request: Request) -> None:
    """Refuse what another site's page sends: browsers say where a request comes from."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    elsewhere = site is not None and site not in {"same-origin", "none"}
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        elsewhere = True
    if elsewhere:
        raise RefusedError(403, N_("Another site has sent this: it was not done."))


async def _fields(request: Request) -> tuple[tuple[str, str], ...]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RefusedError(415, N_("A form is expected."))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise RefusedError(413, N_("The form is too large."))
    try:
        found = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:  # not UTF-8, or too many fields
        raise RefusedError(422, N_("The form cannot be read.")) from error
    return tuple(found)
