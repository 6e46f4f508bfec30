"""A model of 12-bit pictures is the model of the same parts in 8 bits, at every step that reads pictures."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from plates import SIDE, write_plates

from neverblink.decisions.rules import ProductRules
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.trainer.datasets.inputs import FolderInputs
from neverblink.trainer.evaluation.evaluate import evaluate
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.recalibrate import Wish, recalibrate
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.update import update
from neverblink.trainer.retraining.refit import settings_like
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import ImageError, read_image
from neverblink.vision.preprocess import Preprocess

SCRATCHED = "test/scratch"


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plates(tmp_path_factory.mktemp("plates") / "shallow")


@pytest.fixture(scope="module")
def deep(shallow: Path) -> Path:
    """The same parts with 12 bits, half of them as PNG and half as TIFF."""
    folder = shallow.parent / "deep"
    shutil.copytree(shallow, folder)
    random = np.random.default_rng(0)
    for number, path in enumerate(sorted([*folder.glob("train/*/*.png"), *folder.glob("test/*/*.png")])):
        grey = np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), dtype=np.uint16)
        values = (grey << 4) | random.integers(0, 16, grey.shape).astype(np.uint16)
        suffix = (".png", ".tif")[number % 2]
        path.unlink()
        cv2.imwrite(str(path.with_suffix(suffix)), values)
    return folder


def settings(**changes: object) -> FitSettings:
    return FitSettings.model_validate({"product": "plate", "name": "plate", "size": SIDE, **changes})


def test_a_fit_without_a_depth_is_refused_with_the_one_that_the_values_suggest(deep: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"16 bits a value .* suggests a depth of 12") as told:
        fit(good_images(deep), tmp_path / "artifact", settings())
    assert told.value.reason == "wrong-type"


@pytest.mark.plant
def test_bank_threshold_and_figures_are_those_of_eight_bits(shallow: Path, deep: Path, tmp_path: Path) -> None:
    eight = fit(good_images(shallow), tmp_path / "eight", settings()).artifact
    twelve = fit(good_images(deep), tmp_path / "twelve", settings(depth=12)).artifact
    np.testing.assert_array_equal(eight.bank, twelve.bank)
    assert twelve.threshold == eight.threshold
    assert (eight.manifest.depth, twelve.manifest.depth) == (None, 12)
    assert settings_like(twelve, 10, version="2").depth == 12
    of_eight = evaluate(labelled_images(shallow), tmp_path / "eight")
    of_twelve = evaluate(labelled_images(deep), tmp_path / "twelve")
    assert [one.score for one in of_twelve.scored] == [one.score for one in of_eight.scored]
    assert of_twelve.depth == 12
    # A model of eight bits judges deep pictures where their depth is stated.
    by_rule = evaluate(labelled_images(deep), tmp_path / "eight", rules=ProductRules(depth=12))
    assert by_rule.missed == of_eight.missed == 0
    with pytest.raises(ImageError, match="suggests a depth of 12"):
        evaluate(labelled_images(deep), tmp_path / "eight")


@pytest.mark.plant
def test_later_jobs_know_the_depth_from_the_artifact(deep: Path, tmp_path: Path) -> None:
    fit(good_images(deep), tmp_path / "twelve", settings(depth=12))
    done = recalibrate(tmp_path / "twelve", tmp_path / "again", Wish(false_reject=0.3), images=labelled_images(deep))
    assert done.artifact.manifest.depth == 12
    taught = update(tmp_path / "twelve", tmp_path / "taught", sorted((deep / "test/good").iterdir()), version="2")
    assert load_artifact(tmp_path / "taught", digest=taught.artifact.digest).manifest.depth == 12


def test_an_inspection_reads_deep_pictures_by_the_depth_that_it_is_given(shallow: Path, deep: Path) -> None:
    stated = FolderInputs(deep / SCRATCHED, depth=12)
    for one, expected in zip(stated.go_through(), sorted((shallow / SCRATCHED).iterdir()), strict=True):
        np.testing.assert_array_equal(one.read(), read_image(expected))
    assert stated.identity["depth"] == 12
    assert "depth" not in FolderInputs(deep / SCRATCHED).identity
    with pytest.raises(ImageError):
        next(iter(FolderInputs(deep / SCRATCHED).go_through())).read()


def test_an_artifact_without_a_depth_keeps_its_identity() -> None:
    assert "depth" not in Preprocess(resize=64).model_dump(mode="json", exclude_defaults=True)
