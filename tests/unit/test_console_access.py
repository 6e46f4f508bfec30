"""Who gets into the console, how long, and what every change must carry."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from console_desk import HOST, MORNING, PASSWORD, Console, plant_in
from console_routes import at, gates, routes

from neverblink.console.access import passwords
from neverblink.console.access.accounts import make_first
from neverblink.console.access.attempts import Attempts
from neverblink.console.access.passwords import PasswordError, check, one_time
from neverblink.console.access.roles import Role, RoleError, Roles
from neverblink.console.visitors import FormGate, Gate, TokenGate, local_path
from neverblink.plant import ConsoleSettings

pytestmark = pytest.mark.usefixtures("quick_hashing")

STRANGERS = {
    "/sign-in", "/sign-in/provider", "/sign-in/provider/back", "/sign-in/provider/out", "/preferences", "/livez",
}  # fmt: skip
"""Routes for whoever comes."""

OWN = {"/sign-out", "/unlock", "/lock", "/password"}
"""Routes that a change of one's own session needs."""

STREAMS = {"/live", "/runs/{run}/live"}
"""Answers without an end."""

LACKS = "Your role does not allow that."


def test_every_route_says_whom_it_lets_in_and_every_change_takes_a_checked_form(console: Console) -> None:
    for method, path, route in routes(console):
        found = gates(route)
        if path not in STRANGERS:
            assert any(isinstance(one, Gate | TokenGate) for one in found), f"{path} lets in everybody"
        if method != "GET":
            assert any(isinstance(one, FormGate) for one in found), f"{method} {path} takes forms of other sites"


async def check_roles(console: Console, tried: Callable[[Role, Role], bool]) -> None:
    """Ask every route as a stranger and as those roles that are tried for the one that it needs."""
    browsers, marks = {}, {}
    for role in Role:
        console.account(role.word, role)
        browsers[role] = console.browser()
        assert (await browsers[role].sign_in(role.word)).status_code == 303
        found = re.search(r'name="csrf" value="([^"]+)"', (await browsers[role].get("/wall")).text)
        assert found is not None
        marks[role] = found.group(1)
    stranger = console.browser().http
    for method, path, route in routes(console):
        needed = next((one.role for one in gates(route) if isinstance(one, Gate)), None)
        if needed is None or path in OWN | STREAMS:
            continue
        assert (await stranger.request(method, at(path))).status_code in {303, 401, 403, 415}, path
        for role, browser in browsers.items():
            if not tried(role, needed):
                continue
            if method == "GET":
                answer = await browser.http.get(at(path))
            else:
                answer = await browser.post(at(path), {"csrf": marks[role]})
            refused = answer.status_code == 403 and LACKS in answer.text
            assert refused is (role < needed), f"{method} {path} answers a {role.word} with {answer.status_code}"
            assert answer.status_code != 500, f"{method} {path}"


async def test_each_route_lets_in_the_role_that_it_names_and_not_the_one_below(console: Console) -> None:
    """Who lacks the role is told just that, and nobody else is; what a route then asks for is another matter."""
    await check_roles(console, lambda role, needed: role in {needed, needed - 1})


@pytest.mark.plant
async def test_so_does_each_route_with_each_role(console: Console) -> None:
    await check_roles(console, lambda role, needed: True)


