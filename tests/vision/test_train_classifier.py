"""A classifier from labelled images: what becomes a region, who judges it, what is left out."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from plates import SIDE, plate, write_plates

from neverblink.trainer.datasets.defect_images import Box, DefectImage, defect_images
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.teaching.train_classifier import (
    ClassifierSettings,
    flagged_by,
    labelled_regions,
    train_classifier,
)
from neverblink.vision.artifact import load_artifact
from neverblink.vision.backbones import load_backbone
from neverblink.vision.decode import ImageError
from neverblink.vision.inspector import Inspector, extractor_of
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor(load_backbone("tf_efficientnet_lite0", preprocess=Preprocess(resize=SIDE)), engine="torch")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> list[DefectImage]:
    folder = write_plates(tmp_path_factory.mktemp("labelled") / "plates", train=1, test=12)
    for number in range(12):
        image, _ = plate(3000 + number)
        mask = blots(*np.random.default_rng(number).integers(10, 50, (1, 2)).tolist())
        image[mask > 0] = 20
        write(folder, "blot", f"{number:03}", image, mask)
    return defect_images(folder)


def blots(*centres: Sequence[int], radius: int = 6) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for centre in centres:
        cv2.circle(mask, tuple(centre), radius, 255, -1)
    return mask


def write(folder: Path, defect: str, name: str, image: np.ndarray, mask: np.ndarray) -> DefectImage:
    places = folder / "test" / defect, folder / "ground_truth" / defect
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    files = places[0] / f"{name}.png", places[1] / f"{name}_mask.png"
    cv2.imwrite(str(files[0]), image)
    cv2.imwrite(str(files[1]), mask)
    return DefectImage(files[0], (defect,), files[1])


def test_types_are_learnt_from_a_dozen_images_each(labelled: list[DefectImage], extractor: FeatureExtractor) -> None:
    seen: list[tuple[str, int, int]] = []
    trained = train_classifier(labelled, extractor, progress=lambda *done: seen.append(done))
    spec = trained.classifier.spec
    assert spec.types == ("blot", "scratch")
    assert spec.images == 24
    assert seen[-1] == ("describing defects", 24, 24)
    assert np.trace(trained.confusion) >= 22
    assert trained.confusion.sum() == len(trained.tried) == spec.regions
    for number, figures in enumerate(spec.figures):
        assert figures.images == 12
        assert figures.recall == trained.confusion[number, number] / trained.confusion[number].sum()
        assert figures.precision == 1
    assert spec.called_unknown == trained.confusion[:, -1].sum() / 24


def test_each_connected_part_is_a_region_and_slips_of_the_pen_are_not(
    tmp_path: Path, extractor: FeatureExtractor
) -> None:
    mask = blots((10, 10), (40, 40))
    mask[60, 60:62] = 255
    image = write(tmp_path, "blot", "two", plate(1)[0], mask)
    empty = write(tmp_path, "blot", "none", plate(2)[0], np.zeros_like(mask))
    bare = DefectImage(image.path, ("blot",))
    found = labelled_regions([DefectImage(image.path, ()), image, empty, bare], extractor)
    assert found.image.tolist() == [1, 1]
    assert (found.too_small, found.empty_masks, found.without_mask) == (1, 1, 1)
    assert len(labelled_regions([image], extractor, min_area_px=1).type) == 3


def test_each_box_is_a_region_of_its_own_type(tmp_path: Path, extractor: FeatureExtractor) -> None:
    image = write(tmp_path, "mixed", "one", plate(1)[0], blots((10, 10), (40, 40)))
    boxes = (Box(0, 0, 20, 20, "open"), Box(30, 30, 50, 50, "short"), Box(0, 55, 9, 63, "short"))
    with_mask = labelled_regions([DefectImage(image.path, ("open", "short"), image.mask, boxes)], extractor)
    assert with_mask.type.tolist() == ["open", "short"], "the third box holds nothing of the mask"
    filled = labelled_regions([DefectImage(image.path, ("open", "short"), None, boxes)], extractor)
    assert filled.type.tolist() == ["open", "short", "short"]


def test_no_region_is_judged_by_another_of_its_image(tmp_path: Path, extractor: FeatureExtractor) -> None:
    """Four blots of an image are alike: were the others known, each would be familiar. One image is odd."""
    images = []
    for number in range(12):
        picture, _ = plate(number)
        mask = blots((12, 12), (12, 50), (50, 12), (50, 50))
        picture[mask > 0] = 20 if number else 255
        images.append(write(tmp_path, "blot", f"{number:02}", picture, mask))
    trained = train_classifier(images, extractor, ClassifierSettings(unknown_rate=0.1))
    odd = [tried.name.known for tried in trained.tried if tried.image == 0]
    assert odd == pytest.approx([1 / 12] * 4)
    assert all(tried.name.known > 1 / 12 for tried in trained.tried if tried.image)


def test_types_that_too_few_images_show_are_left_out_and_counted(
    labelled: list[DefectImage], tmp_path: Path, extractor: FeatureExtractor
) -> None:
    rare = [write(tmp_path, "rare", str(number), plate(number)[0], blots((20, 20))) for number in range(2)]
    trained = train_classifier([*labelled, *rare], extractor)
    assert trained.classifier.spec.types == ("blot", "scratch")
    assert trained.left_out == {"rare": 2}
    with pytest.raises(DatasetError, match=r"no defect type is shown by 3 images \(rare: 2\)"):
        train_classifier(rare, extractor)


def test_images_in_tiles_are_described_by_their_tiles(labelled: list[DefectImage], extractor: FeatureExtractor) -> None:
    found = labelled_regions(labelled, extractor, plan=TilePlan(tile=48, overlap=0.25))
    assert len(found.type) == 24
    assert np.isfinite(found.descriptors).all()


def test_what_the_model_marks_is_learnt_too(images: Path, model: Path) -> None:
    artifact = load_artifact(model)
    extractor = extractor_of(artifact, engine="torch")
    defects = [image for image in defect_images(images) if image.defective]
    trained = train_classifier(
        defects, extractor, ClassifierSettings(), flag=flagged_by(Inspector(artifact, extractor))
    )
    assert {tried.source for tried in trained.tried} == {"drawn", "flagged"}
    assert {tried.type for tried in trained.tried} == {"scratch"}
    assert trained.classifier.spec.images == len(defects)


def test_a_mark_beside_every_defect_is_not_learnt(labelled: list[DefectImage], extractor: FeatureExtractor) -> None:
    corner = np.zeros((32, 32), dtype=np.bool_)
    corner[0, 0] = True

    def flag(image: np.ndarray, features: torch.Tensor) -> list[np.ndarray]:
        assert features.shape[0] == 1
        assert image.shape == (SIDE, SIDE, 3)
        return [corner, ~corner]

    found = labelled_regions(labelled[-3:], extractor, flag=flag)
    assert found.source.tolist() == ["drawn", "flagged"] * 3


def test_images_that_teach_nothing_are_refused(tmp_path: Path, extractor: FeatureExtractor) -> None:
    with pytest.raises(DatasetError, match="none of the 0 images has an outlined defect"):
        train_classifier([], extractor)
    small = write(tmp_path, "blot", "one", plate(1)[0], np.zeros((10, 10), np.uint8))
    with pytest.raises(DatasetError, match="a mask has the size of its image"):
        train_classifier([small], extractor)
    small.path.write_bytes(b"no picture")
    with pytest.raises(ImageError):
        train_classifier([small], extractor)
    with pytest.raises(DatasetError, match="at least, not from 1 and in 5"):
        ClassifierSettings(min_images=1)


@pytest.mark.plant
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA names no folder of real images")
def test_the_defects_of_magnetic_tiles_get_their_names() -> None:
    found = defect_images(Path(os.environ["NEVERBLINK_DATA"]) / "magnetic-tile")
    extractor = FeatureExtractor(load_backbone("tf_efficientnet_lite0", preprocess=Preprocess(resize=256)))
    trained = train_classifier(found, extractor)
    assert trained.regions.empty_masks == 4
    assert trained.classifier.spec.called_unknown <= 0.08
    assert all(
        figures.recall >= 0.75 and (figures.precision or 0) >= 0.8 for figures in trained.classifier.spec.figures
    )
