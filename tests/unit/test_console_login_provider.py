"""Signing in at the plant's login provider: who is let in, as whom, and what of its answers is not believed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from console_desk import MORNING, PASSWORD, Console, plant_in
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from login_provider import CLIENT, ISSUER, SECRET, FakeProvider

from neverblink.console.access.accounts import account_of
from neverblink.console.access.audit import entries
from neverblink.console.access.provider.login import Login
from neverblink.console.access.provider.pending import KEPT_S, Pending, opened, sealed
from neverblink.console.access.provider.people import name_from, roles_from
from neverblink.console.access.roles import Role
from neverblink.plant import LoginProvider, PlantError, parse_plant
from neverblink.plant.example import EXAMPLE

pytestmark = pytest.mark.usefixtures("quick_hashing")
GROUPS = {"roles_claim": "groups", "roles": {"vision": {"*": "engineer"}, "hall": {"line-1": "operator"}}}


def settings(folder: Path, **more: Any) -> LoginProvider:
    (folder / "secret").write_text(f"{SECRET}\n")
    given = {"issuer": ISSUER, "client_id": CLIENT, "secret_file": folder / "secret", "title": "Plant login"}
    return LoginProvider.model_validate({"address": "http://127.0.0.1:8760", **given, **more})


class Plant:
    """A console whose plant has a login provider."""

    def __init__(self, folder: Path, more: dict[str, Any], **console: Any) -> None:
        self.provider = FakeProvider(lambda: self.console.now)
        described = settings(folder, **more)
        login = Login(described, lambda: self.console.now, self.provider.transport)
        self.console = Console(plant_in(folder, oidc=described, **console), login=login)

    async def sign_in(self, browser: Any, query: str = "") -> httpx.Response:
        """Go to the provider, be let in there and come back."""
        away = await browser.http.get(f"/sign-in/provider{query}")
        assert away.status_code == 303, away.text
        assert away.headers["location"].startswith(f"{ISSUER}/authorize?")
        answer: httpx.Response = await browser.http.get(self.provider.let_in(away.headers["location"]))
        browser.seen = answer.text
        return answer

    def audit(self) -> list[tuple[str, str, str]]:
        with self.console.access.reading() as connection:
            return [(one.who, one.action, one.subject) for one in entries(connection)]


@pytest.fixture
async def mapped(tmp_path: Path, quick_hashing: None) -> AsyncIterator[Plant]:
    found = Plant(tmp_path, GROUPS)
    found.provider.claims["groups"] = ["vision", "others"]
    async with found.console:
        yield found


@pytest.fixture
async def unmapped(tmp_path: Path, quick_hashing: None) -> AsyncIterator[Plant]:
    found = Plant(tmp_path, {})
    async with found.console:
        yield found


async def test_who_signs_in_there_has_the_roles_of_the_groups_and_goes_on_to_where_the_way_led(mapped: Plant) -> None:
    browser = mapped.console.browser()
    assert "Sign in with Plant login" in (await browser.get("/sign-in")).text
    answer = await mapped.sign_in(browser, "?next=/review")
    assert (answer.status_code, answer.headers["location"]) == (303, "/review")
    page = await browser.get("/wall")
    assert '<span class="name">ann</span>' in page.text
    assert (await browser.http.get("/accounts")).status_code == 403, "an engineer is no administrator"
    assert ("ann", "session.sign-in", "ann") in mapped.audit()
    assert mapped.provider.asked.count("/.well-known/openid-configuration") == 1


async def test_a_person_is_known_by_issuer_and_subject_whatever_the_name_is_now(mapped: Plant) -> None:
    await mapped.sign_in(mapped.console.browser())
    mapped.provider.claims |= {"preferred_username": "ann.married"}
    browser = mapped.console.browser()
    await mapped.sign_in(browser)
    assert '<span class="name">ann</span>' in (await browser.get("/wall")).text
    mapped.provider.claims |= {"sub": "u-2", "preferred_username": "ann"}
    other = mapped.console.browser()
    await mapped.sign_in(other)
    assert '<span class="name">ann-2</span>' in (await other.get("/wall")).text, (
        "another person gets no account of hers"
    )


async def test_claims_that_are_not_in_the_id_token_are_asked_for_and_are_of_the_same_person(mapped: Plant) -> None:
    mapped.provider.claims = {"sub": "u-1"}
    mapped.provider.userinfo = {"sub": "u-1", "preferred_username": "ann", "groups": ["hall"]}
    browser = mapped.console.browser()
    assert (await mapped.sign_in(browser)).status_code == 303
    assert '<span class="name">ann</span>' in (await browser.get("/wall")).text
    mapped.provider.userinfo = {"sub": "u-2", "preferred_username": "eve", "groups": ["vision"]}
    assert (await mapped.sign_in(mapped.console.browser())).status_code == 403


async def test_nobody_gets_an_account_of_the_console_by_having_its_name(mapped: Plant) -> None:
    mapped.console.account("admin", Role.ADMINISTRATOR)
    mapped.provider.claims |= {"preferred_username": "Admin"}
    browser = mapped.console.browser()
    await mapped.sign_in(browser)
    assert (await browser.http.get("/accounts")).status_code == 403
    assert '<span class="name">Admin-2</span>' in (await browser.get("/wall")).text
    assert (await mapped.console.browser().sign_in("admin")).status_code == 303, "accounts of the console go on"
    assert (await mapped.console.browser().sign_in("admin-2", "")).status_code == 403, "and theirs have no password"


async def test_changed_groups_change_the_roles_and_end_open_sessions_and_none_lets_nobody_in(mapped: Plant) -> None:
    browser = mapped.console.browser()
    await mapped.sign_in(browser)
    mapped.provider.claims["groups"] = ["hall"]
    await mapped.sign_in(mapped.console.browser())
    assert (await browser.http.get("/wall")).headers["location"].startswith("/sign-in")
    with mapped.console.access.reading() as connection:
        ann = account_of(connection, "ann")
    assert ann is not None
    assert ann.roles.words() == {"line-1": "operator"}
    assert ("Plant login", "account.change", "ann") in mapped.audit()
    mapped.provider.claims["groups"] = ["others"]
    refused = await mapped.sign_in(mapped.console.browser())
    assert refused.status_code == 403
    assert "gives you no role here" in refused.text


async def test_without_a_mapping_an_administrator_lets_each_person_in_once(unmapped: Plant) -> None:
    console = unmapped.console
    console.account("root", Role.ADMINISTRATOR)
    first = await unmapped.sign_in(console.browser())
    assert first.status_code == 403
    assert "An administrator must let you in" in first.text
    root = console.browser()
    await root.sign_in("root")
    assert "waits to be let in" in (await root.get("/accounts")).text
    assert "Known there as" in (await root.get("/accounts/ann")).text
    console.later(seconds=1)
    await root.post("/accounts/ann", {"role:line-1": "reviewer", "active": "1"})
    browser = console.browser()
    assert (await unmapped.sign_in(browser)).status_code == 303
    assert (await browser.http.get("/review")).status_code == 200
    await root.get("/accounts/ann")
    reset = await root.post("/accounts/ann/password")
    assert "has no password here" in reset.text
    await root.post("/accounts/ann", {"role:line-1": "reviewer"})
    again = await unmapped.sign_in(console.browser())
    assert "may not sign in" in again.text


async def test_a_locked_session_opens_after_the_provider_has_asked_anew(mapped: Plant) -> None:
    browser = mapped.console.browser()
    await mapped.sign_in(browser)
    mapped.console.later(minutes=20)
    assert (await browser.http.get("/wall")).headers["location"].startswith("/unlock")
    assert "/sign-in/provider?fresh=1" in (await browser.get("/unlock?next=/wall")).text
    mapped.provider.claims["auth_time"] = int(MORNING.timestamp())
    stale = await mapped.sign_in(browser, "?fresh=1&next=/wall")
    assert stale.status_code == 403, "it was not asked anew"
    mapped.provider.claims["auth_time"] = int(mapped.console.now.timestamp())
    answer = await mapped.sign_in(browser, "?fresh=1&next=/wall")
    assert answer.headers["location"] == "/wall"
    assert (await browser.http.get("/wall")).status_code == 200


async def test_a_signed_change_wants_a_fresh_word_of_the_provider_and_keeps_the_page_that_waits(tmp_path: Path) -> None:
    plant = Plant(tmp_path, {"roles_claim": "groups", "roles": {"vision": {"*": "administrator"}}}, sign_changes=True)
    plant.provider.claims["groups"] = "vision"
    async with plant.console as console:
        browser = console.browser()
        await plant.sign_in(browser)
        console.later(minutes=6)
        page = await browser.get("/accounts")
        assert "/sign-in/provider?fresh=1&amp;next=/proven" in page.text
        fields = {"name": "bob", "role:*": "viewer", "meaning": "new colleague"}
        refused = await browser.post("/accounts", fields)
        assert refused.status_code == 403
        assert "Say at the login provider who you are" in refused.text
        waiting = browser.seen
        answer = await plant.sign_in(browser, "?fresh=1&next=/proven")
        assert answer.headers["location"] == "/proven"
        assert "send the form" in (await browser.get("/proven")).text
        browser.seen = waiting
        assert 'class="secret"' in (await browser.post("/accounts", fields)).text


async def test_signing_out_leads_on_to_the_provider(mapped: Plant) -> None:
    browser = mapped.console.browser()
    await mapped.sign_in(browser)
    await browser.get("/wall")
    assert (await browser.post("/sign-out")).headers["location"] == "/sign-in?out=1"
    assert "Sign out of Plant login too" in (await browser.get("/sign-in?out=1")).text
    place = (await browser.http.get("/sign-in/provider/out")).headers["location"]
    assert place.startswith(f"{ISSUER}/out?client_id={CLIENT}&post_logout_redirect_uri=http")


WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another program": {"aud": "another"},
    "two programs and no word for which": {"aud": [CLIENT, "another"]},
    "made for another of two": {"aud": [CLIENT, "another"], "azp": "another"},
    "another sign-in": {"nonce": "x"},
    "no nonce": {"nonce": None},
    "expired": {"exp": int((MORNING - timedelta(minutes=2)).timestamp())},
    "no end": {"exp": None},
    "of the future": {"iat": int((MORNING + timedelta(hours=1)).timestamp())},
    "no subject": {"sub": None},
    "an endless subject": {"sub": "x" * 300},
    "a subject that is no text": {"sub": 7},
}


async def test_an_id_token_that_is_wrong_in_one_claim_lets_nobody_in(mapped: Plant) -> None:
    right = dict(mapped.provider.claims)
    for number, (what, claims) in enumerate(WRONG.items()):
        mapped.provider.claims = right | claims
        browser = mapped.console.browser(f"10.0.2.{number}")
        answer = await mapped.sign_in(browser)
        assert (answer.status_code, "has let nobody in" in answer.text) == (403, True), what
        assert (await browser.http.get("/wall")).headers["location"].startswith("/sign-in"), what
    mapped.provider.claims = right
    assert (await mapped.sign_in(mapped.console.browser())).status_code == 303


async def test_an_id_token_that_another_key_signed_or_nobody_is_refused_and_new_keys_are_found(mapped: Plant) -> None:
    mapped.provider.changes["/keys"] = httpx.Response(
        200, json={"keys": [ECKey.generate_key("P-256", {"kid": "one"}).as_dict(private=False)]}
    )
    assert (await mapped.sign_in(mapped.console.browser())).status_code == 403
    none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1LTEifQ."
    mapped.provider.changes["/token"] = httpx.Response(200, json={"id_token": none})
    assert (await mapped.sign_in(mapped.console.browser())).status_code == 403
    mapped.provider.changes.clear()
    mapped.console.later(seconds=31)
    assert (await mapped.sign_in(mapped.console.browser())).status_code == 303, "the provider has changed its key"


async def test_what_comes_back_without_having_been_begun_in_that_browser_lets_nobody_in(mapped: Plant) -> None:
    begun = mapped.console.browser()
    away = await begun.http.get("/sign-in/provider")
    back = mapped.provider.let_in(away.headers["location"])
    victim = mapped.console.browser()
    assert (await victim.http.get(back)).status_code == 403, "somebody else's link"
    wrong = await begun.http.get(back.replace("state=", "state=x"))
    assert wrong.status_code == 403
    away = await begun.http.get("/sign-in/provider")
    mapped.console.later(seconds=KEPT_S + 1)
    late = await begun.http.get(mapped.provider.let_in(away.headers["location"]))
    assert "too long ago" in late.text
    away = await begun.http.get("/sign-in/provider")
    back = mapped.provider.let_in(away.headers["location"])
    assert (await begun.http.get(f"{back}&iss=https://evil.example")).status_code == 403
    away = await begun.http.get("/sign-in/provider")
    back = mapped.provider.let_in(away.headers["location"])
    assert (await begun.http.get(back)).status_code == 303
    assert (await begun.http.get(back)).status_code == 403, "and it counts once"


BROKEN: dict[str, httpx.Response] = {
    "no discovery": httpx.Response(500),
    "another name": httpx.Response(200, json={"issuer": "https://other"}),
    "no JSON": httpx.Response(200, text="<html>"),
    "endless": httpx.Response(200, content=b" " * 600_000),
    "led elsewhere": httpx.Response(302, headers={"location": "http://evil"}),
}


async def test_a_provider_that_is_away_or_odd_is_told_and_accounts_of_the_console_go_on(mapped: Plant) -> None:
    for what, answer in BROKEN.items():
        mapped.provider.changes["/.well-known/openid-configuration"] = answer
        told = await mapped.console.browser().http.get("/sign-in/provider")
        assert (told.status_code, "Accounts of the console go on" in told.text) == (503, True), what
    mapped.console.account("bob")
    assert (await mapped.console.browser().sign_in("bob", PASSWORD)).status_code == 303


async def test_nothing_is_sent_in_clear_wherever_the_provider_points(mapped: Plant) -> None:
    for odd in ({"token_endpoint": "http://login.plant.example/x"}, {"jwks_uri": None}, {"authorization_endpoint": 7}):
        mapped.provider.metadata = odd
        assert (await mapped.console.browser().http.get("/sign-in/provider")).status_code == 503


async def test_without_a_login_provider_its_pages_are_not_there(console: Console) -> None:
    for path in ("/sign-in/provider", "/sign-in/provider/back?code=1&state=2", "/sign-in/provider/out"):
        assert (await console.browser().http.get(path)).status_code == 404


@settings_of_hypothesis(max_examples=30)
@given(st.text(max_size=300))
def test_a_cookie_that_is_not_ours_begins_nothing(text: str) -> None:
    assert opened(text, b"secret", 0) is None


def test_a_begun_sign_in_survives_its_cookie_and_other_marks_sign_nothing() -> None:
    pending = Pending.new("/wall", True, 1000)
    assert opened(sealed(pending, b"secret"), b"secret", 1000 + KEPT_S) == pending
    for value, secret, now in (
        (sealed(pending, b"other"), b"secret", 1000),
        (sealed(pending, b"secret"), b"secret", 1001 + KEPT_S),
        (sealed(pending, b"secret")[1:], b"secret", 1000),
        (None, b"secret", 1000),
    ):
        assert opened(value, secret, now) is None


@settings_of_hypothesis(max_examples=30)
@given(st.none() | st.text(max_size=80) | st.integers() | st.lists(st.text(max_size=9), max_size=3))
def test_whatever_a_provider_claims_gives_a_name_that_may_be_and_no_role_that_is_not_mapped(claim: Any) -> None:
    described = LoginProvider.model_validate(
        {"issuer": ISSUER, "client_id": CLIENT, "address": "https://console", **GROUPS, "roles_claim": "a.b"}
    )
    claims = {"preferred_username": claim, "a": {"b": claim}}
    name = name_from(claims, described, "u-1")
    assert 1 <= len(name) <= 60
    assert name[0].isascii()
    assert roles_from(claims, described) is None or "vision" in str(claim) or "hall" in str(claim)


def test_groups_add_up_and_lie_where_the_claims_name_leads() -> None:
    described = LoginProvider.model_validate(
        {"issuer": ISSUER, "client_id": CLIENT, "address": "https://console", **GROUPS, "roles_claim": "realm.roles"}
    )
    roles = roles_from({"realm": {"roles": ["hall", "vision", 7, None]}}, described)
    assert roles is not None
    assert roles.words() == {"line-1": "operator", "*": "engineer"}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("issuer: http://login.plant.example", "must begin with https://"),
        ("issuer: https://x, roles: {vision: {'*': engineer}}", "go together"),
        ("issuer: https://x, roles_claim: groups, roles: {vision: {line-9: engineer}}", "line 'line-9'"),
        ("issuer: https://x, roles_claim: groups, roles: {vision: {line-1: administrator}}", "of the whole plant"),
        ("issuer: https://x, roles_claim: groups, roles: {vision: {}}", "name no line"),
    ],
)
def test_mistakes_in_the_plant_file_are_told(section: str, told: str) -> None:
    text = f"{EXAMPLE}\nconsole:\n  oidc: {{client_id: c, address: 'https://console', {section}}}\n"
    with pytest.raises(PlantError, match=told):
        parse_plant(text)


def test_a_secret_that_cannot_be_read_is_told_and_never_shown(tmp_path: Path) -> None:
    described = settings(tmp_path)
    assert SECRET not in repr(Login(described, lambda: MORNING).settings)
    (tmp_path / "secret").unlink()
    with pytest.raises(Exception, match="secret_file"):
        Login(described, lambda: MORNING)
