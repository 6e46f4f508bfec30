"""Signing in at a login provider that is not ours, in a browser: npm's `oidc-provider`, in a process of its own."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from console_desk import Console, plant_in, quick_hashes

from neverblink.brokers.apache import free_port
from neverblink.console.access.audit import entries
from neverblink.console.service import serve
from neverblink.plant import Plant
from rigs.real_parts import without
from rigs.served_console import chromium, serious_faults

pytestmark = pytest.mark.plant
WITHIN_MS = 30_000
HERE = Path(__file__).parent
SECRET = "the-secret-of/the+client:100%"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


@contextlib.asynccontextmanager
async def login_provider(console: str) -> AsyncIterator[str]:
    """Run the provider, and give its issuer: another site than the console's, as in a plant."""
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules/oidc-provider").exists():
        without("oidc-provider", "it is not installed: `make test-plant` does so where npm has a registry")
    port = free_port()
    words = (node, "login_provider.mjs", str(port), f"{console}/sign-in/provider/back", f"{console}/sign-in")
    process = await asyncio.create_subprocess_exec(
        *words, cwd=HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WITHIN_MS / 1000):
            while b"ready" not in (line := await process.stdout.readline()):
                assert line, "the provider ended"
        yield f"http://localhost:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def plant_with(folder: Path, port: int, issuer: str) -> Plant:
    (folder / "secret").write_text(SECRET)
    oidc = {
        "issuer": issuer, "client_id": "neverblink-console", "secret_file": folder / "secret", "title": "Plant login",
        "address": f"http://127.0.0.1:{port}", "roles_claim": "groups", "roles": {"vision": {"*": "engineer"}},
    }  # fmt: skip
    return plant_in(folder, port=port, oidc=oidc)


async def let_in(page: Any, name: str) -> None:
    """Sign in at the provider's own page."""
    await page.fill("[name=login]", name)
    await page.fill("[name=password]", "anything")
    await page.click("button[type=submit]")
    await page.wait_for_load_state()
    if "/interaction/" in page.url:  # it asks whether the console may know
        await page.click("button[type=submit]")


@pytest.mark.timeout(300)
async def test_who_signs_in_there_works_here_is_asked_anew_after_the_lock_and_signs_out_of_both(
    tmp_path: Path,
) -> None:
    port = free_port()
    address, stop = f"http://127.0.0.1:{port}", asyncio.Event()
    async with login_provider(address) as issuer, Console(plant_with(tmp_path, port, issuer)) as console:
        service = asyncio.create_task(serve(console.plant, console.access, stop))
        try:
            async with chromium() as browser:
                await _walk(await _page(browser), address)
                other = await _page(browser)
                await other.goto(f"{address}/sign-in")
                await other.get_by_text("Sign in with Plant login").click()
                await let_in(other, "bob")
                await other.get_by_text("gives you no role here").wait_for()
        finally:
            stop.set()
            await asyncio.wait_for(service, 30)
        with console.access.reading() as connection:
            told = [(one.who, one.action) for one in entries(connection)]
    assert told == [
        ("Plant login", "account.make"),
        ("ann", "session.sign-in"),
        ("ann", "session.sign-in"),
        ("ann", "session.sign-out"),
        ("Plant login", "session.refused"),
    ]


async def _page(browser: Any) -> Any:
    """Return a page of a browser of its own that reaches this machine alone: the provider's pages want fonts."""
    context = await browser.new_context(locale="en-GB")
    await context.route(re.compile(r"^https?://(?!127\.0\.0\.1|localhost)"), lambda route: route.abort())
    page = await context.new_page()
    page.set_default_timeout(WITHIN_MS)
    return page


async def _walk(page: Any, address: str) -> None:
    """Sign in, be locked, go on, sign out of both."""
    await page.goto(f"{address}/sign-in?next=/review")
    assert await serious_faults(page) == []
    await page.get_by_text("Sign in with Plant login").click()
    await let_in(page, "ann")
    await page.wait_for_url(f"{address}/review")
    await page.get_by_role("button", name="Lock").click()
    await page.wait_for_url(f"{address}/unlock")
    assert await serious_faults(page) == []
    await page.get_by_text("Sign in with Plant login").click()
    await let_in(page, "ann")
    await page.wait_for_url(f"{address}/wall")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_text("Sign out of Plant login too").click()
    await page.get_by_text("Yes, sign me out").click()
    await page.wait_for_url(f"{address}/sign-in**")
    await page.get_by_text("Sign in with Plant login").click()
    await page.locator("[name=login]").wait_for()
