"""What an administrator does: accounts and their roles, tokens, and the audit of it all."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from neverblink.console.access import accounts as book
from neverblink.console.access import audit
from neverblink.console.access import tokens as tokens_book
from neverblink.console.access.audit import AuditBrokenError, exported
from neverblink.console.access.roles import ALL_LINES, Role, RoleError, Roles, Scope
from neverblink.console.access.said import SaidError
from neverblink.console.access.tokens import TokenError
from neverblink.console.desk import Desk
from neverblink.console.pages.showing import in_words, page
from neverblink.console.pages.signing import confirmed
from neverblink.console.visitors import CheckedForm, Form, Gate, RefusedError, Visitor

router = APIRouter(include_in_schema=False)
Administrator = Annotated[Visitor, Depends(Gate(Role.ADMINISTRATOR))]
AccountName = Annotated[str, Path(max_length=64)]
_ENTRIES = 100
_LARGEST = (1 << 63) - 1


@router.get("/accounts")
async def accounts(request: Request, visitor: Administrator) -> Response:
    """Show all accounts."""
    return await _accounts(request, visitor)


@router.post("/accounts")
async def make_account(request: Request, visitor: Administrator, form: CheckedForm) -> Response:
    """Make an account and show its one-time password, once."""
    desk: Desk = request.app.state.desk

    async def made() -> book.Handed:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        roles = _roles(desk, form)
        name, wall = form.get("name", 70), bool(form.get("wall"))
        return await desk.access.change(lambda c: book.make_account(c, name, roles, actor, now, wall=wall))

    handed, fault, status = await _tried(request, made)
    return await _accounts(request, visitor, handed=handed, fault=fault, status=status)


@router.get("/accounts/{name}")
async def account(request: Request, visitor: Administrator, name: AccountName) -> Response:
    """Show one account."""
    return await _account(request, visitor, name)


@router.post("/accounts/{name}")
async def change_account(request: Request, visitor: Administrator, name: AccountName, form: CheckedForm) -> Response:
    """Give an account other roles, or switch it off or on."""
    desk: Desk = request.app.state.desk

    async def changed() -> book.Account:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        roles = _roles(desk, form)
        wall, active = bool(form.get("wall")), bool(form.get("active"))
        work = book.change_account
        return await desk.access.change(lambda c: work(c, name, roles, actor, now, wall=wall, active=active))

    _, fault, status = await _tried(request, changed)
    if fault is None:
        return RedirectResponse("/accounts", 303)
    return await _account(request, visitor, name, fault=fault, status=status)


@router.post("/accounts/{name}/password")
async def reset(request: Request, visitor: Administrator, name: AccountName, form: CheckedForm) -> Response:
    """Give an account a new one-time password, and show it once."""
    desk: Desk = request.app.state.desk

    async def done() -> book.Handed:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        return await desk.access.change(lambda c: book.reset_password(c, name, actor, now))

    handed, fault, status = await _tried(request, done)
    if handed is None:
        return await _account(request, visitor, name, fault=fault, status=status)
    return await _accounts(request, visitor, handed=handed)


@router.get("/tokens")
async def tokens(request: Request, visitor: Administrator) -> Response:
    """Show all tokens."""
    return await _tokens(request, visitor)


@router.post("/tokens")
async def make_token(request: Request, visitor: Administrator, form: CheckedForm) -> Response:
    """Make a token and show it, once."""
    desk: Desk = request.app.state.desk

    async def made() -> str:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        scopes = [scope for scope in Scope if scope.value in form.all("scope")]
        lines = [line for line in desk.lines if line in form.all("line")] or None
        days = form.get("days", 8)
        if days and not days.isdigit():
            raise TokenError("the number of days is a whole number, or empty for ever")
        name, span = form.get("name", 70), int(days) if days else None
        make = tokens_book.make_token
        return await desk.access.change(lambda c: make(c, name, scopes, lines, span, actor, now))

    text, fault, status = await _tried(request, made)
    return await _tokens(request, visitor, text=text, fault=fault, status=status)


@router.post("/tokens/remove")
async def remove_token(request: Request, visitor: Administrator, form: CheckedForm) -> Response:
    """Take a token away; it is refused from the next request on."""
    desk: Desk = request.app.state.desk

    async def removed() -> bool:
        actor, now = await confirmed(request, visitor, form), desk.clock()
        name = form.get("name", 70)
        await desk.access.change(lambda c: tokens_book.remove_token(c, name, actor, now))
        return True

    _, fault, status = await _tried(request, removed)
    return await _tokens(request, visitor, fault=fault, status=status)


@router.get("/audit")
async def audit_page(
    request: Request, visitor: Administrator, before: Annotated[int | None, Query(ge=1, le=_LARGEST)] = None
) -> Response:
    """Show the audit, the newest entries first."""
    desk: Desk = request.app.state.desk
    found = await desk.access.ask(lambda c: list(audit.entries(c, newest=_ENTRIES, before=before)))
    return page(request, "audit.html.jinja", visitor, entries=found, verified=None, fault=None)


@router.post("/audit/verify")
async def verify_audit(request: Request, visitor: Administrator, form: CheckedForm) -> Response:
    """Read the whole chain and say whether it holds."""
    desk: Desk = request.app.state.desk
    verified, fault = None, None
    try:
        verified = await desk.access.ask(audit.verify)
    except AuditBrokenError as error:
        fault = str(error)
    found = await desk.access.ask(lambda c: list(audit.entries(c, newest=_ENTRIES)))
    return page(request, "audit.html.jinja", visitor, entries=found, verified=verified, fault=fault)


@router.get("/audit/export")
async def export_audit(
    request: Request,
    visitor: Administrator,
    form: Annotated[str, Query(alias="as", pattern="^(json|syslog)$")] = "json",
) -> Response:
    """Return the whole audit, as JSON lines or as syslog messages."""
    desk: Desk = request.app.state.desk
    kind = "application/x-ndjson" if form == "json" else "text/plain; charset=utf-8"
    name = f"{desk.plant.site}-audit.{'jsonl' if form == 'json' else 'log'}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(exported(desk.access, desk.plant.site, form), 200, headers, kind)


def _roles(desk: Desk, form: Form) -> Roles:
    """Return the roles that a form gives: of all lines, and of each line. Raises RoleError."""
    held: dict[str, Role] = {}
    for line in (ALL_LINES, *desk.lines):
        word = form.get(f"role:{line}", 20)
        if word:
            held[line] = Role.of(word)
    if not held:
        raise RoleError("an account needs a role: on all lines or on some")
    return Roles(held)


async def _tried(request: Request, work: Callable[[], Any]) -> tuple[Any | None, str | None, int]:
    """Return what a change gives, or why it was refused, in words, with a status."""
    try:
        return await work(), None, 200
    except (SaidError, RefusedError) as error:
        return None, *in_words(request, error)


async def _accounts(
    request: Request, visitor: Visitor, *, handed: Any = None, fault: str | None = None, status: int = 200
) -> Response:
    desk: Desk = request.app.state.desk
    found = await desk.access.ask(book.accounts)
    values = {"accounts": found, "handed": handed, "fault": fault, "lines": desk.lines, "roles": list(Role)}
    return page(request, "accounts.html.jinja", visitor, status=status, **values)


async def _account(
    request: Request, visitor: Visitor, name: str, *, fault: str | None = None, status: int = 200
) -> Response:
    desk: Desk = request.app.state.desk
    found = await desk.access.ask(lambda connection: book.account_of(connection, name))
    if found is None:
        return page(request, "problem.html.jinja", visitor, status=404, number=404, sentence=None)
    claimed = desk.login is not None and desk.login.settings.roles_claim is not None
    values = {"account": found, "fault": fault, "lines": desk.lines, "roles": list(Role), "claimed": claimed}
    return page(request, "account.html.jinja", visitor, status=status, **values)


async def _tokens(
    request: Request, visitor: Visitor, *, text: str | None = None, fault: str | None = None, status: int = 200
) -> Response:
    desk: Desk = request.app.state.desk
    found = await desk.access.ask(tokens_book.tokens)
    values = {"tokens": found, "text": text, "fault": fault, "lines": desk.lines, "scopes": list(Scope)}
    return page(request, "tokens.html.jinja", visitor, status=status, **values)