async def test_a_line_that_one_may_not_see_is_on_no_page_and_answers_as_one_that_is_not_there(tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    own = plant.lines[0]
    hidden = own.model_copy(update={"name": "line-z9"})
    async with Console(plant.model_copy(update={"lines": (own, hidden)})) as console:
        console.account("ann", Role.ENGINEER, (own.name,))
        ann = console.browser()
        await ann.sign_in("ann")
        pages = [
            path
            for method, path, route in routes(console)
            if method == "GET" and path not in STREAMS and any(isinstance(one, Gate) for one in gates(route))
        ]
        for path in pages:
            if "{" not in path:
                assert "line-z9" not in (await ann.http.get(path)).text, path
            known, unknown = [
                await ann.http.get(at(path, name), params={} if "{" in path else {"line": name})
                for name in ("line-z9", "line-y8")
            ]
            assert known.status_code == unknown.status_code != 500, path
            assert known.text.replace("line-z9", "line-y8") == unknown.text, path
            if "{line}" in path:
                assert known.status_code == 404, path


async def test_without_its_sessions_own_mark_no_change_is_made(console: Console) -> None:
    console.account("ann", Role.ADMINISTRATOR)
    console.account("eve", Role.ADMINISTRATOR)
    ann, eve = console.browser(), console.browser()
    await ann.sign_in("ann")
    await eve.sign_in("eve")
    for method, path, _ in routes(console):
        if method == "GET":
            continue
        for body in ({}, {"csrf": "x" * 43}):
            answer = await ann.http.post(at(path), data=body)
            assert answer.status_code in {403, 415}, path
    mark = re.search(r'name="csrf" value="([^"]+)"', (await eve.get("/accounts")).text)
    assert mark is not None
    answer = await ann.http.post("/accounts", data={"csrf": mark.group(1), "name": "mallory", "role:*": "viewer"})
    assert answer.status_code == 403


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "http://elsewhere"}])
async def test_what_another_site_sends_is_refused_even_with_the_mark(console: Console, headers: dict[str, str]) -> None:
    console.account("ann", Role.ADMINISTRATOR)
    ann = console.browser()
    await ann.sign_in("ann")
    await ann.get("/accounts")
    answer = await ann.post("/accounts", {"name": "mallory", "role:*": "viewer"}, **headers)
    assert answer.status_code == 403
    assert "Another site" in answer.text


async def test_the_first_start_makes_an_administrator_whose_password_must_be_changed(console: Console) -> None:
    with console.access.writing() as connection:
        assert make_first(connection, console.now, "once-only-password") is not None
        assert make_first(connection, console.now, "another-password") is None
    browser = console.browser()
    await browser.sign_in("admin", "once-only-password")
    assert "Choose your own" in browser.seen
    assert (await browser.http.get("/accounts")).headers["location"].startswith("/password")
    short = await browser.post("/password", {"password": "once-only-password", "new": "short", "again": "short"})
    assert "12 to 200 characters" in short.text
    same = {"password": "once-only-password", "new": "once-only-password", "again": "once-only-password"}
    assert "is the old one" in (await browser.post("/password", same)).text
    chosen = {"password": "once-only-password", "new": PASSWORD, "again": PASSWORD}
    assert (await browser.post("/password", chosen)).status_code == 303
    assert "New account" in (await browser.get("/accounts")).text


async def test_a_one_time_password_is_void_after_its_time(console: Console) -> None:
    with console.access.writing() as connection:
        make_first(connection, console.now, "once-only-password")
    console.later(hours=71)
    browser = console.browser()
    await browser.sign_in("admin", "once-only-password")
    console.later(hours=2)
    assert "Sign in" in (await browser.get("/wall")).text, "nor does it help who has signed in and not changed it"
    assert (await console.browser().sign_in("admin", "once-only-password")).status_code == 403


async def test_a_session_gets_a_new_cookie_whenever_the_password_is_given(console: Console) -> None:
    console.account("ann")
    browser = console.browser()
    browser.http.cookies.set("neverblink", "f" * 43, domain="console.local", path="/")
    await browser.sign_in("ann")
    given = browser.http.cookies["neverblink"]
    assert given != "f" * 43
    console.later(minutes=16)
    await browser.get("/password")
    await browser.post("/unlock", {"password": PASSWORD})
    assert browser.http.cookies["neverblink"] != given
    thief = console.browser()
    thief.http.cookies.set("neverblink", given)
    assert (await thief.http.get("/password")).headers["location"].startswith("/sign-in")


