"""Changes of models as any program makes them: awaited, told as data, and nothing is printed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from small_artifacts import write_artifact

from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import ArtifactRef, ModelSlots, Slot
from neverblink.kafka import ensure_topics
from neverblink.model_registry import registry
from neverblink.model_registry.changes import ModelsError, Stamp, Which
from neverblink.model_registry.what_scores import described, edited_thresholds, what_scores
from neverblink.vision.artifact import load_artifact
from rigs.scored_line import ScoredLine

TOP = Which(stations=("line-1/top",))


@pytest.fixture
def line(development: DevelopmentBroker, tmp_path: Path) -> ScoredLine:
    write_artifact(tmp_path, "striped", product="striped")
    write_artifact(tmp_path, "striped-2", product="striped", version="2", seed=1, backbone="resnet50")
    return ScoredLine(development.bootstrap, tmp_path)


def stamp(why: str | None = None) -> Stamp:
    return Stamp("r.lindqvist", why, datetime.now(UTC))


def reference(line: ScoredLine, name: str) -> ArtifactRef:
    found = load_artifact(line.plant.storage.artifacts / name)
    return ArtifactRef(name=found.name, version=found.version, digest=found.digest)


async def test_a_change_comes_back_as_it_was_published_with_what_a_person_should_know(
    line: ScoredLine, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = await registry.activate(line.plant, Which(product="striped"), "striped-2", 3.5, stamp("sharper"))
    assert [event.key for event in changed.events] == ["line-1/top", "line-2/top"]
    assert sorted(await registry.history_of(line.plant), key=lambda event: event.key) == list(changed.events)
    (note,) = changed.notes
    assert "line-1/top is scored with resnet18, this model needs resnet50 of its own" in note
    assert described(changed.events[0]) == "line-1/top: active striped-2 2 at threshold 3.5, shadow none"
    again = await registry.edit_threshold(line.plant, TOP, None, stamp())
    assert (again.notes, described(again.events[0])) == ((), "line-1/top: active striped-2 2, shadow none")
    assert capsys.readouterr() == ("", "")


async def test_what_scores_is_told_by_station_and_slot(line: ScoredLine) -> None:
    await registry.shadow(line.plant, TOP, "striped-2", None, stamp("tried"))
    first, shadow, second = await what_scores(line.plant, Which(), seen_s=0)
    assert (first.station, first.slot, first.model, first.by) == (
        "line-1/top", "active", "striped 1 (plant file's)", "r.lindqvist",
    )  # fmt: skip
    assert (shadow.slot, shadow.model, shadow.why) == ("shadow", "striped-2 2", "tried")
    assert (second.station, second.by, second.scores) == ("line-2/top", "plant file", "no verdict")


async def test_the_thresholds_in_force_are_those_that_people_edited(line: ScoredLine) -> None:
    chosen = Which(product="striped").of(line.plant)
    own = reference(line, "striped")
    assert await edited_thresholds(line.plant, chosen, own) == {}
    await registry.edit_threshold(line.plant, TOP, 3.0, stamp())
    assert await edited_thresholds(line.plant, chosen, own) == {("line-1", "top"): 3.0}
    await registry.edit_threshold(line.plant, TOP, None, stamp())
    assert await edited_thresholds(line.plant, chosen, own) == {}


async def test_a_threshold_of_another_model_is_no_threshold_of_this_one(line: ScoredLine) -> None:
    await registry.activate(line.plant, TOP, "striped-2", 3.0, stamp())
    (top,) = TOP.of(line.plant)
    assert await edited_thresholds(line.plant, [top], reference(line, "striped-2")) == {("line-1", "top"): 3.0}
    with pytest.raises(ModelsError, match=r"line-1/top is scored by striped-2 2 \(.*\), not by striped 1"):
        await edited_thresholds(line.plant, [top], reference(line, "striped"))


async def test_a_model_of_the_product_that_the_station_had_before_is_not_what_scores(line: ScoredLine) -> None:
    """Its network would be the new model's; the plant file's artifact, which scores, has another one."""
    slot = Slot(artifact=reference(line, "striped-2"), location=str(line.plant.storage.artifacts / "striped-2"))
    at = datetime.now(UTC)
    await ensure_topics(line.plant.kafka, ("models",))
    async with line.producer() as producer:
        await producer.send(
            ModelSlots(id="before", line="line-1", station="top", product="before", active=slot, by="x", at=at)
        )
    (note,) = (await registry.activate(line.plant, TOP, "striped-2", None, stamp())).notes
    assert "line-1/top is scored with resnet18" in note
