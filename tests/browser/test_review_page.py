"""The page for reviewers in a real browser, with keys alone."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from console_desk import PASSWORD, Console, quick_hashes
from review_page import console_of, keep_pictures
from review_plant import plant_file, reviewed_plant, scored, until
from sqlalchemy import select

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.access.roles import Role
from neverblink.events import Review, Verdict
from neverblink.kafka import LatestEvents
from neverblink.plant import Plant
from neverblink.records.part_tables import PartRow
from neverblink.records.reading import ReadOnlyRecords
from rigs.by_keyboard import faults_by_keyboard, watch
from rigs.served_console import chromium, listening, serious_faults, signed_in

pytestmark = pytest.mark.plant


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


@asynccontextmanager
async def reviewing(folder: Path, verdicts: list[Verdict]) -> AsyncIterator[tuple[Plant, Any, str]]:
    """Run broker, ledger, console and browser, with these parts waiting."""
    async with DevelopmentBroker() as broker:
        file = plant_file(broker.bootstrap, folder)
        async with reviewed_plant(file, *verdicts) as plant, console_of(plant, folder) as console:
            _accounts(console)
            keep_pictures(console.plant, verdicts)
            async with listening(console.plant, console.access) as address, chromium() as browser:
                yield console.plant, browser, address


def _accounts(console: Console) -> None:
    for name in ("ann", "bob"):
        console.account(name, Role.REVIEWER)


async def at_review(browser: Any, address: str, name: str = "ann") -> Any:
    page = await signed_in(browser, address, name, PASSWORD)
    await page.goto(f"{address}/review")
    return page


async def ready(page: Any, part: str) -> None:
    """Wait until a part is on the bench and its answer counts."""
    await page.wait_for_selector(f"#bench[data-ready] h2:text-is('{part}')")


async def reviews(plant: Plant) -> list[Review]:
    async with LatestEvents(plant.kafka, Review, client_id="test") as events:
        return [event for _, event in await events.to_the_end(10) if event is not None]


def judgements(records: ReadOnlyRecords) -> dict[str, str | None]:
    with records.asking() as session:
        return {row.part: row.judgement for row in session.execute(select(PartRow.part, PartRow.judgement))}


async def test_a_reject_is_overturned_by_keys_taken_back_and_corrected_with_a_region(tmp_path: Path) -> None:
    verdicts = [scored(number) for number in (1, 2)]
    async with reviewing(tmp_path, verdicts) as (plant, browser, address):
        page = await at_review(browser, address)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        await page.keyboard.press("Enter")
        await ready(page, "line-1-SN-1")
        await page.keyboard.press("Numpad1")
        await ready(page, "line-1-SN-2")
        await until(plant, lambda records: judgements(records)["1-1"] == "normal")

        await page.keyboard.press("Numpad0")
        await ready(page, "line-1-SN-1")
        await until(plant, lambda records: judgements(records)["1-1"] is None)

        await page.keyboard.press("Numpad7")
        before = await page.input_value("[name=regions]")
        for key in ("ArrowRight", "Numpad8", "Numpad9", "Numpad3"):
            await page.keyboard.press(key)
        await page.keyboard.press("Enter")
        drawn = [int(word) for word in (await page.input_value("[name=regions]")).split(",")]
        moved = [now - then for now, then in zip(drawn, map(int, before.split(",")), strict=True)]
        assert [(one > 0) - (one < 0) for one in moved] == [1, -1, 1, 1], "to the right, up, wider, higher"
        await page.keyboard.press("c")
        await page.keyboard.type("1 hair, 3 scratches")
        await page.keyboard.press("Escape")
        await page.keyboard.press("Numpad3")
        await ready(page, "line-1-SN-2")
        last = (await reviews(plant))[-1]
        assert (last.reviewer, last.judgement, last.comment) == ("ann", "defect", "1 hair, 3 scratches")
        assert [[box.x, box.y, box.width, box.height] for box in last.regions] == [drawn]

        stage = await page.locator(".review-drawing").bounding_box()
        assert stage is not None
        await page.mouse.move(stage["x"] + 100, stage["y"] + 80)
        await page.mouse.down()
        await page.mouse.move(stage["x"] + 260, stage["y"] + 200, steps=4)
        await page.mouse.up()
        await page.keyboard.press("Enter")
        assert (await page.input_value("[name=regions]")).count(",") == 3
        await page.keyboard.press("g")
        await page.wait_for_selector("#review-fault .fault")
        assert "of a defect alone" in await page.inner_text("#review-fault")
        assert await page.input_value("[name=regions]"), "what was drawn stays"
        assert problems == [one for one in problems if "422" in one], "no script was refused or went wrong"


@pytest.mark.timeout(900)  # so many seconds for a hundred answers at most, however busy the machine is
async def test_a_hundred_parts_are_judged_without_a_mouse(tmp_path: Path) -> None:
    verdicts = [scored(number) for number in range(1, 101)]
    async with reviewing(tmp_path, verdicts) as (plant, browser, address):
        page = await at_review(browser, address)
        await page.keyboard.press("Enter")
        for number in range(1, 101):
            await ready(page, f"line-1-SN-{number}")
            await page.keyboard.press("Numpad3" if number % 4 == 0 else "Numpad1")
        await page.wait_for_selector(".review-idle")
        said = {one.part: one.judgement for one in await reviews(plant)}
        assert said == {f"1-{number}": "defect" if number % 4 == 0 else "normal" for number in range(1, 101)}
        await page.wait_for_selector(".review-given:text-is('100')")


async def test_two_browsers_have_one_claim_and_the_other_goes_on_with_the_next(tmp_path: Path) -> None:
    async with reviewing(tmp_path, [scored(1), scored(2)]) as (_, browser, address):
        ann, bob = await at_review(browser, address), await at_review(browser, address, "bob")
        await ann.keyboard.press("Enter")
        await ready(ann, "line-1-SN-1")
        await bob.keyboard.press("Enter")
        await ready(bob, "line-1-SN-2")
        await bob.wait_for_selector(".review-rows .held:has-text('ann')")
        await bob.keyboard.press("1")
        await bob.wait_for_selector(".review-idle")
        assert "others have it" in await bob.inner_text("#bench")


async def test_a_stray_key_answers_no_part_unseen_and_a_lost_console_is_told(tmp_path: Path) -> None:
    async with reviewing(tmp_path, [scored(1), scored(2)]) as (plant, browser, address):
        page = await at_review(browser, address)
        await page.keyboard.press("Enter")
        await ready(page, "line-1-SN-1")
        await page.evaluate("document.getElementById('bench').removeAttribute('data-ready')")
        await page.keyboard.press("1")
        await page.keyboard.press("n")
        assert await page.locator("#bench[data-verdict] h2").inner_text() == "line-1-SN-1"
        await page.evaluate("document.getElementById('bench').dataset.ready = 'yes'")
        await page.context.set_offline(True)
        await page.keyboard.press("1")
        await page.wait_for_selector("#review-away:not([hidden])")
        assert await page.locator("#bench h2").inner_text() == "line-1-SN-1", "the part stays"
        await page.context.set_offline(False)
        await page.keyboard.press("1")
        await ready(page, "line-1-SN-2")
        assert len(await reviews(plant)) == 1
        assert await page.locator("#review-away").is_hidden()


async def test_each_state_of_the_page_is_accessible_and_used_by_keyboard(tmp_path: Path) -> None:
    async with reviewing(tmp_path, [scored(1), scored(2)]) as (_, browser, address):
        page = await at_review(browser, address)
        assert await serious_faults(page) == []
        await watch(page)
        await page.reload()
        await page.keyboard.press("Enter")
        await ready(page, "line-1-SN-1")
        assert await faults_by_keyboard(page) == {}
        await page.focus(".review-rows button:has-text('SN-2')")
        assert "SN-2" in await page.evaluate(
            """() => new Promise(done => {
              document.body.addEventListener("htmx:afterSettle", () => done(document.activeElement.innerText));
              htmx.trigger(document.body, "reviewed");
            })"""
        ), "whoever chooses from the queue stays there when it is read anew"
        await page.keyboard.press("Numpad7")
        assert await serious_faults(page) == []
        await page.goto(f"{address}/review/keys")
        assert await serious_faults(page) == []


async def test_another_key_answers_once_an_account_has_chosen_it(tmp_path: Path) -> None:
    async with reviewing(tmp_path, [scored(1)]) as (plant, browser, address):
        page = await at_review(browser, address)
        await page.goto(f"{address}/review/keys")
        await page.focus("[name='key:normal'] >> nth=0")
        await page.keyboard.press("Numpad5")
        await page.focus("[name='key:look'] >> nth=0")
        await page.keyboard.press("F8")
        await page.click("text=Keep these keys")
        await page.wait_for_url(f"{address}/review")
        await page.keyboard.press("Enter")
        await ready(page, "line-1-SN-1")
        assert await page.locator("[data-action=normal] kbd").inner_text() == "5"
        await page.keyboard.press("Numpad5")
        await page.wait_for_selector(".review-idle")
        assert [one.judgement for one in await reviews(plant)] == ["normal"]
