"""Where the plant demands its golden set, what has no passing report does not act, whatever the topic says."""

import hashlib
import shutil
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from golden_parts import JUDGED, keep, list_parts, report_of, slot_of, with_golden
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from small_artifacts import write_artifact

from neverblink.events import ModelSlots, PreviousSlots, Slot
from neverblink.model_registry.golden_set import GOLDEN, GoldenPart, GoldenSet, as_file, parsed
from neverblink.model_registry.qualifications import JudgedPart
from neverblink.plant import DefectPolicy, Plant, PlantError, Product, load_plant, rules_digest
from neverblink.scorer.model_loader import Model
from neverblink.scorer.models import ModelError, Models
from neverblink.vision.artifact import read_manifest

TOP = ("line-1", "top")
SCRATCH, STAIN = "defects/scratch/1.png", "defects/stain/1.png"
CALIBRATION = np.linspace(1, 3, 401, dtype=np.float32)


class Opener:
    """Opens models by their digests alone."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant

    def of_plant(self, product: Product, _: Collection[object]) -> Model:
        manifest, digest = read_manifest(self._plant.artifact_folder(product))
        return self._open(product, manifest.name, digest, None)

    def of_slot(self, product: Product, slot: Slot, _: Collection[object]) -> Model:
        return self._open(product, slot.artifact.name, slot.artifact.digest, slot.threshold)

    def _open(self, product: Product, name: str, digest: str, threshold: float | None) -> Model:
        artifact = SimpleNamespace(
            name=name, version="1", digest=digest, threshold=2.5, picture_scores=CALIBRATION,
            manifest=SimpleNamespace(calibration=SimpleNamespace(normals=len(CALIBRATION))),
        )  # fmt: skip
        inspector: Any = SimpleNamespace(artifact=artifact)
        return Model.of(product, inspector, threshold)


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """A plant that demands the golden set of its only product: one good part, one scratch."""
    for name, seed in (("pcb", 0), ("pcb-2", 1), ("pcb-3", 2)):
        write_artifact(tmp_path / "artifacts", name, seed=seed)
    station = {
        "name": "top", "product": "pcb", "source": {"kind": "simulated", "drawing": "pcb"}, "trigger": {"kind": "timer"}
    }  # fmt: skip
    plain = Plant.model_validate(
        {
            "site": "test",
            "storage": {"artifacts": tmp_path / "artifacts", "model_cache": tmp_path / "cache"},
            "products": [{"name": "pcb", "artifact": "pcb"}],
            "lines": [
                {"name": "line-1", "timing": {"distance_to_gate_m": 2, "speed_m_s": 1}, "stations": [station]},
            ],
        }
    )
    found = with_golden(plain, tmp_path / "golden", demanded=True)
    list_parts(found, "good/1.png", SCRATCH)
    return found


def started(plant: Plant, event: ModelSlots | None = None) -> Models:
    models = Models(plant, Opener(plant))  # type: ignore[arg-type]
    models.put(TOP, models.opened(TOP, event))
    return models


def event(active: Slot | None, *, at: datetime = JUDGED, previous: Slot | None = None) -> ModelSlots:
    before = PreviousSlots(product="pcb", active=previous, at=at - timedelta(days=1))
    return ModelSlots(
        id="x", line="line-1", station="top", product="pcb", active=active, by="script", at=at, previous=before
    )


def change(models: Models, wanted: ModelSlots) -> str | None:
    """Let an event arrive; returns the station's fault, None when it has none."""
    models.put(TOP, models.opened(TOP, wanted))
    return next(iter(models.stations[TOP].faults), None)


def scored_by(models: Models) -> tuple[str, float | None] | None:
    model = models.active(*TOP, "pcb")
    return None if model is None else (model.artifact.name, model.edited)


