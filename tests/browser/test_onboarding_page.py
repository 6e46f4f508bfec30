"""A new product in one sitting, in a real browser: from a folder of pictures to a model that scores."""

import asyncio
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from console_desk import PASSWORD, Console, quick_hashes
from plates import write_plates
from review_page import now
from review_plant import plant_file

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console import service
from neverblink.console.access.roles import Role
from neverblink.console.runs.book import Runs
from neverblink.model_registry.registry import history_of
from neverblink.plant import ConsoleSettings, Plant, load_plant
from rigs.by_keyboard import faults_by_keyboard, watch
from rigs.served_console import chromium, listening, serious_faults, signed_in

pytestmark = pytest.mark.plant

_GATE = """
import json, os, runpy, sys, time
settings = json.load(open(sys.argv[3]))
held = os.path.join(os.path.dirname(__file__), f"hold-{settings.get('size')}")
while os.path.exists(held):
    time.sleep(0.05)
runpy.run_module("neverblink", run_name="__main__", alter_sys=True)
"""
_SLOW_MS = 300_000
"""A fit loads PyTorch, on a machine that may have other things to do."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


@pytest.fixture
def holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fit at the size N begins once there is no file hold-N here: what runs on, runs on because a test wants it."""
    (tmp_path / "gate.py").write_text(_GATE)
    command = (sys.executable, str(tmp_path / "gate.py"))
    monkeypatch.setattr(service, "Runs", partial(Runs, command=command))
    return tmp_path


def plant_of(bootstrap: str, folder: Path) -> Plant:
    places = {"database": f"sqlite:///{folder / 'console.db'}", "work": folder / "work"}
    console = ConsoleSettings.model_validate({**places, "onboarding": {"folders": [folder / "pictures"]}})
    return load_plant(plant_file(bootstrap, folder)).model_copy(update={"console": console})


def pictures_in(folder: Path) -> Path:
    """Write good plates, a dark one among them, and a file that is none."""
    plates = write_plates(folder / "pictures" / "plates", train=30, test=4)
    good = plates / "train" / "good"
    dark = cv2.imread(str(good / "007.png"))
    cv2.imwrite(str(good / "dark.png"), (dark * 0.4).astype(np.uint8))
    (good / "broken.png").write_bytes((good / "001.png").read_bytes()[:90])
    return plates


async def weeded_out(page: Any, plates: Path) -> None:
    """Begin with the product, look its pictures over, leave out what is dark, and draw where to look, by keys."""
    await page.fill("[name=product]", "plate")
    await page.click("text=Begin >> nth=-1")
    await page.fill("[name=folder]", str(plates))
    await page.click("button:text-is('Look them over')")
    await page.wait_for_selector("#odd", timeout=_SLOW_MS)
    assert "1 cannot" in await page.inner_text("#pictures")
    dark = page.locator(".onb-card", has_text="dark.png")
    assert "darker than the others" in await dark.inner_text()
    await dark.get_by_role("checkbox").check()
    await page.click("#odd button:text-is('Keep this choice')")
    await page.wait_for_selector("#odd >> text=30 pictures stay")
    await page.focus(".onb-drawing")
    for key in ("i", "ArrowLeft", "ArrowUp", "n", "ArrowRight"):
        await page.keyboard.press(key)
    await page.click("button:text-is('Keep this region')")
    await page.wait_for_selector("#region .onb-number.done")
    assert await page.input_value("[name=region]") == "in: 11,11 89,12 88,88 12,88"


async def fit(page: Any, size: int) -> None:
    await page.select_option("#fit [name=size]", str(size))
    await page.click("#fit button:text-is('Make the model')")
    await page.wait_for_selector(".onb-running")


async def test_from_a_folder_to_a_model_that_scores_with_a_job_stopped_and_one_that_outlives_the_console(
    tmp_path: Path, holds: Path
) -> None:
    plates = pictures_in(tmp_path)
    async with DevelopmentBroker() as broker, chromium() as browser:
        plant = plant_of(broker.bootstrap, tmp_path)
        async with Console(plant, clock=now) as console:
            console.account("erin", Role.ENGINEER)
            async with listening(plant, console.access) as address:
                page = await signed_in(browser, address, "erin", PASSWORD)
                await watch(page)
                await page.goto(f"{address}/onboarding")
                await weeded_out(page, plates)
                assert await serious_faults(page) == []
                assert await faults_by_keyboard(page) == {}
                (holds / "hold-256").touch()
                await fit(page, 256)
                await page.click("text=Follow it, or stop it")
                await page.click("text=Stop the job")
                await page.wait_for_selector(".run-status.stopped")
                assert await serious_faults(page) == []
                assert await faults_by_keyboard(page) == {}
                await page.click(".back a")
                assert "stopped" in await page.inner_text("#fit [role=alert]")
                (holds / "hold-128").touch()
                await fit(page, 128)
                place = page.url.removeprefix(address)
                await page.context.close()
            async with listening(plant, console.access) as address:
                page = await signed_in(browser, address, "erin", PASSWORD)
                await page.goto(f"{address}{place}")
                await page.wait_for_selector(".onb-running")
                (holds / "hold-128").unlink()
                await page.wait_for_selector("#activate", timeout=_SLOW_MS)
                assert "of good parts are rejected" in await page.inner_text("#fit")
                assert "Tried on your labelled defects" in await page.inner_text("#promise")
                assert await serious_faults(page) == []
                await page.fill("#activate [name=meaning]", "first model")
                await page.click("#activate button")
                await page.wait_for_selector("#activate >> text=This model was activated")
        (event,) = await asyncio.wait_for(history_of(plant), 60)
    assert (event.key, event.product, event.by, event.why) == ("line-1/top", "plate", "erin", "first model")
    assert event.active is not None
    assert (tmp_path / event.active.location / "manifest.json").is_file()
