"""An engineer before the page of one new product, whose jobs come to what a test says."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from console_desk import HOST, Browser, Console, plant_in
from told_jobs import once, told_runs

from neverblink.console.access.roles import Role
from neverblink.console.onboarding.products import NewProduct, NewProducts
from neverblink.console.runs.book import Run

PNG = b"\x89PNG\r\n\x1a\n" + b"picture"
LOOKED = {
    "layout": "images alone",
    "pictures": [
        {"path": "000.png", "picture": "00000.jpg"},
        {"path": "dark.png", "picture": "00001.jpg", "odd": ["darker"]},
        {"path": "again.png", "picture": "00002.jpg", "copy_of": "000.png"},
        *({"path": f"{number:03}.png", "picture": f"{number:05}.jpg"} for number in range(3, 62)),
    ],
    "unusable": [{"path": "broken.png", "reason": "corrupt-image", "why": "…"}],
    "witnesses": 61, "width": 640, "height": 480, "sample": "sample.jpg",
}  # fmt: skip
ROW = {"of_threshold": 1.0, "in_force": True, "found": 30, "defective": 40, "recall": 0.75}
FITTED = {
    "artifact": "/models/pcb", "version": "1", "product": "pcb", "digest": "sha256:" + "a" * 64, "threshold": 20.0,
    "promise": "at most 5 % of good parts are rejected", "images": 59,
    "promises": {
        "defects": "synthetic",
        "rows": [
            {**ROW, "promise": 0.05, "recall_interval": [0.6, 0.9]},
            {**ROW, "promise": 0.1, "recall_interval": [0.6, 0.95], "in_force": False},
        ],
    },
}  # fmt: skip


def over(run: Run) -> bool:
    return not run.running


class Sitting:
    """An engineer before the page of one new product."""

    def __init__(self, console: Console, browser: Browser, name: str, results: Path) -> None:
        """`results` is the folder where it stands what jobs come to."""
        self.console, self.browser, self.name, self.results = console, browser, name, results

    @property
    def product(self) -> NewProduct:
        found = NewProducts(self.console.plant.console.work).find(self.name)
        assert found is not None
        return found

    async def step(self, step: str, **fields: object) -> int:
        """Send a step's form, as the page that was seen last has it."""
        await self.browser.get(f"/onboarding/{self.name}")
        return (await self.browser.post(f"/onboarding/{self.name}/{step}", fields)).status_code

    async def page(self, query: str = "") -> str:
        return (await self.browser.get(f"/onboarding/{self.name}{query}")).text


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    (tmp_path / "allowed" / "pcb").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "elsewhere")
    return tmp_path / "allowed"


@pytest.fixture
async def sitting(quick_hashing: None, tmp_path: Path, roots: Path) -> AsyncIterator[Sitting]:
    suspicious = {"path": str(roots / "pcb" / "005.png"), "score": 60.0, "picture": "suspect-000.jpg"}
    runs = told_runs(tmp_path, results={"look-over": LOOKED, "fit": {**FITTED, "suspicious": [suspicious]}})
    plant = plant_in(tmp_path, onboarding={"folders": [str(roots)], "upload_mib": 1})
    async with Console(plant, runs=runs, plant_file=tmp_path / "plant.yaml") as console:
        line = console.desk.lines[0]
        console.account("ann", Role.ENGINEER, (line,))
        ann = console.browser()
        await ann.sign_in("ann")
        await ann.get("/onboarding")
        answer = await ann.post("/onboarding", {"product": plant.products[0].name, "line": line})
        assert answer.status_code == 303
        yield Sitting(console, ann, answer.headers["location"].rpartition("/")[2], tmp_path)


async def looked(sitting: Sitting, roots: Path) -> Run:
    assert await sitting.step("source", kind="folder", folder=str(roots / "pcb")) == 303
    return once(sitting.console.desk.runs, sitting.product.looked or "", over)


LIE = {
    "asked": "auto", "called_for": True, "spread": "they lie 30 % of their length apart", "kind": "silhouette",
    "told": "parts are found by their outline", "found": 62, "not_found": 2, "width": 163, "height": 128,
    "examples": [
        {"path": "004.png", "x": 101.4, "y": 88.0, "angle": -37.25, "fit": 0.91, "lies": "lies-00.jpg",
         "upright": "upright-00.jpg"},
    ],
    "lost": [{"path": "dark.png", "why": "no part stands out from the ground", "picture": "00001.jpg"},
             {"path": "006.png", "why": "two parts lie there", "picture": "00006.jpg"}],
    "upright": "upright.jpg", "alignment": "alignment.safetensors",
}  # fmt: skip


async def send(
    sitting: Sitting, content: bytes, name: str, mark: str | None = None, into: str = ""
) -> tuple[int, dict[str, object]]:
    page = await sitting.page()
    own = page.split('data-mark="')[1].split('"')[0] if mark is None else mark
    answer = await sitting.browser.http.post(
        f"/onboarding/{sitting.name}/pictures", params={"file": name, "into": into}, content=content,
        headers={"content-type": "application/octet-stream", "x-form-mark": own, "origin": HOST},
    )  # fmt: skip
    return answer.status_code, answer.json() if "json" in answer.headers["content-type"] else {}


def archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return packed.getvalue()