def test_an_event_without_a_passing_report_changes_nothing_and_says_why(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    keep(plant, report_of(plant, slot_of(plant, "pcb")))
    models = started(plant)
    assert scored_by(models) == ("pcb", None)
    fault = change(models, event(slot_of(plant, "pcb-2")))
    assert fault is not None
    assert "pcb-2 1 (sha256:" in fault
    assert "no report says that it passes the golden set of pcb as that is now" in fault
    assert "`neverblink qualify ARTIFACT --product pcb` makes one" in fault
    assert "line-1/top goes on with pcb 1: active: " in caplog.text
    keep(plant, report_of(plant, slot_of(plant, "pcb-2"), SCRATCH))
    assert "1 of 1 known defects escapes: defects/scratch/1.png" in (
        change(models, event(slot_of(plant, "pcb-2"))) or ""
    )
    assert scored_by(models) == ("pcb", None)
    keep(plant, report_of(plant, slot_of(plant, "pcb-2"), at=JUDGED + timedelta(hours=1)))
    assert change(models, event(slot_of(plant, "pcb-2"))) is None
    assert scored_by(models) == ("pcb-2", None)


def test_a_report_of_another_threshold_model_set_or_rules_is_none(plant: Plant) -> None:
    own, edited = slot_of(plant, "pcb"), slot_of(plant, "pcb", 3.0)
    keep(plant, report_of(plant, own))
    models = started(plant)
    assert change(models, event(edited)) is not None, "of another threshold"
    assert change(models, event(slot_of(plant, "pcb-2"))) is not None, "of another model"
    keep(plant, report_of(plant, edited))
    list_parts(plant, "good/1.png", SCRATCH, STAIN)
    assert change(models, event(edited)) is not None, "of the set before a defect was added"
    keep(plant, report_of(plant, edited))
    assert change(models, event(edited)) is None
    lenient = plant.products[0].model_copy(update={"defects": DefectPolicy(reject_on="score")})
    other = plant.model_copy(update={"products": (lenient,)})
    assert scored_by(started(other, event(edited))) is None, "by other rules of the product"


def test_a_report_that_somebody_altered_is_none(plant: Plant) -> None:
    slot = slot_of(plant, "pcb-2")
    keep(plant, report_of(plant, slot_of(plant, "pcb")))
    ref = keep(plant, report_of(plant, slot, SCRATCH))
    models = started(plant)
    (path,) = (plant.storage.artifacts / "qualifications").rglob(f"*{ref.report[7:]}.json")
    path.write_text(report_of(plant, slot).model_dump_json(indent=2))
    assert "no report says that it passes" in (change(models, event(slot)) or "")


def test_the_plant_files_own_artifact_needs_a_report_too(plant: Plant) -> None:
    keep(plant, report_of(plant, slot_of(plant, "pcb-2")))
    models = started(plant, event(slot_of(plant, "pcb-2")))
    assert scored_by(models) == ("pcb-2", None)
    assert change(models, event(None)) is not None, "back to the plant file's artifact, which nobody has judged"
    assert scored_by(models) == ("pcb-2", None)
    with pytest.raises(ModelError, match=r"no model can be loaded: active: pcb 1 .* must not score pcb"):
        Models.load(plant)


def test_a_start_goes_on_with_what_scored_before_a_change_that_must_not_act(plant: Plant) -> None:
    keep(plant, report_of(plant, slot_of(plant, "pcb-2")))
    bad = event(slot_of(plant, "pcb-3"), previous=slot_of(plant, "pcb-2"))
    models = started(plant, bad)
    assert scored_by(models) == ("pcb-2", None)
    assert change(models, bad) is not None
    assert scored_by(models) == ("pcb-2", None)
    nothing_good = event(slot_of(plant, "pcb-3"), previous=slot_of(plant, "pcb-3", 9.0))
    assert scored_by(started(plant, nothing_good)) is None


def test_a_part_that_comes_to_the_set_stops_no_line_that_starts_and_admits_no_later_change(plant: Plant) -> None:
    slot = slot_of(plant, "pcb-2")
    keep(plant, report_of(plant, slot))
    added = JUDGED + timedelta(days=3)
    list_parts(plant, "good/1.png", SCRATCH, STAIN, until=added)
    assert scored_by(started(plant, event(slot, at=added - timedelta(hours=1)))) == ("pcb-2", None)
    assert (
        scored_by(started(plant, event(slot, at=added + timedelta(hours=1), previous=slot_of(plant, "pcb-3")))) is None
    )
    keep(plant, report_of(plant, slot_of(plant, "pcb-3")))
    running = started(plant, event(slot_of(plant, "pcb-3"), at=added))
    assert change(running, event(slot, at=added - timedelta(hours=1))) is not None, "nothing is leniently swapped in"
    assert scored_by(running) == ("pcb-3", None)


def test_what_scores_already_is_no_change(plant: Plant) -> None:
    slot = slot_of(plant, "pcb-2")
    keep(plant, report_of(plant, slot))
    models = started(plant, event(slot))
    list_parts(plant, "good/1.png", SCRATCH, STAIN)
    in_shadow = event(slot).model_copy(update={"shadow": slot_of(plant, "pcb-3")})
    assert change(models, in_shadow) is None, "a shadow acts on nothing and needs no report"
    assert models.shadow(*TOP) is not None


@pytest.mark.parametrize("mounted", ["as a file", "as an empty folder"])
def test_a_scorer_that_was_told_once_starts_while_the_store_and_the_set_are_away(
    plant: Plant, tmp_path: Path, mounted: str
) -> None:
    storage = plant.storage.model_copy(update={"artifact_store": str(tmp_path / "store")})
    plant = plant.model_copy(update={"storage": storage})
    keep(plant, report_of(plant, slot_of(plant, "pcb")))
    assert scored_by(started(plant)) == ("pcb", None)
    for share in (tmp_path / "golden", tmp_path / "store"):
        shutil.rmtree(share)
        if mounted == "as a file":
            share.write_text("a share that is not mounted")
        else:
            share.mkdir()
    assert scored_by(started(plant)) == ("pcb", None)
    assert scored_by(started(plant, event(slot_of(plant, "pcb-2"), previous=slot_of(plant, "pcb-3")))) is None


def test_a_set_that_is_not_demanded_asks_a_scorer_nothing(plant: Plant) -> None:
    settings = plant.proof.golden.model_copy(update={"demanded": False})
    plant = plant.model_copy(update={"proof": plant.proof.model_copy(update={"golden": settings})})
    assert scored_by(started(plant, event(slot_of(plant, "pcb-2", 99.0)))) == ("pcb-2", 99.0)


def test_how_many_good_parts_may_be_rejected_is_the_plants_word_and_no_defect_ever_escapes(plant: Plant) -> None:
    report = report_of(plant, slot_of(plant, "pcb"))
    rejected = JudgedPart(picture="good/1.png", decision="reject", ratio=1.2, fault="rejected, 1.2 of the threshold")
    strict = report.model_copy(update={"parts": (rejected, *report.parts[1:])})
    assert strict.refusal(1) is None
    assert strict.refusal(None) is None
    assert "1 of 1 good golden parts is rejected, and 0 may be: good/1.png" in (strict.refusal(0) or "")
    assert report_of(plant, slot_of(plant, "pcb"), SCRATCH).refusal(None) is not None
    unjudged = JudgedPart(picture="good/1.png", decision="unscored", fault="cannot be judged: no number")
    assert "cannot be judged" in (
        report.model_copy(update={"parts": (unjudged, *report.parts[1:])}).refusal(None) or ""
    )
    assert "no known defect" in (report.model_copy(update={"parts": report.parts[:1]}).refusal(None) or "")


def test_the_plant_file_names_sets_of_its_own_products_beside_itself(tmp_path: Path) -> None:
    text = """
site: test
products: [{name: pcb, artifact: pcb}]
lines:
  - name: line-1
    timing: {distance_to_gate_m: 2, speed_m_s: 1}
    stations: [{name: top, product: pcb, source: {kind: simulated, drawing: pcb}, trigger: {kind: timer}}]
proof: {golden: {sets: {PRODUCT: golden/pcb}, demanded: true}}
"""
    file = tmp_path / "plant.yaml"
    file.write_text(text.replace("PRODUCT", "pcb"))
    assert load_plant(file).proof.golden.sets == {"pcb": str(tmp_path / "golden" / "pcb")}
    file.write_text(text.replace("PRODUCT", "pbc"))
    with pytest.raises(PlantError, match=r"golden\.sets names product 'pbc', .* did you mean 'pcb'"):
        load_plant(file)
    file.write_text(text.replace("PRODUCT: golden/pcb", ""))
    with pytest.raises(PlantError, match="sets names none"):
        load_plant(file)


def test_what_the_plant_file_says_elsewhere_changes_no_rules(plant: Plant) -> None:
    product = plant.products[0]
    assert rules_digest(plant.model_copy(update={"site": "elsewhere"}), "pcb") == rules_digest(plant, "pcb")
    for changed in ({"min_area_px": 9}, {"depth": 12}, {"search": "approximate"}):
        other = plant.model_copy(update={"products": (product.model_copy(update=changed),)})
        assert rules_digest(other, "pcb") != rules_digest(plant, "pcb")


names = st.lists(
    st.sampled_from([f"{folder}/{number}.png" for folder in ("good", "defects/scratch") for number in range(6)]),
    unique=True,
)


def golden_of(pictures: list[str], product: str = "pcb") -> GoldenSet:
    digests = {name: f"sha256:{hashlib.sha256(name.encode()).hexdigest()}" for name in pictures}
    types = {name: None if name.startswith("good") else "scratch" for name in pictures}
    parts = tuple(GoldenPart(picture=name, sha256=digests[name], type=types[name]) for name in pictures)
    return GoldenSet(product=product, parts=parts)


@given(names, names, st.randoms(use_true_random=False))
def test_a_set_is_known_by_what_it_asks_whatever_the_order(one: list[str], other: list[str], random: Random) -> None:
    shuffled = random.sample(one, len(one))
    assert golden_of(one).digest == golden_of(shuffled).digest
    assert (golden_of(one).digest == golden_of(other).digest) is (set(one) == set(other))
    assert golden_of(one).digest != golden_of(one, "lid").digest
    kept = parsed(as_file(golden_of(one)), "pcb", GOLDEN)
    assert kept.digest == golden_of(one).digest, "as it was written, so it is read"


@pytest.mark.parametrize(
    "picture", ["../good/1.png", "good/../../x.png", "/etc/passwd", "good/.hidden", "defects/1.png", "good/a/b.png", ""]
)
def test_a_set_names_no_picture_outside_of_it(picture: str) -> None:
    with pytest.raises(ValidationError):
        GoldenPart(picture=picture, sha256="sha256:" + "0" * 64)


def test_a_set_that_was_never_seen_and_is_not_there_lets_nothing_act_and_says_where_it_was_looked_for(
    plant: Plant, tmp_path: Path
) -> None:
    keep(plant, report_of(plant, slot_of(plant, "pcb")))
    shutil.rmtree(tmp_path / "golden")
    models = started(plant)
    assert scored_by(models) is None
    (fault,) = models.stations[TOP].faults
    assert f"the golden set of pcb is empty, or not there: {tmp_path / 'golden'}" in fault
