"""Real models in a scorer's slots: memory, thresholds, and what cannot be opened."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from neverblink.events import ArtifactRef, ModelSlots, Slot
from neverblink.plant import Plant
from neverblink.scorer.model_loader import ModelLoader
from neverblink.scorer.model_memory import MIB, ModelMemory
from neverblink.scorer.models import Model, Models
from neverblink.vision import patchcore
from neverblink.vision.artifact import _rewritten, load_artifact
from neverblink.vision.artifact_manifest import MANIFEST, TENSORS
from neverblink.vision.memory import held_bytes
from neverblink.vision.neighbours import ApproximateIndex, AugmentedGemm
from rigs.scored_line import ScoredLine, fit_striped, refit_striped, striped

TOP = ("line-1", "top")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`striped` and three models with other banks."""
    artifacts = fit_striped(tmp_path_factory.mktemp("striped"))
    for name, ratio in (("small", 0.02), ("large", 0.3), ("larger", 0.5)):
        refit_striped(artifacts, name, ratio=ratio)
    return artifacts


@pytest.fixture
def plant(fitted: Path, tmp_path: Path) -> Callable[..., Plant]:
    def made(**scorer: object) -> Plant:
        line = ScoredLine("127.0.0.1:1", fitted)
        storage = line.plant.storage.model_copy(update={"model_cache": tmp_path / "cache"})
        settings = line.plant.scorer.model_copy(update=scorer)
        return line.plant.model_copy(update={"storage": storage, "scorer": settings})

    return made