async def test_idleness_locks_a_session_and_the_password_goes_on_where_it_was(console: Console) -> None:
    console.account("ann")
    browser = console.browser()
    await browser.sign_in("ann")
    console.later(minutes=14)
    assert (await browser.http.get("/password")).status_code == 200
    console.later(minutes=14)
    assert (await browser.http.get("/password")).status_code == 200, "who works is not locked"
    console.later(minutes=16)
    assert (await browser.http.get("/password?x=1")).headers["location"] == "/unlock?next=/password%3Fx%3D1"
    page = await browser.get("/password?x=1")
    assert "Nobody was here" in page.text
    wrong = await browser.post("/unlock", {"password": "wrong", "next": "/password?x=1"})
    assert wrong.status_code == 403
    right = await browser.post("/unlock", {"password": PASSWORD, "next": "/password?x=1"})
    assert right.headers["location"] == "/password?x=1"


async def test_a_session_ends_however_busy_it_is(tmp_path: Path) -> None:
    async with Console(plant_in(tmp_path, session_h=1)) as console:
        console.account("ann")
        browser = console.browser()
        await browser.sign_in("ann")
        told = []
        for _ in range(6):
            console.later(minutes=10)
            told.append((await browser.http.get("/password")).status_code)
    assert told == [200] * 5 + [303]


async def test_a_screen_on_the_wall_is_not_locked_and_can_be_a_viewer_alone(console: Console) -> None:
    console.account("hall-3", wall=True)
    browser = console.browser()
    await browser.sign_in("hall-3")
    console.later(days=200)
    assert (await browser.http.get("/password")).status_code == 200
    with pytest.raises(ValueError, match="a viewer and no more"):
        console.account("hall-4", Role.ENGINEER, wall=True)


async def test_who_leaves_and_who_is_switched_off_is_out_at_once(console: Console) -> None:
    console.account("ann")
    console.account("bob")
    ann, bob = console.browser(), console.browser()
    for browser, name in ((ann, "ann"), (bob, "bob")):
        await browser.sign_in(name)
    await ann.get("/password")
    assert (await ann.post("/sign-out")).headers["location"] == "/sign-in"
    console.switch_off("bob")
    for browser in (ann, bob):
        assert (await browser.http.get("/password")).headers["location"].startswith("/sign-in")
    assert (await bob.sign_in("bob")).status_code == 403


async def test_unknown_names_and_wrong_passwords_are_told_alike(console: Console) -> None:
    console.account("ann")
    told = []
    for name in ("ann", "nobody"):
        browser = console.browser(f"10.0.1.{len(told)}")
        answer = await browser.sign_in(name, "wrong")
        told.append((answer.status_code, answer.text.count("Name or password is wrong.")))
    assert told == [(403, 1), (403, 1)]


async def test_guessing_costs_more_and_more_time_and_the_owner_elsewhere_gets_in(console: Console) -> None:
    console.account("ann")
    guesser = console.browser("10.9.9.9")
    for _ in range(5):
        assert (await guesser.sign_in("ann", "wrong")).status_code == 403
    assert (await guesser.sign_in("ann", PASSWORD)).status_code == 429, "even the right one waits now"
    assert (await console.browser("10.0.0.1").sign_in("ann")).status_code == 303
    console.later(seconds=2)
    assert (await guesser.sign_in("ann", PASSWORD)).status_code == 303


def test_waits_double_are_bounded_and_forgotten() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    waits = []
    for _ in range(16):
        attempts.failed("ann", "a")
        waits.append(attempts.wait_s("ann", "a"))
    assert waits[:8] == [0, 0, 0, 0, 1, 2, 4, 8]
    assert max(waits) == 300
    assert attempts.wait_s("ann", "b") == 0
    assert attempts.wait_s("ANN", "a") > 0, "another case is the same account"
    now[0] = 1801
    assert attempts.wait_s("ann", "a") == 0


def test_many_names_from_one_address_are_slowed_and_little_is_remembered() -> None:
    attempts = Attempts(lambda: 0.0)
    for number in range(25):
        attempts.failed(f"name-{number}", "a")
    assert attempts.wait_s("another", "a") > 0
    for number in range(30_000):
        attempts.failed(f"name-{number}", f"address-{number}")
    assert len(attempts._kept) <= 20_000


