"""Models changed on the console: judged first, refused in words, on the topic and in the audit with who and why."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from console_desk import PASSWORD, Browser, Console, plant_in, quick_hashes
from golden_parts import keep, list_parts, report_of, slot_of, with_golden
from small_artifacts import write_artifact

from neverblink.brokers.development import DevelopmentBroker
from neverblink.console.access.audit import entries
from neverblink.console.access.roles import Role
from neverblink.console.runs.book import Runs, Wish
from neverblink.model_registry import registry
from neverblink.model_registry.changes import Stamp, Which
from neverblink.plant import Kafka, Plant

BLOT = "defects/blot/1.png"
CHANGE = "/models/at/line-1/top/change"
TOP = Which(stations=("line-1/top",))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Any:
    with quick_hashes(monkeypatch):
        yield


def plant_of(development: DevelopmentBroker, folder: Path, *, demanded: bool = False, golden: bool = True) -> Plant:
    """Return a plant with pcb-3, which its file names, and pcb-4, and a golden set of a good part and a blot."""
    for name, seed in (("pcb-3", 3), ("pcb-4", 4)):
        write_artifact(folder / "artifacts", name, product="pcb", seed=seed)
    plant = plant_in(folder).model_copy(update={"kafka": Kafka(bootstrap=development.bootstrap, partitions=2)})
    if not golden:
        return plant
    plant = with_golden(plant, folder / "golden", demanded=demanded)
    list_parts(plant, "good/1.png", BLOT)
    return plant


@asynccontextmanager
async def engineer(plant: Plant, **desk: Any) -> AsyncIterator[tuple[Console, Browser]]:
    """Give a console and the browser of its engineer erin."""
    async with Console(plant, **desk) as console:
        console.account("erin", Role.ENGINEER)
        browser = console.browser()
        await browser.sign_in("erin")
        yield console, browser


async def followed(console: Console) -> None:
    """Let the console know what the topic says, as its own following would."""
    console.desk.models.take([(event.key, event) for event in await registry.history_of(console.plant)])


async def wanted(browser: Browser, what: str, **more: str) -> str:
    """Open the page of a change, and return it."""
    return (await browser.get(CHANGE + "?" + "&".join(f"{k}={v}" for k, v in {"what": what, **more}.items()))).text


def seen(console: Console) -> str:
    change = console.desk.models.now("line-1/top")
    return "" if change is None else change.id


async def confirm(console: Console, browser: Browser, what: str, meaning: str = "a try", **more: str) -> Any:
    fields = {"what": what, "meaning": meaning, "seen": seen(console), **more}
    return await browser.post(CHANGE, fields)


async def test_a_model_is_judged_then_activated_and_rolled_back_with_who_and_why(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_of(development, tmp_path)
    digest = slot_of(plant, "pcb-4").artifact.digest
    async with engineer(plant) as (console, browser):
        page = await wanted(browser, "activate", artifact=digest)
        assert "First: the golden set" in page
        assert "has not been judged by this model" in page
        unjudged = await confirm(console, browser, "activate", artifact=digest)
        assert unjudged.status_code == 409
        assert "let it judge first" in unjudged.text
        keep(plant, report_of(plant, slot_of(plant, "pcb-4")))
        keep(plant, report_of(plant, slot_of(plant, "pcb-3")))
        page = await wanted(browser, "activate", artifact=digest)
        assert "It passes the golden set" in page
        silent = await confirm(console, browser, "activate", "", artifact=digest)
        assert silent.status_code == 422
        assert "Say in a few words" in silent.text
        made = await confirm(console, browser, "activate", "four weeks of good parts", artifact=digest)
        assert made.headers["location"] == "/models/at/line-1/top?done=1"
        page = (await browser.get(made.headers["location"])).text
        for said in ("The change is made", "four weeks of good parts", "another model scores", "pcb-4 1"):
            assert said in page, said
        (event,) = await registry.history_of(plant)
        assert event.active is not None
        assert (event.by, event.why, event.active.artifact.digest) == ("erin", "four weeks of good parts", digest)
        assert event.active.qualification is not None
        assert (await confirm(console, browser, "rollback", "worse after all")).status_code == 303
        state = (await registry.history_of(plant))[-1]
        assert (state.active, state.why) == (None, "worse after all")
        with console.access.reading() as connection:
            told = [(one.who, one.action, one.subject, one.meaning) for one in entries(connection)][-2:]
    assert told == [
        ("erin", "models.activate", "line-1/top", "four weeks of good parts"),
        ("erin", "models.rollback", "line-1/top", "worse after all"),
    ]


async def test_a_threshold_that_fails_the_golden_set_is_refused_with_the_parts_unless_forced_on_record(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_of(development, tmp_path)
    keep(plant, report_of(plant, slot_of(plant, "pcb-3", 9.0), BLOT))
    async with engineer(plant) as (console, browser):
        page = await wanted(browser, "threshold", threshold="9")
        for said in ("It fails the golden set: 1 of 1 known defects", BLOT, "I know better"):
            assert said in page, said
        refused = await confirm(console, browser, "threshold", threshold="9")
        assert refused.status_code == 409
        assert "known defects escape" in refused.text
        assert await registry.history_of(plant) == []
        assert (await confirm(console, browser, "threshold", "a trial", threshold="9", force="1")).status_code == 303
        (event,) = await registry.history_of(plant)
        assert (event.why or "").startswith("forced: a trial (against the golden set")
        page = (await browser.get("/models/at/line-1/top")).text
        assert "failed, forced" in page
        assert "edited, its own is 2.500" in page
    demanding = plant_of(development, tmp_path / "demanded", demanded=True)
    keep(demanding, report_of(demanding, slot_of(demanding, "pcb-3", 9.0), BLOT))
    async with engineer(demanding) as (console, browser):
        page = await wanted(browser, "threshold", threshold="9")
        assert "nothing overrides it" in page
        assert "I know better" not in page
        forced = await confirm(console, browser, "threshold", "a trial", threshold="9", force="1")
        assert forced.status_code == 409


async def test_a_challenger_goes_into_shadow_is_promoted_and_another_goes_out_again(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_of(development, tmp_path, golden=False)
    digest = slot_of(plant, "pcb-4").artifact.digest
    async with engineer(plant) as (console, browser):
        assert "no model in shadow" in await wanted(browser, "promote")
        assert (await confirm(console, browser, "shadow", artifact=digest)).status_code == 303
        page = (await browser.get("/models/at/line-1/top")).text
        assert "Let the challenger score" in page
        assert (await confirm(console, browser, "promote")).status_code == 303
        assert (await confirm(console, browser, "shadow", artifact=digest, threshold="3.5")).status_code == 303
        assert (await confirm(console, browser, "unshadow")).status_code == 303
        assert (await confirm(console, browser, "threshold", threshold="2.5")).status_code == 303
        events = await registry.history_of(plant)
    last = events[-1]
    assert last.active is not None
    assert (last.active.artifact.digest, last.active.threshold, last.shadow) == (digest, None, None)
    assert "the challenger scores" in page or "another challenger" in page


async def test_what_somebody_else_has_changed_meanwhile_is_not_written_over(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_of(development, tmp_path, golden=False)
    async with engineer(plant) as (console, browser):
        await wanted(browser, "threshold", threshold="3")
        before = seen(console)
        await registry.edit_threshold(plant, TOP, 4.0, Stamp("otto", "beside", datetime.now(UTC)))
        await followed(console)
        fields = {"what": "threshold", "threshold": "3", "meaning": "x", "seen": before}
        late = await browser.post(CHANGE, fields)
        assert late.status_code == 409
        assert "meanwhile" in late.text
        (event,) = await registry.history_of(plant)
    assert event.by == "otto"


async def test_only_an_engineer_of_the_line_changes_its_models_and_signs_where_the_plant_demands_it(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_of(development, tmp_path, golden=False)
    signing = plant.console.model_copy(update={"sign_changes": True})
    plant = plant.model_copy(update={"console": signing})
    async with engineer(plant) as (console, browser):
        for name, role, lines, status in (
            ("rita", Role.REVIEWER, ("*",), 403), ("elsa", Role.ENGINEER, ("line-9",), 404),
        ):  # fmt: skip
            console.account(name, role, lines)
            other = console.browser()
            await other.sign_in(name)
            assert (await other.get(f"{CHANGE}?what=rollback")).status_code == status
            await other.get("/password")
            answer = await confirm(console, other, "threshold", threshold="3")
            assert answer.status_code == status
        await wanted(browser, "threshold", threshold="3")
        assert (await confirm(console, browser, "threshold", threshold="3")).status_code == 403
        signed = await confirm(console, browser, "threshold", threshold="3", password=PASSWORD)
        assert signed.status_code == 303
        for what, artifact, threshold in (
            ("dance", "", ""), ("activate", "sha256:" + "9" * 64, ""), ("activate", "", ""), ("threshold", "", "-1"),
        ):  # fmt: skip
            shown = await browser.get(f"{CHANGE}?what={what}&artifact={artifact}&threshold={threshold}")
            assert shown.status_code == 422, what
            await browser.get("/models/at/line-1/top")
            more = {"artifact": artifact, "threshold": threshold, "password": PASSWORD}
            assert (await confirm(console, browser, what, **more)).status_code == 422, what
        assert len(await registry.history_of(plant)) == 1


class _Asked(Runs):
    """Runs that remember what was asked of them, and start nothing."""

    def start(self, wish: Wish, who: str, why: str, now: datetime) -> Any:
        self.asked = (wish, who)

        class Begun:
            id = "20260302-120000-00000000"

        return Begun()


async def test_the_golden_set_is_judged_by_a_job_of_its_own_which_leads_back_to_the_change(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_of(development, tmp_path)
    runs = _Asked(tmp_path / "work")
    async with engineer(plant, runs=runs, plant_file=tmp_path / "plant.yaml") as (_, browser):
        await wanted(browser, "threshold", threshold="3.25")
        begun = await browser.post("/models/at/line-1/top/judge", {"what": "threshold", "threshold": "3.25"})
        assert begun.headers["location"] == "/runs/20260302-120000-00000000"
    wish, who = runs.asked
    assert (wish.job, who, wish.lines) == ("qualify", "erin", ("line-1",))
    assert wish.settings == {
        "artifact": "pcb-3", "product": "pcb", "threshold": 3.25, "by": "erin", "plant": str(tmp_path / "plant.yaml"),
    }  # fmt: skip
    assert wish.back == f"{CHANGE}?what=threshold&threshold=3.25"


async def test_while_kafka_is_away_nothing_is_changed_and_the_page_says_so(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_of(development, tmp_path, golden=False)
    away = plant.model_copy(update={"kafka": Kafka(bootstrap="127.0.0.1:1")})
    async with engineer(away) as (console, browser):
        await wanted(browser, "threshold", threshold="3")
        answer = await confirm(console, browser, "threshold", threshold="3")
    assert answer.status_code == 503
    assert "Kafka is away or does not acknowledge" in answer.text
