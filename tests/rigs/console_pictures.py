"""Pictures of the console's pages for its documents, in four variants: light, dark, German, on a tablet.

    PYTHONPATH=services:tests python -m rigs.console_pictures wall=/wall 'part=/verdicts/{reject}'

makes docs/images/console/wall-light.png and the others, over a seeded plant. A page that wants steps before its
picture is made by `kept` from a script of its own.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from neverblink.console.language import COOKIE
from neverblink.console.pages.showing import THEME_COOKIE
from rigs.seeded_console import PASSWORD, Seeded, seeded_console
from rigs.seeded_day import SeededPart, Shape
from rigs.served_console import chromium, signed_in

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "console"
MOST_BYTES = 150_000
OF_PHOTOGRAPHS = 400_000
"""Bytes of a page with large photographs: fewer colours than 256 would take its thin marks away."""

_COLOURS = (256, 128, 96, 64, 48, 32)
_SETTLED_MS = 700


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to look at a page."""

    name: str
    theme: str = "light"
    language: str = "en"
    width: int = 1920
    height: int = 1080


VARIANTS = (
    Variant("light"),
    Variant("dark", theme="dark"),
    Variant("german", language="de"),
    Variant("tablet", width=820, height=1180),
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A page and how it is called; `steps` are taken before its picture is. `whole` is as high as the page is.

    Without an account it is a stranger's; without `variants` there are all of them.
    """

    name: str
    place: str
    account: str = "admin"
    steps: Callable[[Any], Awaitable[None]] | None = None
    whole: bool = False
    most: int = MOST_BYTES
    variants: tuple[str, ...] = ()

    def wants(self, variant: Variant) -> bool:
        """Say whether a picture is made in this variant."""
        return not self.variants or variant.name in self.variants


async def kept(browser: Any, address: str, shots: Sequence[Shot], folder: Path = FOLDER) -> list[Path]:
    """Keep pictures of pages in all variants, and return their files."""
    found: list[Path] = []
    for account in dict.fromkeys(shot.account for shot in shots):
        for variant in VARIANTS:
            async with _seen(browser, address, account, variant) as page:
                own = [one for one in shots if one.account == account and one.wants(variant)]
                found += [await _kept(page, address, shot, variant, folder) for shot in own]
    return found


@asynccontextmanager
async def _seen(browser: Any, address: str, account: str, variant: Variant) -> AsyncIterator[Any]:
    size = {"width": variant.width, "height": variant.height}
    if account:
        page = await signed_in(browser, address, account, PASSWORD, **size)
    else:
        page = await (await browser.new_context(viewport=size, locale="en-GB")).new_page()
    choices = {COOKIE: variant.language, THEME_COOKIE: variant.theme}
    await page.context.add_cookies([{"name": name, "value": word, "url": address} for name, word in choices.items()])
    try:
        yield page
    finally:
        await page.context.close()


async def _kept(page: Any, address: str, shot: Shot, variant: Variant, folder: Path) -> Path:
    await page.goto(f"{address}{shot.place}")
    await page.wait_for_load_state("load")
    if shot.steps is not None:
        await shot.steps(page)
    await page.wait_for_timeout(_SETTLED_MS)  # for fonts and pictures to be drawn; nothing depends on it
    seen = await page.screenshot(full_page=shot.whole)
    return await asyncio.to_thread(_written, folder / f"{shot.name}-{variant.name}.png", seen, shot.most)


def _written(file: Path, png: bytes, most: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(small(png, most))
    return file


def small(png: bytes, most: int = MOST_BYTES) -> bytes:
    """Return a picture with a palette, of as many colours as fit `most` bytes.

    The page's own colours are kept as they are: a palette of means would tint its greys by what photographs have.
    """
    image = Image.open(BytesIO(png)).convert("RGB")
    coded = b""
    for colours in _COLOURS:
        palette = Image.new("P", (1, 1))
        palette.putpalette(_palette(image, colours))
        held = BytesIO()
        image.quantize(palette=palette, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
        coded = held.getvalue()
        if len(coded) <= most:
            break
    return coded


def _palette(image: Image.Image, colours: int) -> list[int]:
    """Return red, green and blue of half as many colours that are seen most, and of as many means of all.

    A colour that is far from grey counts for more: a page has few of them, and they say what needs somebody.
    """
    seen = np.asarray(image, np.uint8).reshape(-1, 3).astype(np.int32)
    # Each colour as one number: to sort rows takes ten times as long.
    numbers, counts = np.unique(seen[:, 0] << 16 | seen[:, 1] << 8 | seen[:, 2], return_counts=True)
    found = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=1)
    colourful = np.ptp(found, axis=1) / 255
    own = found[np.argsort(-counts * (1 + 20 * colourful**2))[: colours // 2]].ravel()
    means = image.quantize(colours - len(own) // 3, Image.Quantize.MEDIANCUT).getpalette() or []
    return [*map(int, own), *means][: 3 * colours]


def placed(place: str, seeded: Seeded) -> str:
    """Return a page's place with what it names put in: `{reject}`, `{board}` and `{good}` are verdicts with
    pictures; the board's tells its named regions.
    """

    def verdict(part: SeededPart) -> str:
        return next((one.id for one in part.verdicts if one.defects), part.verdicts[0].id)

    reject = seeded.part_where(lambda one: one.found is not None and one.review is not None)
    board = seeded.part_where(lambda one: one.found == "missing_component" and one.holds_picture)
    good = seeded.part_where(lambda one: one.found is None and one.holds_picture)
    return place.format(reject=verdict(reject), board=verdict(board), good=verdict(good))


async def _made(pages: Sequence[str], account: str, hours: float, folder: Path, most: int) -> None:
    with tempfile.TemporaryDirectory(prefix="console-pictures-") as place:
        async with seeded_console(Path(place), Shape(hours=hours)) as seeded, chromium() as browser:
            named = (one.split("=", 1) for one in pages)
            shots = [Shot(name, placed(where, seeded), account, most=most) for name, where in named]
            for file in await kept(browser, seeded.address, shots, folder):
                sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("pages", nargs="+", metavar="NAME=PLACE")
    reader.add_argument("--account", default="admin")
    reader.add_argument("--hours", type=float, default=26.0)
    reader.add_argument("--out", type=Path, default=FOLDER)
    reader.add_argument("--photographs", action="store_true", help="for pages with large photographs: more bytes")
    asked = reader.parse_args()
    most = OF_PHOTOGRAPHS if asked.photographs else MOST_BYTES
    asyncio.run(_made(asked.pages, asked.account, asked.hours, asked.out, most))