async def test_a_cookie_travels_by_tls_alone_where_others_can_listen(tmp_path: Path) -> None:
    async with Console(plant_in(tmp_path), secure=True) as console:
        console.account("ann")
        browser = console.browser()
        browser.http.base_url = httpx.URL(HOST.replace("http", "https"))
        answer = await browser.sign_in("ann")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-neverblink=")
        assert {"HttpOnly", "Secure", "Path=/"} <= {word.strip() for word in cookie.split(";")}


async def test_every_answer_has_the_headers_that_let_nothing_foreign_run(console: Console) -> None:
    browser = console.browser()
    for path in ("/sign-in", "/nowhere", "/livez", "/static/console.css", "/accounts"):
        answer = await browser.http.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
    assert (await browser.http.get("/sign-in")).headers["cache-control"] == "no-store"


async def test_what_leads_on_leads_to_this_host_alone(console: Console) -> None:
    for wish in ("//evil.example", "https://evil.example", "/\\evil.example", "/a b", "javascript:x", None, "/" * 600):
        assert local_path(wish) == "/"
    assert local_path("/parts/7?x=1") == "/parts/7?x=1"
    console.account("ann")
    answer = await console.browser().sign_in("ann", next="//evil.example")
    assert answer.headers["location"] == "/"


async def test_language_and_theme_are_kept_in_the_browser(console: Console) -> None:
    browser = console.browser()
    assert '<html lang="en" data-theme="auto"' in (await browser.get("/sign-in")).text
    await browser.post("/preferences", {"language": "de", "theme": "dark", "next": "/sign-in"})
    page = (await browser.get("/sign-in")).text
    assert '<html lang="de" data-theme="dark"' in page
    assert "Anmelden" in page
    wrong = await browser.post("/sign-in", {"name": "ann", "password": "x"})
    assert "Name oder Passwort ist falsch." in wrong.text


async def test_no_form_however_odd_breaks_it(console: Console) -> None:
    browser = console.browser()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for body in (b"csrf=" + b"x" * 70_000, b"&".join(b"a=1" for _ in range(600)), b"\xff\xfe", b""):
        answer = await browser.http.post("/sign-in", content=body, headers=headers)
        assert answer.status_code in {403, 413, 422}, body[:9]
    assert (await browser.http.post("/sign-in", json={})).status_code == 415


def test_passwords_are_long_and_not_the_name() -> None:
    for weak in ("short", "aaaaaaaaaaaaaaaa", "abababababab", "x" * 201, "annabel-1234"):
        with pytest.raises(PasswordError):
            check(weak, "annabel")
    check("correct horse battery", "annabel")
    check(one_time(), "annabel")
    assert len({one_time() for _ in range(50)}) == 50


def test_a_hash_takes_the_work_that_rfc_9106_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    text = passwords.hashed("something")
    assert text.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_roles_are_of_lines_and_the_higher_one_counts() -> None:
    roles = Roles({"*": Role.VIEWER, "line-1": Role.ENGINEER})
    assert (roles.on("line-1"), roles.on("line-2"), roles.lines()) == (Role.ENGINEER, Role.VIEWER, None)
    one = Roles({"line-2": Role.REVIEWER})
    assert (one.on("line-1"), one.lines(), one.highest) == (None, ("line-2",), Role.REVIEWER)
    assert Roles.read(roles.words()).held == roles.held
    for wrong in ({}, {"line-1": Role.ADMINISTRATOR}):
        with pytest.raises(RoleError):
            Roles(wrong)
    with pytest.raises(RoleError, match="viewer, operator, reviewer, engineer, administrator"):
        Role.of("king")


def test_beyond_this_machine_tls_is_demanded() -> None:
    with pytest.raises(ValueError, match="passwords and sessions would travel in clear"):
        ConsoleSettings(host="0.0.0.0")
    assert ConsoleSettings().host == "127.0.0.1"
    assert MORNING.tzinfo is not None
