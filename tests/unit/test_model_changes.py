"""Changes of models: each event says all that is true afterwards, and what was true before."""

from datetime import UTC, datetime, timedelta

import pytest

from neverblink.events import ArtifactRef, ModelSlots, PreviousSlots, Slot
from neverblink.model_registry.changes import (
    ModelsError,
    Stamp,
    Target,
    activated,
    promoted,
    rolled_back,
    shadowed,
    targets,
    with_threshold,
)
from neverblink.plant import EXAMPLE, parse_plant

TOP = Target("line-1", "top", "pcb")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def slot(letter: str, threshold: float | None = None) -> Slot:
    reference = ArtifactRef(name="pcb", version=letter, digest=f"sha256:{letter * 64}")
    return Slot(artifact=reference, location=f"pcb-{letter}", threshold=threshold)


def stamp(minute: int = 0) -> Stamp:
    return Stamp("r.lindqvist", "a test", NOON + timedelta(minutes=minute))


def test_the_first_activation_says_that_the_plant_file_was_before() -> None:
    event = activated(None, TOP, slot("a"), stamp())
    assert (event.key, event.product, event.active, event.shadow) == ("line-1/top", "pcb", slot("a"), None)
    assert (event.by, event.why, event.at) == ("r.lindqvist", "a test", NOON)
    assert event.previous == PreviousSlots(product="pcb")


def test_an_activation_leaves_the_shadow_unless_it_is_the_same_model() -> None:
    with_shadow = shadowed(activated(None, TOP, slot("a"), stamp()), TOP, slot("b"), stamp(1))
    assert activated(with_shadow, TOP, slot("c"), stamp(2)).shadow == slot("b")
    assert activated(with_shadow, TOP, slot("b"), stamp(2)).shadow is None


def test_a_shadow_becomes_active_with_its_threshold_when_it_is_promoted() -> None:
    before = shadowed(activated(None, TOP, slot("a"), stamp()), TOP, slot("b", 2.5), stamp(1))
    event = promoted(before, TOP, stamp(2))
    assert (event.active, event.shadow) == (slot("b", 2.5), None)
    with pytest.raises(ModelsError, match="line-1/top has no model in shadow"):
        promoted(event, TOP, stamp(3))


def test_a_threshold_edits_what_is_active_or_the_plant_files_artifact() -> None:
    first = with_threshold(None, TOP, slot("e"), 3.0, stamp())
    assert first.active == slot("e", 3.0)
    second = activated(first, TOP, slot("a"), stamp(1))
    third = with_threshold(second, TOP, slot("e"), 1.5, stamp(2))
    assert third.active == slot("a", 1.5)
    assert with_threshold(third, TOP, slot("e"), None, stamp(3)).active == slot("a")


def test_a_rollback_restores_models_shadow_and_threshold_and_a_second_one_undoes_it() -> None:
    first = with_threshold(activated(None, TOP, slot("a"), stamp()), TOP, slot("e"), 3.0, stamp(1))
    first = shadowed(first, TOP, slot("b"), stamp(2))
    second = promoted(first, TOP, stamp(3))
    back = rolled_back(second, TOP, [], stamp(4))
    assert (back.active, back.shadow) == (slot("a", 3.0), slot("b"))
    again = rolled_back(back, TOP, [], stamp(5))
    assert (again.active, again.shadow) == (slot("b"), None)
    assert rolled_back(second, TOP, [], Stamp("a.meyer", None, NOON)).why == "rolled back what r.lindqvist had changed"


def test_a_rollback_of_the_first_change_is_the_plant_files_artifact() -> None:
    back = rolled_back(activated(None, TOP, slot("a"), stamp()), TOP, [], stamp(1))
    assert (back.active, back.shadow) == (None, None)


def older(letter: str, minute: int) -> ModelSlots:
    """An event of a writer that does not say what was before."""
    return activated(None, TOP, slot(letter), stamp(minute)).model_copy(update={"previous": None})


def test_a_rollback_finds_in_the_topics_history_what_an_event_does_not_say() -> None:
    elsewhere = activated(None, Target("line-2", "top", "pcb"), slot("d"), stamp(1))
    history = [older("a", 0), elsewhere, older("b", 2)]
    assert rolled_back(history[-1], TOP, history, stamp(3)).active == slot("a")


def test_a_rollback_that_nothing_can_tell_says_so() -> None:
    alone = older("a", 0)
    with pytest.raises(ModelsError, match="does not say what was before, and the topic keeps nothing older"):
        rolled_back(alone, TOP, [alone], stamp(1))
    with pytest.raises(ModelsError, match="was never changed: the plant file's artifact scores it"):
        rolled_back(None, TOP, [], stamp(1))


def test_models_of_the_product_that_a_station_used_to_inspect_are_not_taken_over() -> None:
    before = shadowed(activated(None, TOP, slot("a"), stamp()), TOP, slot("b"), stamp(1))
    now = Target("line-1", "top", "lid")
    assert shadowed(before, now, slot("c"), stamp(2)).active is None
    assert activated(before, now, slot("c"), stamp(2)).shadow is None
    with pytest.raises(ModelsError, match="inspected pcb, and the plant file says lid"):
        rolled_back(shadowed(before, TOP, None, stamp(2)), now, [], stamp(3))


def test_two_changes_are_two_events_and_the_same_change_is_one() -> None:
    assert activated(None, TOP, slot("a"), stamp()).id == activated(None, TOP, slot("a"), stamp()).id
    assert activated(None, TOP, slot("a"), stamp()).id != activated(None, TOP, slot("a"), stamp(1)).id


def test_stations_are_named_by_line_by_station_or_by_product() -> None:
    plant = parse_plant(EXAMPLE)
    assert targets(plant, lines=["line-1"]) == targets(plant, stations=["line-1/top"]) == (TOP,)
    assert targets(plant, product="pcb") == targets(plant) == (TOP,)
    for wrong in ({"lines": ["line-9"]}, {"stations": ["line-1/side"]}, {"product": "lid"}):
        with pytest.raises(ModelsError, match=r"no such station: .*; the plant has line-1/top \(pcb\)"):
            targets(plant, **wrong)
