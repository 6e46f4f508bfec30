"""Which model scores a station: what was asked for once it is open, and what was there before until then."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neverblink.events import ArtifactRef, CalibratedScores, ModelSlots, Slot
from neverblink.plant import Plant, Product
from neverblink.scorer.model_loader import Model
from neverblink.scorer.models import Models, Place
from neverblink.scorer.slot_follower import latest
from neverblink.vision.artifact_manifest import ArtifactError

TOP, SIDE, OTHER = ("line-1", "top"), ("line-1", "side"), ("line-2", "top")
CALIBRATION = np.linspace(1, 3, 401, dtype=np.float32)


@dataclass
class Opener:
    """Opens models without artifacts; those whose digest letter is in `broken` cannot be opened."""

    broken: set[str] = field(default_factory=set)
    in_use: list[set[tuple[str, str]]] = field(default_factory=list)

    def of_plant(self, product: Product, in_use: Collection[tuple[str, str]]) -> Model:
        return self._open(product, "f", None, in_use)

    def of_slot(self, product: Product, slot: Slot, in_use: Collection[tuple[str, str]]) -> Model:
        return self._open(product, slot.artifact.digest[-1], slot.threshold, in_use)

    def _open(
        self, product: Product, letter: str, threshold: float | None, in_use: Collection[tuple[str, str]]
    ) -> Model:
        self.in_use.append(set(in_use))
        if letter in self.broken:
            raise ArtifactError(f"model {letter} was altered")
        if letter == "0":
            raise MemoryError("no memory at all")
        calibration = SimpleNamespace(normals=len(CALIBRATION))
        artifact = SimpleNamespace(
            name=letter, version="1", digest=f"sha256:{letter * 64}", threshold=2.0, picture_scores=CALIBRATION,
            manifest=SimpleNamespace(calibration=calibration),
        )  # fmt: skip
        inspector: Any = SimpleNamespace(artifact=artifact)
        return Model.of(product, inspector, threshold)


@pytest.fixture
def plant() -> Plant:
    def station(name: str, product: str) -> dict[str, object]:
        source, trigger = {"kind": "simulated", "drawing": "pcb"}, {"kind": "timer"}
        return {"name": name, "product": product, "source": source, "trigger": trigger}

    timing = {"distance_to_gate_m": 2, "speed_m_s": 1}
    return Plant.model_validate(
        {
            "site": "test",
            "products": [{"name": "pcb", "artifact": "pcb"}, {"name": "lid", "artifact": "lid"}],
            "lines": [
                {"name": "line-1", "timing": timing, "stations": [station("top", "pcb"), station("side", "lid")]},
                {"name": "line-2", "timing": timing, "stations": [station("top", "pcb")]},
            ],
        }
    )


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def models(plant: Plant, opener: Opener) -> Models:
    found = Models(plant, opener)  # type: ignore[arg-type]
    for place in found.stations:
        found.put(place, found.opened(place, None))
    return found


def slot(letter: str, threshold: float | None = None) -> Slot:
    reference = ArtifactRef(name="pcb", version="1", digest=f"sha256:{letter * 64}")
    return Slot(artifact=reference, location=letter, threshold=threshold)


def wanted(
    active: Slot | None = None, shadow: Slot | None = None, *, place: Place = TOP, product: str = "pcb"
) -> ModelSlots:
    return ModelSlots(
        id="x", line=place[0], station=place[1], product=product, active=active, shadow=shadow, by="me",
        at=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip


def change(models: Models, event: ModelSlots | None, place: Place = TOP) -> None:
    models.put(place, models.opened(place, event))


def named(model: Model | None) -> str | None:
    return None if model is None else model.artifact.name


def test_without_an_event_the_plant_files_artifact_scores_each_station(models: Models) -> None:
    for line, station, product in ((*TOP, "pcb"), (*SIDE, "lid"), (*OTHER, "pcb")):
        assert named(models.active(line, station, product)) == "f"
        assert models.shadow(line, station) is None


def test_an_event_changes_its_own_station_alone(models: Models) -> None:
    change(models, wanted(slot("a"), slot("b")))
    assert named(models.active(*TOP, "pcb")) == "a"
    assert named(models.shadow(*TOP)) == "b"
    assert named(models.active(*OTHER, "pcb")) == "f"
    assert models.shadow(*OTHER) is None


def test_nothing_changes_while_a_model_is_being_opened(models: Models) -> None:
    found = models.opened(TOP, wanted(slot("a")))
    assert named(models.active(*TOP, "pcb")) == "f"
    models.put(TOP, found)
    assert named(models.active(*TOP, "pcb")) == "a"


def test_an_edited_threshold_is_the_models(models: Models) -> None:
    change(models, wanted(slot("a", 3.5)))
    model = models.active(*TOP, "pcb")
    assert model is not None
    assert (model.threshold, model.reference.digest) == (3.5, slot("a").artifact.digest)
    change(models, wanted(slot("a")))
    again = models.active(*TOP, "pcb")
    assert again is not None
    assert again.threshold == 2.0


def test_what_the_calibration_scored_is_held_against_the_threshold_in_force(models: Models) -> None:
    """Scores from 1 to 3, evenly: of those up to the threshold, and as shares of it."""
    for threshold, count, quantiles in (
        (None, 201, (0.525, 0.625, 0.75, 0.875, 0.975)),
        (2.5, 301, (0.43, 0.55, 0.7, 0.85, 0.97)),
        (0.5, None, ()),
    ):
        change(models, wanted(slot("a", threshold)))
        model = models.active(*TOP, "pcb")
        assert model is not None
        if count is None:
            assert model.calibrated is None
        else:
            assert model.calibrated == CalibratedScores(count=count, quantiles=quantiles)
            assert len(model.calibrated.model_dump_json()) < 100


def test_a_broken_artifact_keeps_the_old_one_and_says_so_until_a_good_event(
    models: Models, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    change(models, wanted(slot("a"), slot("b")))
    opener.broken = {"c", "d"}
    change(models, wanted(slot("c"), slot("d")))
    assert named(models.active(*TOP, "pcb")) == "a"
    assert named(models.shadow(*TOP)) == "b"
    assert models.stations[TOP].faults == ("active: model c was altered", "shadow: model d was altered")
    assert "line-1/top goes on with a 1: active: model c was altered" in caplog.text
    told = len(caplog.records)
    change(models, wanted(slot("c"), slot("d")))
    assert len(caplog.records) == told, "the same fault is not told again and again"
    change(models, wanted(slot("a")))
    assert models.stations[TOP].faults == ()
    assert named(models.shadow(*TOP)) is None


def test_a_broken_shadow_does_not_keep_a_good_model_from_scoring(models: Models, opener: Opener) -> None:
    opener.broken = {"d"}
    change(models, wanted(slot("a"), slot("d")))
    assert named(models.active(*TOP, "pcb")) == "a"
    assert models.stations[TOP].faults == ("shadow: model d was altered",)


def test_what_no_artifact_should_raise_is_a_fault_as_well(models: Models) -> None:
    change(models, wanted(slot("0")))
    assert named(models.active(*TOP, "pcb")) == "f"
    assert models.stations[TOP].faults == ("active: MemoryError('no memory at all')",)


def test_an_event_of_a_product_that_the_plant_does_not_know_is_a_fault(models: Models) -> None:
    change(models, wanted(slot("a"), product="box"))
    assert "the plant has no product 'box'" in models.stations[TOP].faults[0]
    assert models.active(*TOP, "box") is None


def test_a_station_that_changes_its_product_never_scores_it_with_the_old_products_model(
    models: Models, opener: Opener
) -> None:
    opener.broken = {"c"}
    change(models, wanted(slot("c"), product="lid"))
    assert models.active(*TOP, "lid") is None
    change(models, wanted(slot("a"), product="lid"))
    assert named(models.active(*TOP, "lid")) == "a"


def test_frames_of_another_product_are_scored_by_the_plant_files_artifact_or_not_at_all(models: Models) -> None:
    assert named(models.active(*SIDE, "pcb")) == "f"
    assert named(models.active("line-9", "top", "pcb")) == "f"
    assert models.active(*SIDE, "box") is None
    change(models, wanted(slot("a")))
    change(models, wanted(slot("a"), place=OTHER), OTHER)
    assert models.active(*SIDE, "pcb") is None, "an activation for two stations is none for a third"


def test_all_models_in_use_stay_in_memory_while_one_is_opened(models: Models, opener: Opener) -> None:
    change(models, wanted(slot("a"), slot("b")))
    opener.in_use.clear()
    change(models, wanted(slot("c"), slot("d"), place=OTHER), OTHER)
    first, second = opener.in_use
    assert first >= {("pcb", slot(letter).artifact.digest) for letter in "abf"}
    assert second >= first | {("pcb", slot("c").artifact.digest)}


def test_a_deleted_key_brings_the_plant_files_artifact_back(models: Models) -> None:
    change(models, wanted(slot("a")))
    change(models, None)
    assert named(models.active(*TOP, "pcb")) == "f"


def test_of_many_events_of_a_station_the_last_counts_and_foreign_stations_do_not(models: Models) -> None:
    first, second = wanted(slot("a")), wanted(slot("b"))
    events = [("line-1/top", first), ("line-9/top", first), ("line-1/top", second), ("line-2/top", None), ("x", first)]
    assert latest(models, events) == {TOP: second, OTHER: None}
