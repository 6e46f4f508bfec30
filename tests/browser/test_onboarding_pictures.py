"""Pictures of a new product in a real browser: sent from one's own computer or taken from the line, and drawn upon."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console_desk import PASSWORD, Console, quick_hashes
from plates import write_plates
from review_page import now, with_console
from review_plant import plant_file

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.access.roles import Role
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.plant import Plant, load_plant
from rigs.scored_line import ScoredLine, sent
from rigs.served_console import chromium, listening, signed_in

pytestmark = pytest.mark.plant

SLOW_MS = 300_000
"""A job runs at the lowest priority, on whatever the machine has left."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


def pictures_to_send(folder: Path) -> list[Path]:
    """Write three pictures, an archive of four, of two in a folder and of what is none, and a torn picture."""
    good = sorted((write_plates(folder / "plates", train=9, test=1) / "train/good").iterdir())
    with zipfile.ZipFile(folder / "shift.zip", "w") as archive:
        for number, path in enumerate(good[3:]):
            archive.write(path, path.name if number < 4 else f"others/{path.name}")
        archive.writestr("notes.txt", "taken in the morning")
    (folder / "torn.png").write_bytes(good[0].read_bytes()[:90])
    return [*good[:3], folder / "shift.zip", folder / "torn.png"]


async def begun(page: Any, address: str) -> None:
    await page.goto(f"{address}/onboarding")
    await page.fill("[name=product]", "plate")
    await page.click("button:text-is('Begin')")
    await page.wait_for_url("**/onboarding/*")


async def looked_over(page: Any) -> str:
    """Wait until the pictures have been looked over; return what is said of them."""
    await page.wait_for_selector("#odd, main .fault", timeout=SLOW_MS)
    assert await page.locator("main .fault").all_inner_texts() == []
    return " ".join((await page.inner_text("#pictures")).split())


async def corners(page: Any) -> list[tuple[float, float]]:
    """Return the corners of the one region that is drawn, in percent."""
    kind, _, drawn = (await page.input_value("[name=region]")).partition(": ")
    assert kind == "in"
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in drawn.split())]


async def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return where a place of the picture, in percent, is on the screen."""
    box = await page.locator("#onb-region svg").bounding_box()
    return box["x"] + box["width"] * x / 100, box["y"] + box["height"] * y / 100


async def drawn_by_mouse(page: Any) -> None:
    await page.click("button[data-do=in]")
    await page.locator("#onb-region .onb-drawing").scroll_into_view_if_needed()
    assert await corners(page) == [(12, 12), (88, 12), (88, 88), (12, 88)]
    for begin, end in (((12, 12), (20, 30)), ((50, 50), (55, 45))):
        await page.mouse.move(*await at(page, *begin))
        await page.mouse.down()
        await page.mouse.move(*await at(page, *end), steps=4)
        await page.mouse.up()
    wanted = [(25, 25), (93, 7), (93, 83), (17, 83)]
    assert await corners(page) == [(pytest.approx(x, abs=0.6), pytest.approx(y, abs=0.6)) for x, y in wanted]


async def drawn_by_finger(page: Any) -> None:
    """Drag a corner as a touch screen tells it."""
    before = await corners(page)
    fingers = await page.context.new_cdp_session(page)
    await fingers.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    places = [before[2], (before[2][0] - 8, before[2][1] - 4), (before[2][0] - 16, before[2][1] - 8)]
    for kind, place in (("touchStart", places[0]), *(("touchMove", one) for one in places[1:]), ("touchEnd", None)):
        points = [] if place is None else [dict(zip("xy", await at(page, *place), strict=True))]
        await fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    after = await corners(page)
    assert after[2] == (pytest.approx(places[2][0], abs=0.6), pytest.approx(places[2][1], abs=0.6))
    assert [*after[:2], after[3]] == [*before[:2], before[3]], "the page did not scroll, and no other corner moved"


async def frames_of_the_line(plant: Plant, folder: Path) -> None:
    line, good = ScoredLine(plant.kafka.bootstrap, folder, "plate"), sorted((folder / "plates/train/good").iterdir())
    frames = [line.frame(number, body=path.read_bytes()) for number, path in enumerate(good, 1)]
    await ensure_topics(plant.kafka)
    async with EventProducer(plant.kafka, source="/test", client_id="test") as producer:
        await sent(producer, *frames)


async def test_pictures_are_sent_or_taken_from_the_line_and_a_region_is_drawn_by_mouse_and_finger(
    tmp_path: Path,
) -> None:
    files = pictures_to_send(tmp_path)
    async with DevelopmentBroker() as broker, chromium() as browser:
        file = plant_file(broker.bootstrap, tmp_path)
        plant = with_console(load_plant(file), tmp_path, work=str(tmp_path / "work"))
        await frames_of_the_line(plant, tmp_path)
        async with Console(plant, clock=now) as console:
            console.account("erin", Role.ENGINEER)
            async with listening(plant, console.access, file) as address:
                page = await signed_in(browser, address, "erin", PASSWORD)
                await begun(page, address)
                await page.set_input_files("[name=files]", files)
                await page.click("button:text-is('Send')")
                await page.click("button:text-is('Look over what was sent')")
                said = await looked_over(page)
                assert "7 pictures can be used · 1 cannot" in said
                assert "2 pictures in sub-folders" in said
                await page.click("summary:has-text('cannot be used')")
                assert "torn.png" in await page.inner_text("#pictures ul")

                await drawn_by_mouse(page)
                await drawn_by_finger(page)
                drawn = await page.input_value("[name=region]")
                await page.click("button:text-is('Keep this region')")
                await page.wait_for_selector("#region .onb-number.done")
                assert await page.input_value("[name=region]") == drawn

                await begun(page, address)
                await page.select_option("[name=station]", "line-1/top")
                await page.fill("[name=hours]", "1,5")
                await page.fill("[name=count]", "6")
                await page.click("button:text-is('Take and look over')")
                assert "6 pictures can be used" in await looked_over(page)
