"""Pictures of every page of the console, in all variants, over one seeded plant: what the documents show.

    PYTHONPATH=services:tests python -m rigs.console_atlas [NAME …] [--out FOLDER]

A new product is really made, by a job, so that its pages have something to show; at the end the broker is stopped
and the records are broken, and what pages say then is kept too.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

from neverblink.simulation.parts import Simulation
from rigs.console_pictures import FOLDER, OF_PHOTOGRAPHS, Shot, kept, placed, small
from rigs.lying_boards import write_boards
from rigs.seeded_console import PASSWORD, Seeded, seeded_console
from rigs.seeded_day import TYPES
from rigs.served_console import chromium, signed_in

_JOB_MS = 600_000
"""A fit loads PyTorch, on a machine that may have other things to do."""
_GOOD, _BAD = 64, 6
_FEW = ("light", "german")
_SIDES = ("top", "right", "bottom", "left")


def _to(selector: str) -> Callable[[Any], Awaitable[None]]:
    """Return the step that follows a link."""

    async def steps(page: Any) -> None:
        await page.locator(selector).first.click()
        await page.wait_for_load_state("load")

    return steps


def _at(selector: str) -> Callable[[Any], Awaitable[None]]:
    """Return the step that scrolls until something is at the top."""

    async def steps(page: Any) -> None:
        await page.eval_on_selector(selector, "one => one.scrollIntoView()")

    return steps


async def _taken(page: Any) -> None:
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#bench[data-ready]")


async def _new_product(page: Any, name: str = "disc") -> None:
    await page.locator(f"main td a:text-is('{name}')").first.click()
    await page.wait_for_load_state("load")


def _product_at(part: str, name: str = "disc") -> Callable[[Any], Awaitable[None]]:
    async def steps(page: Any) -> None:
        await _new_product(page, name)
        await _at(part)(page)

    return steps


async def _examples(page: Any) -> None:
    await _new_product(page, "board")
    await page.click(".place-examples a")
    await page.wait_for_load_state("load")


async def _printed(browser: Any, seeded: Seeded, out: Path) -> Path:
    """Keep the first pages of a report as they come out of a printer: A4, side by side."""
    page = await signed_in(browser, seeded.address, "admin", PASSWORD)
    await page.goto(f"{seeded.address}/quality/reports")
    await _report(page)
    paper = await page.pdf(format="A4", print_background=True, margin=dict.fromkeys(_SIDES, "12mm"))
    await page.context.close()
    return await asyncio.to_thread(_drawn, paper, out / "quality-report-printed.png")


def _drawn(paper: bytes, file: Path) -> Path:
    with tempfile.TemporaryDirectory() as place:
        given, pages = Path(place) / "report.pdf", Path(place) / "page"
        given.write_bytes(paper)
        subprocess.run(["pdftoppm", "-png", "-r", "80", "-l", "3", given, pages], check=True)
        drawn = [Image.open(one).convert("RGB") for one in sorted(Path(place).glob("page*.png"))]
        sheet = Image.new("RGB", (sum(one.width + 12 for one in drawn), drawn[0].height), (120, 120, 120))
        for number, one in enumerate(drawn):
            sheet.paste(one, (number * (one.width + 12), 0))
        held = BytesIO()
        sheet.save(held, "PNG")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(small(held.getvalue()))
    return file


async def _report(page: Any) -> None:
    await page.locator("main tbody a").nth(2).click()
    await page.wait_for_load_state("load")


NOW = (
    Shot("wall", "/wall"),
    Shot("wall-full", "/wall?full=1", variants=("light", "dark")),
    Shot("wall-line", "/wall/line-1"),
)
"""What is only as it should be while parts have just come."""

CALM = (
    Shot("sign-in", "/sign-in", account=""),
    Shot("part", "/verdicts/{reject}", most=OF_PHOTOGRAPHS),
    Shot("part-regions", "/verdicts/{board}", steps=_at(".score"), most=OF_PHOTOGRAPHS, variants=_FEW),
    Shot("review-begin", "/review", account="rita"),
    Shot("review", "/review", account="rita", steps=_taken, most=OF_PHOTOGRAPHS),
    Shot("review-keys", "/review/keys", account="rita"),
    Shot("alarms", "/alarms"),
    Shot("alarm", "/alarms", steps=_to(".alarm h2 a, .alarm a")),
    Shot("performance", "/alarms/performance"),
    Shot("health", "/health"),
    Shot("quality", "/quality"),
    Shot("quality-drift", "/quality/drift", steps=_to(".drift-station.watch")),
    Shot("quality-reports", "/quality/reports"),
    Shot("quality-report", "/quality/reports", steps=_report),
    Shot("quality-agreement", "/quality/agreement"),
    Shot("models", "/models"),
    Shot("station", "/models/at/line-2/top"),
    Shot("artifact", "/models", steps=_to("a[href^='/models/artifacts/']")),
    Shot("threshold", "/models/at/line-1/top/threshold"),
    Shot("change", "/models/at/line-2/top", steps=_to("a[href$='what=promote']")),
    Shot("accounts", "/accounts"),
    Shot("account", "/accounts", steps=_to("main td a")),
    Shot("tokens", "/tokens"),
    Shot("audit", "/audit"),
    Shot("new-products", "/onboarding", account="erin"),
    Shot("new-product", "/onboarding", account="erin", steps=_new_product),
    Shot("new-product-odd", "/onboarding", account="erin", steps=_product_at("#odd")),
    Shot("new-product-region", "/onboarding", account="erin", steps=_product_at("#region")),
    Shot("new-product-lie", "/onboarding", account="erin", steps=_product_at("#lie", "board"), most=OF_PHOTOGRAPHS),
    Shot("new-product-named", "/onboarding", account="erin", steps=_product_at("#named", "board")),
    Shot("new-product-examples", "/onboarding", account="erin", steps=_examples),
    Shot("new-product-try", "/onboarding", account="erin", steps=_product_at("#try", "board"), most=OF_PHOTOGRAPHS),
    Shot("new-product-model", "/onboarding", account="erin", steps=_product_at("#fit")),
    Shot("new-product-promise", "/onboarding", account="erin", steps=_product_at("#promise")),
    Shot("jobs", "/runs", account="erin"),
    Shot("job", "/runs", account="erin", steps=_to("main td a")),
    Shot("not-there", "/parts/999999999"),
)
KAFKA_AWAY = (
    Shot("wall-kafka-away", "/wall", variants=_FEW),
    Shot("health-kafka-away", "/health", variants=_FEW),
    Shot("review-kafka-away", "/review", account="rita", variants=_FEW),
    Shot("alarms-kafka-away", "/alarms", variants=_FEW),
    Shot("models-kafka-away", "/models", variants=_FEW),
)
ALL_AWAY = (
    Shot("wall-away", "/wall", variants=_FEW),
    Shot("part-away", "/verdicts/{reject}", variants=_FEW),
    Shot("quality-away", "/quality", variants=_FEW),
    Shot("health-away", "/health", variants=_FEW),
    Shot("alarms-away", "/alarms", variants=_FEW),
)
_OF_PRODUCTS = ("new-product", "job")


def _pictures(folder: Path) -> Path:
    """Write good discs, a dark one and a copy among them, and defective ones."""
    drawing = Simulation(product="disc")
    for number in range(_GOOD):
        _write(folder / "train" / "good" / f"{number:03}.png", drawing.good(number).image)
    _write(folder / "train" / "good" / "dark.png", drawing.good(3).image // 2)
    _write(folder / "train" / "good" / "copy.png", drawing.good(5).image)
    for number in range(_BAD):
        _write(folder / "test" / "good" / f"{number:03}.png", drawing.good(900 + number).image)
        for kind, _, _ in TYPES["disc"]:
            bad = drawing.defective(kind, number)
            _write(folder / "test" / kind / f"{number:03}.png", bad.image)
            _write(folder / "ground_truth" / kind / f"{number:03}_mask.png", bad.mask.astype("uint8") * 255)
    return folder


def _write(file: Path, image: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


async def _made_product(browser: Any, seeded: Seeded, folder: Path) -> None:
    """Make a new product in one sitting, but for letting it score."""
    page = await signed_in(browser, seeded.address, "erin", PASSWORD)
    await page.goto(f"{seeded.address}/onboarding")
    await page.fill("[name=product]", "disc")
    await page.select_option("[name=line]", "line-2")
    await page.click("text=Begin >> nth=-1")
    await page.fill("[name=folder]", str(folder))
    await page.click("button:text-is('Look them over')")
    await page.wait_for_selector("#odd", timeout=_JOB_MS)
    await page.focus(".onb-drawing")
    for key in ("i", "ArrowLeft", "ArrowUp", "n", "ArrowRight"):
        await page.keyboard.press(key)
    await page.click("button:text-is('Keep this region')")
    await page.wait_for_selector("#region .onb-number.done")
    await page.select_option("#fit [name=size]", "128")
    await page.click("#fit button:text-is('Make the model')")
    await page.wait_for_selector("#activate", timeout=_JOB_MS)
    await page.context.close()


_REGIONS = (
    ("processor", "judged", "170,138 240,138 240,240 170,240"),
    ("connector", "judged", "272,60 316,60 316,256 272,256"),
    ("markings", "ignored", "184,240 244,240 244,256 184,256"),
    ("capacitors", "presence", "36,126 80,126 80,200 36,200"),
)
"""On the upright board, in its pixels."""

_EXAMPLES = 3
"""Of the boards that lack a capacitor: the model is tried on the others."""


async def _made_boards(browser: Any, seeded: Seeded, folder: Path) -> None:
    """Make a model of boards that lie anyhow, with named regions, and try it on some."""
    page = await signed_in(browser, seeded.address, "erin", PASSWORD)
    await page.goto(f"{seeded.address}/onboarding")
    await page.fill("[name=product]", "board")
    await page.select_option("[name=line]", "line-1")
    await page.click("text=Begin >> nth=-1")
    await page.fill("[name=folder]", str(folder))
    await page.click("button:text-is('Look them over')")
    await page.wait_for_selector("#lie", timeout=_JOB_MS)
    for number, (name, kind, polygon) in enumerate(_REGIONS):
        await page.focus("#onb-named .onb-drawing")
        await page.keyboard.press("a")
        await page.fill(f"[name=name-{number}]", name)
        await page.select_option(f"[name=kind-{number}]", kind)
        await page.fill(f"[name=polygon-{number}]", polygon)
    await page.click("button:text-is('Keep these regions')")
    await page.wait_for_selector("#named .onb-number.done")
    await page.click(".place-examples a")
    for box in (await page.locator(".onb-card:has-text('missing') [name=pick]").all())[:_EXAMPLES]:
        await box.check()
    await page.click("button:text-is('Take them as examples')")
    await page.click(".back a")
    await page.select_option("#fit [name=size]", "256")
    await page.click("#fit button:text-is('Make the model')")
    await page.wait_for_selector("#try", timeout=_JOB_MS)
    lacking = await page.locator("#try .onb-card:has-text('missing') [name=pick]").all()
    others = await page.locator("#try .onb-card:not(:has-text('missing')) [name=pick]").all()
    for box in (*lacking[_EXAMPLES:], *others[:5]):
        await box.check()
    await page.click("#try button:text-is('Choose these')")
    await page.click("#try button:text-is('Try the model')")
    await page.wait_for_selector("#try .try-card", timeout=_JOB_MS)
    await page.context.close()


@asynccontextmanager
async def _plant(folder: Path) -> AsyncIterator[tuple[Any, Seeded]]:
    console = {"work": f"{folder}/work", "onboarding": {"folders": [str(folder / "pictures")]}}
    async with seeded_console(folder, console=console) as seeded, chromium() as browser:
        yield browser, seeded


async def _written(names: Sequence[str], out: Path) -> None:
    def chosen(shots: Sequence[Shot]) -> list[Shot]:
        return [one for one in shots if not names or one.name in names]

    async def shown(shots: Sequence[Shot]) -> None:
        ready = [replace(one, place=placed(one.place, seeded)) for one in chosen(shots)]
        for file in await kept(browser, seeded.address, ready, out):
            sys.stdout.write(f"{file}\n")
            sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="console-atlas-") as place:
        async with _plant(Path(place)) as (browser, seeded):
            await shown(NOW)
            if any(one.name.startswith(_OF_PRODUCTS) for one in chosen(CALM)):
                pictures = await asyncio.to_thread(_pictures, Path(place) / "pictures" / "discs")
                await _made_product(browser, seeded, pictures)
                boards = await asyncio.to_thread(write_boards, Path(place) / "pictures" / "boards")
                await _made_boards(browser, seeded, boards)
            await shown(CALM)
            if not names or "quality-report-printed" in names:
                sys.stdout.write(f"{await _printed(browser, seeded, out)}\n")
            if chosen(KAFKA_AWAY) or chosen(ALL_AWAY):
                await seeded.broker.stop()
                await asyncio.sleep(12)  # until the console has called it an outage
            await shown(KAFKA_AWAY)
            if chosen(ALL_AWAY):
                # In place: a file that is only renamed goes on being read by whoever has it open.
                ledger = Path(place) / "ledger.db"
                await asyncio.to_thread(ledger.write_bytes, b"this is no database at all, " * 200)
                await asyncio.sleep(12)
            await shown(ALL_AWAY)


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("names", nargs="*", metavar="NAME", help="which pages; none: all of them")
    reader.add_argument("--out", type=Path, default=FOLDER)
    asked = reader.parse_args()
    asyncio.run(_written(asked.names, asked.out))
