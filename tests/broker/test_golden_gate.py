"""No change of models is made that fails a known part: not by a command, and where the plant demands it by no event."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from following_scorer import scoring, until
from golden_parts import add_striped, judge_that_misses, keep, list_parts, report_of, slot_of, with_golden
from small_artifacts import write_artifact

from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import ModelSlots, Slot, Verdict
from neverblink.kafka import ensure_topics
from neverblink.model_registry import registry
from neverblink.model_registry.changes import ModelsError, Stamp, Which
from neverblink.model_registry.golden_gate import Judged
from neverblink.model_registry.what_scores import what_scores
from neverblink.plant import Plant
from neverblink.qualification.jobs import judge_of
from rigs.scored_line import ScoredLine, sent

TOP, STATION = ("line-1", "top"), Which(stations=("line-1/top",))
BLOT = "defects/blot/1.png"
BLIND = 1e6
"""A threshold that lets every known defect pass."""


def stamp(why: str | None = "a test") -> Stamp:
    return Stamp("r.lindqvist", why, datetime.now(UTC))


def unasked(_: str, slot: Slot) -> Judged:
    raise AssertionError(f"{slot.artifact.name} is known and was judged again")


# By command, of models that nobody opens


@pytest.fixture
def plant(development: DevelopmentBroker, tmp_path: Path) -> Plant:
    """A plant whose product has a golden set of one good part and one blot, which it does not demand."""
    for name, seed in (("striped", 0), ("striped-2", 1)):
        write_artifact(tmp_path, name, product="striped", seed=seed)
    found = with_golden(ScoredLine(development.bootstrap, tmp_path).plant, tmp_path / "golden")
    list_parts(found, "good/1.png", BLOT)
    return found


def demanding(plant: Plant) -> Plant:
    golden = plant.proof.golden.model_copy(update={"demanded": True})
    return plant.model_copy(update={"proof": plant.proof.model_copy(update={"golden": golden})})


async def test_activation_threshold_promotion_and_rollback_are_judged_first_and_refused_where_a_defect_escapes(
    plant: Plant,
) -> None:
    asked: list[Slot] = []
    blind = judge_that_misses(plant, BLOT, asked=asked)
    refused = r"must not score striped: 1 of 1 known defects escapes: defects/blot/1.png .*; its report: .*\.html"
    with pytest.raises(ModelsError, match=f"striped-2 1 {refused}.* --force and --why"):
        await registry.activate(plant, STATION, "striped-2", None, stamp(), judge=blind)
    with pytest.raises(ModelsError, match=f"striped 1 {refused}"):
        await registry.edit_threshold(plant, STATION, 3.0, stamp(), judge=blind)
    assert await registry.history_of(plant) == [], "nothing is published of what is refused"
    await registry.shadow(plant, STATION, "striped-2", None, stamp())
    with pytest.raises(ModelsError, match=f"striped-2 1 {refused}"):
        await registry.promote(plant, STATION, stamp(), judge=blind)
    with pytest.raises(ModelsError, match=f"striped 1 {refused}"):
        await registry.roll_back(plant, STATION, stamp(), judge=blind)
    assert [(slot.artifact.name, slot.threshold) for slot in asked] == [
        ("striped-2", None), ("striped", 3.0), ("striped", None),
    ], "what was found out once is not judged again"  # fmt: skip


async def test_what_passes_scores_with_its_report_in_the_slot_and_the_rollback_is_instant(plant: Plant) -> None:
    judge = judge_that_misses(plant)
    changed = await registry.activate(plant, STATION, "striped-2", None, stamp(), judge=judge)
    (event,) = changed.events
    assert event.active is not None
    ref = event.active.qualification
    assert ref is not None
    assert ref.passed
    assert list((plant.storage.artifacts / "qualifications").rglob(f"*{ref.report[7:]}.json"))
    assert any("striped-2 1 passes the golden set of striped (2 parts)" in note for note in changed.notes)
    keep(plant, report_of(plant, slot_of(plant, "striped")))
    await registry.roll_back(plant, STATION, stamp(), judge=unasked)
    (back,) = (await registry.roll_back(plant, STATION, stamp(), judge=unasked)).events
    assert back.active == event.active
    (row,) = await what_scores(plant, STATION, seen_s=0)
    assert (row.golden or "").startswith("passed 2026-01-02")


async def test_without_a_judge_only_a_report_that_was_made_before_counts(plant: Plant) -> None:
    with pytest.raises(ModelsError, match=r"no report says that it passes .*`neverblink qualify ARTIFACT --product"):
        await registry.activate(plant, STATION, "striped-2", None, stamp())
    keep(plant, report_of(plant, slot_of(plant, "striped-2")))
    (event,) = (await registry.activate(plant, STATION, "striped-2", None, stamp())).events
    assert event.active is not None
    assert event.active.qualification is not None


async def test_who_knows_better_forces_and_stays_on_record_unless_the_plant_demands_the_set(plant: Plant) -> None:
    blind = judge_that_misses(plant, BLOT)
    with pytest.raises(ModelsError, match="Say why it shall score nevertheless"):
        await registry.activate(plant, STATION, "striped-2", None, stamp(None), force=True, judge=blind)
    changed = await registry.activate(plant, STATION, "striped-2", None, stamp("a trial"), force=True, judge=blind)
    (event,) = changed.events
    assert (event.why or "").startswith("forced: a trial (against the golden set: 1 of 1 known defects escapes")
    assert event.active is not None
    assert event.active.qualification is not None
    assert not event.active.qualification.passed
    assert any("striped-2 1 scores striped against its golden set" in note for note in changed.notes)
    (row,) = await what_scores(plant, STATION, seen_s=0)
    assert row.golden == "FAILED, forced"
    with pytest.raises(ModelsError, match=r"The plant demands the golden set \(proof.golden.demanded\)"):
        await registry.activate(demanding(plant), STATION, "striped-2", None, stamp("x"), force=True, judge=blind)
    (row,) = await what_scores(demanding(plant), STATION, seen_s=0)
    assert (row.golden or "").startswith("NOT FOLLOWED: 1 of 1 known defects escapes")


async def test_what_others_change_while_a_model_is_judged_is_not_lost(plant: Plant) -> None:
    judge = judge_that_misses(plant)

    def meanwhile(product: str, slot: Slot) -> Judged:
        asyncio.run(registry.shadow(plant, STATION, "striped-2", 7.0, stamp("meanwhile")))
        return judge(product, slot)

    (event,) = (await registry.edit_threshold(plant, STATION, 3.0, stamp(), judge=meanwhile)).events
    assert event.shadow is not None
    assert event.shadow.threshold == 7.0
    assert event.previous is not None
    assert event.previous.why == "meanwhile"


async def test_a_product_without_a_golden_set_changes_as_before(plant: Plant) -> None:
    without = plant.model_copy(update={"proof": type(plant.proof)()})
    (event,) = (await registry.activate(without, STATION, "striped-2", None, stamp(), judge=unasked)).events
    assert event.active is not None
    assert event.active.qualification is None
    (row,) = await what_scores(without, STATION, seen_s=0)
    assert row.golden is None


# By an event on the topic, and real models


async def test_a_model_that_lets_a_known_defect_pass_scores_neither_by_command_nor_by_an_event_on_the_topic(
    development: DevelopmentBroker, artifacts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(artifacts, tmp_path / "artifacts")
    line = ScoredLine(development.bootstrap, tmp_path / "artifacts", lines=("line-1",))
    storage = line.plant.storage.model_copy(update={"model_cache": tmp_path / "cache"})
    torch = line.plant.scorer.model_copy(update={"engine": "torch"})
    plant = line.plant.model_copy(update={"storage": storage, "scorer": torch})
    plant = with_golden(plant, tmp_path / "golden", demanded=True)
    add_striped(plant, tmp_path / "pictures")
    await ensure_topics(line.kafka)
    judge = judge_of(plant, "r.lindqvist")
    with pytest.raises(ModelsError, match=r"3 of 3 known defects escape: defects/blot/blot-100.png \(blot passes"):
        await registry.activate(plant, STATION, "striped", BLIND, stamp(), judge=judge)
    assert await registry.history_of(plant) == []
    (changed,) = (await registry.activate(plant, STATION, "striped", None, stamp(), judge=judge)).events

    def event(threshold: float) -> ModelSlots:
        slot = slot_of(plant, "striped", threshold)
        return changed.model_copy(update={"id": f"forged-{threshold}", "active": slot, "at": datetime.now(UTC)})

    async with line.producer() as producer, scoring(line, plant) as models:
        before = models.active(*TOP, "striped")
        await sent(producer, event(BLIND))
        await until(lambda: models.stations[TOP].faults)
        assert models.active(*TOP, "striped") is before
        await sent(producer, line.frame(5))
        (verdict,) = await line.read(Verdict, lambda found: len(found) >= 1)
        await sent(producer, changed)
        await until(lambda: not models.stations[TOP].faults)
    assert "line-1/top goes on with striped 1: active: striped 1 (sha256:" in caplog.text
    assert "the plant demands its golden set: 3 of 3 known defects escape" in caplog.text
    assert verdict.decision == "reject", "the blot is caught by what scored before"
