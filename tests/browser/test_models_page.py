"""The pages of models in a real browser: a threshold that the golden set refuses, another model and back again."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from console_desk import PASSWORD, Console, quick_hashes
from golden_parts import add_striped, keep, report_of, slot_of

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.access.roles import Role
from neverblink.events import ArtifactRef, Decision, Times, Verdict
from neverblink.events.identity import verdict_id
from neverblink.ledger.writing import keep as keep_events
from neverblink.model_registry import registry
from neverblink.plant import Plant, load_plant
from neverblink.records.database import Database
from rigs.scored_line import fit_striped, refit_striped
from rigs.served_console import chromium, listening, serious_faults, signed_in

pytestmark = pytest.mark.plant

STATION = "/models/at/line-1/top"
JOB_MS = 300_000
"""A job runs at the lowest priority, on whatever the machine has left."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fitted model of striped parts."""
    folder = tmp_path_factory.mktemp("striped")
    fit_striped(folder)
    return folder


def plant_file(folder: Path, bootstrap: str, artifacts: Path) -> Path:
    """Write the plant file of one station that inspects striped parts, which have a golden set."""
    station = {
        "name": "top", "product": "striped", "source": {"kind": "simulated", "drawing": "pcb"},
        "trigger": {"kind": "timer"},
    }  # fmt: skip
    described = {
        "site": "striped",
        "kafka": {"bootstrap": bootstrap, "partitions": 2},
        "storage": {"artifacts": str(artifacts), "ledger": f"sqlite:///{folder}/ledger.db"},
        "scorer": {"engine": "torch", "threads": 1, "max_batch": 4},
        "products": [{"name": "striped", "artifact": "striped"}],
        "proof": {"golden": {"sets": {"striped": str(folder / "golden")}}},
        "lines": [
            {"name": "line-1", "timing": {"distance_to_gate_m": 60, "speed_m_s": 1}, "stations": [station]},
        ],
        "console": {"database": f"sqlite:///{folder}/console.db"},
    }  # fmt: skip
    file = folder / "plant.yaml"
    file.write_text(yaml.safe_dump(described))
    return file


def made_parts(plant: Plant, artifact: ArtifactRef, threshold: float) -> list[Verdict]:
    """Return a few dozen scored parts; the last of them has a score far above all others."""
    found = []
    for number in range(40):
        at = datetime.now(UTC) - timedelta(seconds=120 - number)
        ratio = 400.0 if number == 39 else 2.0 if number % 10 == 0 else 0.5 + number / 100
        reject = ratio > 1
        found.append(
            Verdict(
                id=verdict_id(f"f{number}"), frame_id=f"f{number}", line="line-1", station="top", product="striped",
                part=f"p{number}", seq=number, decision=Decision.REJECT if reject else Decision.PASS,
                reason="anomaly" if reject else None, score=ratio * threshold, threshold=threshold, ratio=ratio,
                artifact=artifact, times=Times(captured=at), deadline=at + timedelta(seconds=2),
            )
        )  # fmt: skip
    database = Database(plant.storage.ledger, create=True)
    keep_events(database, found, datetime.now(UTC))
    database.close()
    return found


@asynccontextmanager
async def models_page(folder: Path, striped: Path) -> AsyncIterator[tuple[Plant, Any, str]]:
    """Run broker, console and browser, in which the engineer erin has signed in."""
    async with DevelopmentBroker() as broker:
        file = plant_file(folder, broker.bootstrap, striped / "artifacts")
        plant = load_plant(file)
        add_striped(plant, folder / "pictures")
        async with Console(plant) as console:
            console.account("erin", Role.ENGINEER)
            async with listening(plant, console.access, file) as address, chromium() as browser:
                yield plant, await signed_in(browser, address, "erin", PASSWORD), address


async def test_a_threshold_is_weighed_by_keys_and_the_golden_set_refuses_a_bad_one(
    tmp_path: Path, striped: Path
) -> None:
    async with models_page(tmp_path, striped) as (plant, page, address):
        scoring = registry.plants_slot(plant, "striped")
        made_parts(plant, scoring.artifact, 2.0)
        await page.goto(f"{address}/models")
        assert await serious_faults(page) == []
        await page.click("text=line-1/top")
        assert await serious_faults(page) == []
        await page.click("text=Weigh another threshold")
        await page.focus("#slider")
        await page.keyboard.press("End")
        await page.wait_for_selector(".model-flips h2:has-text('Rejected, and would pass: 4')")
        assert float(await page.input_value("#exact")) > 100, "the exact value follows the slider"
        assert await serious_faults(page) == []
        await page.click("text=Go on with")
        await page.click("button:has-text('Let it judge the golden set')")
        await page.wait_for_url("**/runs/*")
        await page.wait_for_selector("text=done, and the result is bad", timeout=JOB_MS)
        await page.click(".back a >> nth=0")
        await page.wait_for_selector("text=3 of 3 known defects are not caught")
        assert "defects/blot/" in await page.inner_text("main")
        assert await serious_faults(page) == []
        report = await page.get_attribute("text=The report with pictures", "href")
        assert (await page.request.get(f"{address}{report}")).status == 200
        await page.fill("form[action$=change] [name=meaning]", "it rejects too much")
        await page.click("form[action$=change] > button")
        assert "/change?" in page.url, "what the golden set refuses wants to be forced"
        assert await registry.history_of(plant) == []


async def test_another_model_is_activated_and_rolled_back(tmp_path: Path, striped: Path) -> None:
    refit_striped(striped / "artifacts", "striped-2", ratio=0.05)
    async with models_page(tmp_path, striped) as (plant, page, address):
        for name in ("striped", "striped-2"):
            keep(plant, report_of(plant, slot_of(plant, name)))
        await page.goto(f"{address}{STATION}")
        await page.select_option("[name=artifact]", slot_of(plant, "striped-2").artifact.digest)
        await page.click("button:has-text('Let it score')")
        await page.wait_for_selector("text=It passes the golden set")
        await page.fill("form[action$=change] [name=meaning]", "a smaller bank")
        await page.click("form[action$=change] > button")
        await page.wait_for_selector("text=The change is made")
        assert await page.inner_text(".model-slot >> nth=0 >> .model-name") == "striped-2 2"
        await page.click("a:has-text('Roll back')")
        await page.fill("form[action$=change] [name=meaning]", "the old one again")
        await page.click("form[action$=change] > button")
        await page.wait_for_selector("text=The change is made")
        assert "striped 1" in await page.inner_text(".model-slot >> nth=0 >> .model-name")
        told = await page.inner_text("table >> nth=-1")
        assert "a smaller bank" in told
        assert "the old one again" in told
        artifact = await page.get_attribute(".model-name a >> nth=0", "href")
        await page.goto(f"{address}{artifact}")
        assert await serious_faults(page) == []
        state = (await registry.history_of(plant))[-1]
        assert (state.active, state.by, state.why) == (None, "erin", "the old one again")
