"""Parts that lie anyhow, in a real browser: shown upright, regions drawn on them by mouse, finger and keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from console_desk import PASSWORD, Console, quick_hashes
from lying_parts import ground, lying
from review_page import now
from review_plant import plant_file

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.access.roles import Role
from neverblink.console.onboarding.named import kept
from neverblink.console.onboarding.products import NewProducts
from neverblink.plant import ConsoleSettings, Plant, load_plant
from rigs.by_keyboard import faults_by_keyboard, watch
from rigs.served_console import chromium, listening, serious_faults, signed_in

pytestmark = pytest.mark.plant

_SLOW_MS = 300_000
"""A job runs at the lowest priority, on whatever the machine has left."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


def belt(folder: Path) -> Path:
    """Write pictures of plates that lie anyhow, and one of the bare belt."""
    folder.mkdir(parents=True)
    for number in range(21):
        cv2.imwrite(str(folder / f"{number:03}.png"), lying(number).picture[..., ::-1])
    cv2.imwrite(str(folder / "bare.png"), ground(240, 320, np.random.default_rng(1))[..., ::-1])
    return folder


def plant_of(bootstrap: str, folder: Path) -> Plant:
    places = {"database": f"sqlite:///{folder / 'console.db'}", "work": folder / "work"}
    console = ConsoleSettings.model_validate({**places, "onboarding": {"folders": [folder / "pictures"]}})
    return load_plant(plant_file(bootstrap, folder)).model_copy(update={"console": console})


async def looked_over(page: Any, address: str, folder: Path) -> None:
    await page.goto(f"{address}/onboarding")
    await page.fill("[name=product]", "plate")
    await page.click("button:text-is('Begin')")
    await page.fill("[name=folder]", str(folder))
    await page.click("button:text-is('Look them over')")
    await page.wait_for_selector("#lie", timeout=_SLOW_MS)


async def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return where a place of the picture, as a share of its sides, is on the screen."""
    box = await page.locator("#onb-named svg").bounding_box()
    return box["x"] + box["width"] * x, box["y"] + box["height"] * y


async def size_of(page: Any) -> tuple[int, int]:
    """Return width and height of the picture that is drawn upon, in its own pixels."""
    told = await page.evaluate("document.getElementById('onb-named').dataset")
    return int(told["width"]), int(told["height"])


async def corners(page: Any, row: int) -> list[tuple[float, float]]:
    text = await page.input_value(f"[name=polygon-{row}]")
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


async def drawn_by_clicks(page: Any, size: tuple[int, int]) -> None:
    """Draw a triangle by four clicks, the last on the first corner."""
    await page.locator("#onb-named .onb-drawing").scroll_into_view_if_needed()
    # What is loaded late moves what lies below it.
    for image in await page.locator(".onb-drawing img").all():
        await image.evaluate("(one) => { one.loading = 'eager'; return one.decode(); }")
    await page.click("#onb-named [data-do=draw]")
    for place in ((0.2, 0.2), (0.5, 0.2), (0.5, 0.6), (0.2, 0.2)):
        await page.mouse.click(*await at(page, *place))
    wanted = [(0.2, 0.2), (0.5, 0.2), (0.5, 0.6)]
    for (x, y), (across, down) in zip(await corners(page, 0), wanted, strict=True):
        assert (x / size[0], y / size[1]) == (pytest.approx(across, abs=0.01), pytest.approx(down, abs=0.01))
    await page.fill("[name=name-0]", "connector")
    await page.fill("[name=share-0]", "25")


async def drawn_by_keys(page: Any) -> None:
    """Add a region by keys, move a corner, give it another and take one away."""
    await page.focus("#onb-named .onb-drawing")
    await page.keyboard.press("a")
    before = await corners(page, 1)
    for key in ("n", "ArrowRight", "c", "x"):
        await page.keyboard.press(key)
    after = await corners(page, 1)
    assert after == [before[0], (before[1][0] + 1, before[1][1]), *before[2:]]
    await page.select_option("[name=kind-1]", "presence")


async def dragged_by_finger(page: Any, row: int, place: int) -> None:
    before = await corners(page, row)
    size = await size_of(page)
    fingers = await page.context.new_cdp_session(page)
    await fingers.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    x, y = before[place][0] / size[0], before[place][1] / size[1]
    steps = [(x, y), (x - 0.05, y - 0.04), (x - 0.1, y - 0.08)]
    for kind, spot in (("touchStart", steps[0]), *(("touchMove", one) for one in steps[1:]), ("touchEnd", None)):
        points = [] if spot is None else [dict(zip("xy", await at(page, *spot), strict=True))]
        await fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    await fingers.send("Emulation.setTouchEmulationEnabled", {"enabled": False})
    after = await corners(page, row)
    wanted = (steps[2][0] * size[0], steps[2][1] * size[1])
    assert after[place] == (pytest.approx(wanted[0], abs=1.5), pytest.approx(wanted[1], abs=1.5))
    assert [*after[:place], *after[place + 1 :]] == [*before[:place], *before[place + 1 :]]


async def test_parts_that_lie_anyhow_are_shown_upright_and_regions_are_drawn_on_them(tmp_path: Path) -> None:
    folder = belt(tmp_path / "pictures" / "plates")
    async with DevelopmentBroker() as broker, chromium() as browser:
        plant = plant_of(broker.bootstrap, tmp_path)
        async with Console(plant, clock=now) as console, listening(plant, console.access) as address:
            console.account("erin", Role.ENGINEER)
            page = await signed_in(browser, address, "erin", PASSWORD)
            await watch(page)
            await looked_over(page, address, folder)
            lie = " ".join((await page.inner_text("#lie")).split())
            assert "These parts lie anyhow." in lie
            assert "A part is found in 21 of 22 pictures." in lie
            assert "no part stands out from the ground" in lie
            assert await page.locator("#lie .lie-pair img").count() == 40
            size = await size_of(page)
            await drawn_by_clicks(page, size)
            await drawn_by_keys(page)
            await dragged_by_finger(page, 1, 2)
            await page.fill("[name=name-1]", "connector")
            await page.click("button:text-is('Keep these regions')")
            await page.wait_for_selector("#named .place-fault:not([hidden])")
            assert "another region has this name already" in await page.inner_text("#named")
            assert await serious_faults(page) == []
            assert await faults_by_keyboard(page) == {}
            await page.fill("[name=name-1]", "screw-2")
            drawn = [await corners(page, row) for row in (0, 1)]
            await page.click("button:text-is('Keep these regions')")
            await page.wait_for_selector("#named .onb-number.done")
            assert [await corners(page, row) for row in (0, 1)] == drawn
            assert "absent 0, wrong 0, turned round 0" in await page.inner_text("#named")
            products = NewProducts(plant.console.work)
            (product,) = products.newest()
            found = kept(products.folder(product.id), product.regions)
            assert found is not None
            assert [(one.name, one.kind, one.share) for one in found.regions] == [
                ("connector", "judged", 0.25), ("screw-2", "presence", None),
            ]  # fmt: skip
            assert (found.width, found.height) == size
            await page.click("#named a[href*='/regions/screw-2']")
            await page.wait_for_url("**/regions/screw-2")
            assert await serious_faults(page) == []
            assert await faults_by_keyboard(page) == {}
