"""Nothing is written over by accident, and a place that cannot be written is known before the work."""

import os
from pathlib import Path

import pytest
from plates import SIDE, write_plates
from small_artifacts import write_artifact

from neverblink.trainer.datasets.inputs import InspectionError
from neverblink.trainer.fitting import opening, picture_set
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.jobs import run_calibrate, run_fit, run_update
from neverblink.trainer.fitting.settings import CalibrateJob, FitJob, FitSettings, UpdateJob
from neverblink.trainer.offline_inspection.job import run_inspect
from neverblink.trainer.offline_inspection.settings import InspectJob
from neverblink.vision.artifact import load_artifact
from neverblink.vision.artifact_manifest import ArtifactError


def job(images: Path, out: Path, product: str = "plate", **more: object) -> FitJob:
    return FitJob.model_validate(
        {"images": images, "product": product, "out": out, "size": SIDE, "engine": "torch", **more}
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plates(tmp_path_factory.mktemp("plates") / "plates", train=8, test=2)


@pytest.fixture
def model(images: Path, tmp_path: Path) -> Path:
    run_fit(job(images, tmp_path / "model"))
    return tmp_path / "model"


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object, **__: object) -> None:
        raise AssertionError("the work begins before the place is known to be right")

    for module, name in ((picture_set, "usable_pictures"), (opening, "load_backbone")):
        monkeypatch.setattr(module, name, unwanted)


def test_fit_writes_over_a_model_of_its_product_only_when_it_is_told_to(images: Path, model: Path) -> None:
    before = load_artifact(model).digest
    with pytest.raises(ArtifactError, match=r"already exists: it holds plate 1, .* say --replace"):
        run_fit(job(images, model, model_version="2"))
    assert load_artifact(model).digest == before
    run_fit(job(images, model, model_version="2", replace=True))
    assert load_artifact(model).version == "2"


@pytest.mark.usefixtures("no_work")
def test_a_model_of_another_product_is_never_written_over(images: Path, tmp_path: Path) -> None:
    place = tmp_path / "pcb"
    write_artifact(tmp_path, "pcb", product="pcb")
    for replace in (False, True):
        with pytest.raises(ArtifactError, match="holds pcb 1, a model of product pcb and not of plate"):
            run_fit(job(images, place, replace=replace))
    with pytest.raises(ArtifactError, match="a model of product pcb"):
        fit([], place, FitSettings(product="plate", name="plate"))
    assert load_artifact(place).product == "pcb"


@pytest.mark.usefixtures("no_work")
def test_a_folder_of_other_files_is_never_written_over(images: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/todo.txt").write_text("keep me")
    with pytest.raises(ArtifactError, match="holds other files and no artifact"):
        run_fit(job(images, tmp_path / "notes", replace=True))
    assert (tmp_path / "notes/todo.txt").read_text() == "keep me"
    with pytest.raises(ArtifactError, match="is no folder"):
        run_fit(job(images, tmp_path / "notes/todo.txt", replace=True))


@pytest.mark.usefixtures("no_work")
def test_a_place_that_cannot_be_written_is_told_before_the_work(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("a file where a folder is to be")
    with pytest.raises(ArtifactError, match="cannot be written"):
        run_fit(job(images, tmp_path / "file.txt/model"))
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(ArtifactError, match="Permission denied"):
            run_fit(job(images, tmp_path / "model"))
    with pytest.raises(ArtifactError, match="cannot be written"):
        run_fit(job(images, Path("/proc/neverblink/model")))


def test_what_changes_a_model_needs_a_new_place(images: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be written"):
        run_calibrate(CalibrateJob(artifact=model, out=Path("/proc/neverblink/model"), threshold=2.0))
    with pytest.raises(ArtifactError, match="cannot be written"):
        run_update(UpdateJob(artifact=model, images=images, out=Path("/proc/neverblink/model")))
    for out in (model, tmp_path):
        with pytest.raises(Exception, match="already exists"):
            run_calibrate(CalibrateJob(artifact=model, out=out, threshold=2.0))


def test_inspecting_a_product_by_a_model_of_another_is_refused(images: Path, model: Path, tmp_path: Path) -> None:
    asked = {"images": images / "test", "artifact": model, "out": tmp_path / "run", "engine": "torch"}
    with pytest.raises(InspectionError, match="plate 1 is a model of product plate, and the images show pcb"):
        run_inspect(InspectJob.model_validate(asked | {"product": "pcb"}))
    assert not (tmp_path / "run").exists()
    assert run_inspect(InspectJob.model_validate(asked | {"product": "plate"})).results.images == 4
