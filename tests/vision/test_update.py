"""A model learns from good parts that it rejected: those pass afterwards, and defects do not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from plates import plate

from neverblink.trainer.datasets.images import images_in, labelled_images
from neverblink.trainer.evaluation.evaluate import evaluate
from neverblink.trainer.fitting.update import UpdateError, update
from neverblink.vision.artifact import load_artifact
from neverblink.vision.artifact_manifest import ArtifactError
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import Inspector, extractor_of, inspect


def marked(folder: Path, seeds: range) -> list[Path]:
    """Write plates that carry a stamp from now on, which is no defect."""
    folder.mkdir()
    for seed in seeds:
        image, _ = plate(seed)
        image[40:52, 12:24] = 40
        cv2.imwrite(str(folder / f"{seed}.png"), image)
    return images_in(folder)


def scores(folder: Path, paths: list[Path]) -> np.ndarray:
    artifact = load_artifact(folder)
    inspector = Inspector(artifact, extractor_of(artifact))
    return np.array([anomaly.score for anomaly in inspect([(inspector, read_image(path)) for path in paths])])


@pytest.mark.plant
def test_what_was_taught_passes_and_defects_are_still_found(model: Path, images: Path, tmp_path: Path) -> None:
    taught, others = marked(tmp_path / "taught", range(5000, 5012)), marked(tmp_path / "others", range(6000, 6012))
    old = load_artifact(model)
    assert (scores(model, others) > old.threshold).all()
    done = update(model, tmp_path / "new", taught, share=0.1)
    new = load_artifact(tmp_path / "new")
    assert (done.images, done.skipped, done.rejected[0]) == (12, 0, 12)
    assert done.rejected[1] <= 2
    assert (scores(tmp_path / "new", others) > new.threshold).mean() < 0.5
    paths = [image.path for image in labelled_images(images)]
    assert (scores(tmp_path / "new", paths) <= scores(model, paths) * (1 + 1e-4)).all()
    assert evaluate(labelled_images(images), tmp_path / "new").missed == evaluate(labelled_images(images), model).missed


def test_the_new_artifact_says_what_it_learned_and_keeps_the_promise(model: Path, tmp_path: Path) -> None:
    taught = marked(tmp_path / "taught", range(5000, 5003))
    done = update(model, tmp_path / "new", taught)
    old, new = load_artifact(model), load_artifact(tmp_path / "new")
    assert (new.threshold, new.version, new.digest != old.digest) == (old.threshold, "1-plus3", True)
    np.testing.assert_array_equal(new.bank[: len(old.bank)], old.bank)
    assert len(new.bank) - len(old.bank) == new.manifest.provenance.added == done.added > 0
    assert new.manifest.provenance.images[: len(old.manifest.provenance.images)] == old.manifest.provenance.images
    again = update(tmp_path / "new", tmp_path / "newer", [*taught, *marked(tmp_path / "more", range(7000, 7002))])
    assert (again.images, again.skipped) == (2, 3)


def test_images_that_teach_nothing_are_refused(model: Path, images: Path, tmp_path: Path) -> None:
    known = images_in(images / "train/good")
    with pytest.raises(UpdateError, match="knows all 30 images already"):
        update(model, tmp_path / "new", known)
    with pytest.raises(UpdateError, match="share of patches"):
        update(model, tmp_path / "new", known, share=0)
    with pytest.raises(ArtifactError, match="version 'a b' cannot be used"):
        update(model, tmp_path / "new", known, version="a b")
    with pytest.raises(UpdateError, match="already exists"):
        update(model, model, known)
    assert not (tmp_path / "new").exists()
