"""Configurations side by side: fitted once, judged on the same images, and told when one of them cannot be."""

from pathlib import Path

import cv2
import orjson
import pytest
from plates import plate, write_plates

from neverblink.job_life.progress import Progress
from neverblink.trainer.evaluation.compare import (
    RESULTS,
    CompareError,
    Configuration,
    compare,
    example,
    read_configurations,
)
from neverblink.trainer.fitting.settings import FitSettings, ModelSettings
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.inspector import extractor_of
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.plain_name import product_of


def listed(folder: Path, text: str) -> Path:
    path = folder / "configurations.yaml"
    path.write_text(text)
    return path


def small(label: str, **changes: object) -> Configuration:
    return Configuration(label, FitSettings(**({"product": "plate", "name": "plate", "size": 64} | changes)))  # type: ignore[arg-type]


def broken(label: str) -> Configuration:
    """Return one that no fit takes; a list with it would be refused, a copy is not checked."""
    return Configuration(label, small(label).settings.model_copy(update={"size": 8}))


@pytest.mark.plant
def test_the_second_run_fits_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # All configurations here share a backbone; opening it takes longer than judging with it.
    opened: list[FeatureExtractor] = []

    def open_once(artifact: Artifact, **_: object) -> FeatureExtractor:
        if not opened:
            opened.append(extractor_of(artifact, engine="torch"))
        return opened[0]

    monkeypatch.setattr("neverblink.trainer.evaluation.evaluate.extractor_of", open_once)
    images = write_plates(tmp_path / "plates", train=6, test=2)
    stages: list[str] = []

    def progress(label: str) -> Progress:
        return lambda stage, *_: stages.append(f"{label}: {stage}")

    wanted = [small("a", ratio=0.01), broken("broken"), small("b", ratio=0.05)]
    first = compare(images, wanted, tmp_path / "kept", progress)
    a, failed, b = first
    assert (a.label, a.good, a.fitted_before, b.fitted_before) == ("a", 2, False, False)
    assert a.bank_mb == pytest.approx(b.bank_mb / 5, rel=0.2)
    assert a.artifact is not None
    assert load_artifact(a.artifact).digest == a.digest
    # A configuration that cannot be fitted is told in its row, and does not stop the others.
    assert failed.image_auroc is None
    assert "greater than or equal to 32 (it is 8)" in (failed.fault or "")
    assert [row["label"] for row in orjson.loads((tmp_path / "kept" / RESULTS).read_bytes())] == ["a", "broken", "b"]

    stages.clear()
    again = compare(images, [small("renamed", ratio=0.01), wanted[2]], tmp_path / "kept", progress)
    assert [row.fitted_before for row in again] == [True, True]
    assert not any("extracting" in stage for stage in stages)
    assert [row.image_auroc for row in again] == [a.image_auroc, b.image_auroc]
    assert again[0].fit_seconds == a.fit_seconds

    # Another training image is another model, and so is a kept one that was damaged.
    (tensors,) = b.artifact.glob("*.safetensors") if b.artifact else ()
    tensors.write_bytes(tensors.read_bytes()[:-1])
    (mended,) = compare(images, [wanted[2]], tmp_path / "kept")
    assert (mended.fitted_before, mended.image_auroc) == (False, b.image_auroc)
    cv2.imwrite(str(images / "train/good/000.png"), plate(99)[0])
    (changed,) = compare(images, [wanted[0]], tmp_path / "kept")
    assert not changed.fitted_before
    assert changed.artifact != a.artifact


def test_pictures_in_folders_of_their_items_are_found_and_grouped(tmp_path: Path) -> None:
    images = write_plates(tmp_path / "plates", train=6, test=2)
    for number, path in enumerate(sorted((images / "train/good").glob("*.png"))):
        item = path.parent / f"item{number // 2}"
        item.mkdir(exist_ok=True)
        path.rename(item / path.name)
    wanted = [small("items", group_by="folder", engine="torch", folds=2), small("all", engine="torch")]
    grouped, alone = compare(images, wanted, tmp_path / "kept")
    assert grouped.artifact is not None, grouped.fault
    calibration = load_artifact(grouped.artifact).manifest.calibration
    assert (calibration.normals, calibration.pictures) == (3, 6)
    assert "has no images" in (alone.fault or "")


def test_the_list_says_what_differs_from_the_defaults(tmp_path: Path) -> None:
    weights = tmp_path / "resnet18.safetensors"
    weights.write_bytes(b"")
    path = listed(tmp_path, "- {}\n- label: r18\n  model: resnet18\n  weights: resnet18.safetensors\n- size: 320\n")
    default, resnet, finer = read_configurations(path, "tile")
    assert default == Configuration("defaults", FitSettings(product="tile", name="tile"))
    assert (resnet.label, resnet.settings.model, resnet.settings.weights) == ("r18", "resnet18", weights)
    assert (finer.label, finer.settings.size) == ("size 320", 320)


def test_the_printed_example_can_be_read(tmp_path: Path) -> None:
    labels = [one.label for one in read_configurations(listed(tmp_path, example()), "tile")]
    assert labels == ["default", "finer", "large bank"]


def test_the_printed_example_says_every_key_with_its_meaning() -> None:
    lines = example().splitlines()
    for key, field in ModelSettings.keys().items():
        told = [line for line in lines if line.startswith(f"#   {key}:")]
        assert len(told) == (key != "scratch"), key
        if told:
            assert (field.description or "").split()[0] in told[0]
    assert any(line.startswith("#   label:") for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must hold a list"),
        ("size: 320", "must hold a list"),
        ("- size: [", "is not valid YAML: .* line 1"),
        ("- 320", "configuration 1 must be settings such as"),
        ("- lable: a", r"configuration 1: 'lable' is no setting of a fit; did you mean 'label'\?"),
        ("- sizes: 320", r"configuration 1: 'sizes' is no setting of a fit; did you mean 'size'\?"),
        ("- {}\n- product: other", "configuration 2: 'product' is no setting"),
        ("- size: large", r"configuration 1: size: .*integer.* \(it is 'large'\)"),
        ("- weights: gone.safetensors", "there is no weights file .*gone.safetensors"),
        ("- label: a\n- label: a\n  size: 320", "two configurations named 'a'"),
        ("- label: 5", "a label is a text of 1 to 80 characters"),
        ("- label: &a [x, x]\n- label: [*a, *a]", "a label is a text"),
        ("- !!python/object/apply:os.system ['true']", "is not valid YAML"),
    ],
)
def test_a_list_that_cannot_be_understood_is_explained(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CompareError, match=said):
        read_configurations(listed(tmp_path, text), "tile")
    with pytest.raises(CompareError, match="cannot be read"):
        read_configurations(tmp_path / "gone.yaml", "tile")


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_fitted(tmp_path: Path) -> None:
    images = write_plates(tmp_path / "plates", train=2, test=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(CompareError, match=r"comparison\.json cannot be written"):
        compare(images, [small("a")], tmp_path / "file")


def test_a_product_is_named_after_its_folder(tmp_path: Path) -> None:
    assert product_of(tmp_path / "magnetic tile (2)") == "magnetic-tile-2"
    assert product_of(tmp_path / "…") == "product"