def wanted(artifacts: Path, name: str, *, threshold: float | None = None, shadow: str | None = None) -> ModelSlots:
    def slot(folder: str, edited: float | None = None) -> Slot:
        found = load_artifact(artifacts / folder)
        reference = ArtifactRef(name=found.name, version=found.version, digest=found.digest)
        return Slot(artifact=reference, location=folder, threshold=edited)

    return ModelSlots(
        id="x", line=TOP[0], station=TOP[1], product="striped", active=slot(name, threshold),
        shadow=None if shadow is None else slot(shadow), by="test", at=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip


def change(models: Models, event: ModelSlots) -> Model:
    models.put(TOP, models.opened(TOP, event))
    model = models.active(*TOP, "striped")
    assert model is not None
    return model


def score(models: Models, model: Model, pixels: np.ndarray) -> float:
    (found,) = models.score([(model, model.inspector.prepare_defects(pixels))])
    return found.anomaly.score


def test_a_product_is_searched_as_its_plant_file_says(plant: Callable[..., Plant], fitted: Path) -> None:
    made = plant()
    products = tuple(product.model_copy(update={"search": "approximate"}) for product in made.products)
    loader = ModelLoader(made.model_copy(update={"products": products}))
    model = change(Models(loader._plant, loader), wanted(fitted, "large"))
    assert isinstance(model.inspector._patchcore._index, ApproximateIndex)


def test_products_that_share_a_backbone_share_its_network_and_count_it_once(
    plant: Callable[..., Plant], fitted: Path
) -> None:
    loader = ModelLoader(plant())
    models = Models(loader._plant, loader)
    for place in models.stations:
        models.put(place, models.opened(place, None))
    first = models["striped"]
    alone = loader.memory.bytes
    second = change(models, wanted(fitted, "large"))
    assert second.inspector.extractor is first.inspector.extractor
    grown = loader.memory.bytes - alone
    assert second.artifact.bank.nbytes <= grown < alone, "the bank and what searches it, but no second network"


def test_an_edited_threshold_shares_the_bank_and_decides_what_is_anomalous(
    plant: Callable[..., Plant], fitted: Path
) -> None:
    models = Models.load(plant())
    own = change(models, wanted(fitted, "small"))
    defect = striped(5, defect=True)
    value = score(models, own, defect)
    lenient = change(models, wanted(fitted, "small", threshold=2 * value))
    assert held_bytes([own, lenient]) == held_bytes(own)
    assert score(models, lenient, defect) == value
    pictures = [(model, model.inspector.prepare_defects(defect)) for model in (own, lenient)]
    assert [bool(found.findings) for found in models.score(pictures)] == [True, False]
    assert lenient.threshold == 2 * value
    assert own.threshold == own.artifact.threshold


def test_a_rollback_within_memory_is_the_very_same_model(plant: Callable[..., Plant], fitted: Path) -> None:
    models = Models.load(plant())
    before = change(models, wanted(fitted, "small"))
    change(models, wanted(fitted, "large"))
    assert change(models, wanted(fitted, "small")).inspector is before.inspector


def test_a_rollback_that_has_to_load_again_gives_the_same_scores(plant: Callable[..., Plant], fitted: Path) -> None:
    pictures = [striped(number, defect=number % 2 == 0) for number in range(20)]
    scores = []
    for _ in range(2):
        models = Models.load(plant())
        model = change(models, wanted(fitted, "small"))
        scores.append([score(models, model, pixels) for pixels in pictures])
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_unused_models_make_room_and_used_ones_never_do(
    plant: Callable[..., Plant], fitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which search is the fastest, and so how much memory a bank takes, is the moment's luck.
    monkeypatch.setattr(patchcore, "neighbour_index", lambda bank, _, **__: AugmentedGemm(bank))

    def opened(*names: str, bound_bytes: int | None = None) -> ModelLoader:
        loader = ModelLoader(plant())
        loader.memory = ModelMemory(bound_bytes)
        models = Models(loader._plant, loader)
        models.put(("line-2", "top"), models.opened(("line-2", "top"), None))
        for name in names:
            assert change(models, wanted(fitted, name)).artifact.name == name
        return loader

    room = opened("large", "larger").memory.bytes
    loader = opened("larger", "small", "large", bound_bytes=room)
    digests = {load_artifact(fitted / name).digest: name for name in ("striped", "small", "large", "larger")}
    assert {digests[digest] for _, digest in loader.memory.keys} == {"striped", "small", "large"}
    assert loader.memory.bytes <= room


def test_a_model_that_does_not_fit_is_refused_and_the_old_one_scores_on(
    plant: Callable[..., Plant], fitted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probe = ModelLoader(plant())
    change(Models(probe._plant, probe), wanted(fitted, "small"))
    models = Models(probe._plant, ModelLoader(plant(memory_mib=probe.memory.bytes // MIB + 1)))
    before = change(models, wanted(fitted, "small"))
    assert change(models, wanted(fitted, "larger")) is before
    assert "larger 2 does not fit into memory: it needs" in models.stations[TOP].faults[0]
    assert "scorer.memory_mib is" in caplog.text


def truncate(folder: Path) -> None:
    file = folder / TENSORS
    file.write_bytes(file.read_bytes()[:-1])


def alter(folder: Path) -> None:
    file = folder / MANIFEST
    file.write_text(file.read_text().replace('"smoothing": 4.0', '"smoothing": 5.0'))


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("damage", "sentence"), [(truncate, "cut off"), (alter, "was altered"), (remove, "there is no artifact at")]
)
def test_a_broken_artifact_keeps_the_old_one_and_a_good_one_ends_the_alarm(
    plant: Callable[..., Plant], fitted: Path, tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    shutil.copytree(fitted, tmp_path / "artifacts")
    made = plant()
    storage = made.storage.model_copy(update={"artifacts": tmp_path / "artifacts"})
    models = Models.load(made.model_copy(update={"storage": storage}))
    before = models.active(*TOP, "striped")
    event = wanted(fitted, "large")
    damage(tmp_path / "artifacts" / "large")
    assert change(models, event) is before
    (fault,) = models.stations[TOP].faults
    assert sentence in fault
    shutil.copytree(fitted / "large", tmp_path / "artifacts" / "large", dirs_exist_ok=True)
    assert change(models, event).artifact.name == "large"
    assert models.stations[TOP].faults == ()


def test_a_model_of_other_backbone_weights_is_refused(
    plant: Callable[..., Plant], fitted: Path, tmp_path: Path
) -> None:
    shutil.copytree(fitted, tmp_path / "artifacts")
    found = load_artifact(fitted / "small")
    backbone = found.backbone.model_copy(update={"weights": "sha256:" + "0" * 64})
    _rewritten(found, tmp_path / "artifacts" / "foreign", {"backbone": backbone}, found.bank, found.neighbours)
    made = plant()
    storage = made.storage.model_copy(update={"artifacts": tmp_path / "artifacts"})
    models = Models.load(made.model_copy(update={"storage": storage}))
    before = models.active(*TOP, "striped")
    assert change(models, wanted(tmp_path / "artifacts", "foreign")) is before
    assert "weights" in models.stations[TOP].faults[0]


def test_a_model_of_another_product_is_refused(plant: Callable[..., Plant], fitted: Path) -> None:
    made = plant()
    products = (made.products[0], made.products[0].model_copy(update={"name": "lid"}))
    models = Models(made.model_copy(update={"products": products}))
    event = wanted(fitted, "small").model_copy(update={"product": "lid"})
    models.put(TOP, models.opened(TOP, event))
    assert "is a model of product striped, and the station inspects lid" in models.stations[TOP].faults[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_allocator_is_asked(plant: Callable[..., Plant], fitted: Path) -> None:
    loader = ModelLoader(plant(device="cuda"))
    change(Models(loader._plant, loader), wanted(fitted, "small"))
    assert loader.memory.bytes >= torch.cuda.memory_allocated("cuda") > 0
