"""Parts that lie anyhow, end to end: networks learn from upright parts, and mark defects where the camera sees them."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from lying_parts import HEIGHT, WIDTH, looks, lying

from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.teaching.teaching import teach_classifier, teach_unet
from neverblink.trainer.teaching.train_classifier import ClassifierSettings
from neverblink.trainer.teaching.unet_settings import TrainSettings
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects

pytestmark = [pytest.mark.plant, pytest.mark.timeout(600), pytest.mark.usefixtures("one_thread")]

GOOD, EACH, FRESH = 14, 10, 12
SIDE = 96
Image = npt.NDArray[np.uint8]


class Spoilt(NamedTuple):
    """A picture of a defective part, and the (H, W) bool pixels of the defect in it."""

    picture: Image
    mask: npt.NDArray[np.bool_]


def spoilt(seed: int, kind: str) -> Spoilt:
    """Return a plate with a dark pit or a bright scratch at a random place, as it lies."""
    random = np.random.default_rng(seed)
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = int(random.integers(42, WIDTH - 18)), int(random.integers(38, HEIGHT - 16))
    if kind == "pit":
        cv2.circle(drawn, (x, y), int(random.integers(7, 11)), 255, -1)
    else:
        cv2.rectangle(drawn, (x - 14, y - 3), (x + 14, y + 3), 255, -1)
    plate = looks(seed)
    plate[drawn > 0] = (25, 25, 25) if kind == "pit" else (250, 250, 250)
    part = lying(seed, part=plate)
    cosine, sine = np.cos(np.radians(part.angle)), np.sin(np.radians(part.angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([part.x, part.y]) - 0.5 - turn @ np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    mask = cv2.warpAffine(drawn, np.column_stack([turn, shift]), part.picture.shape[1::-1])
    return Spoilt(part.picture, mask > 127)


def write(path: Path, image: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A model of plates that lie anyhow, with a U-Net and a classifier of two types."""
    folder = tmp_path_factory.mktemp("plates")
    for seed in range(GOOD):
        write(folder / f"images/train/good/{seed:03}.png", lying(seed).picture)
    for seed in range(6):
        write(folder / f"images/test/good/{seed:03}.png", lying(500 + seed).picture)
    for number, kind in enumerate(("pit", "scratch")):
        for seed in range(EACH):
            one = spoilt(1000 * (number + 1) + seed, kind)
            write(folder / f"images/test/{kind}/{seed:03}.png", one.picture)
            write(folder / f"images/ground_truth/{kind}/{seed:03}_mask.png", one.mask.astype(np.uint8) * 255)
    made = FitSettings(product="plate", name="plate", size=SIDE, ratio=0.05, brightness=(1.0,), align="silhouette")
    fit(sorted((folder / "images/train/good").iterdir()), folder / "model", made)
    small = TrainSettings.model_validate(
        {"encoder": "plain", "width": 4, "depth": 3, "epochs": 6, "learning_rate": 1e-2, "activation": "silu"}
    )
    teach_unet([folder / "images"], folder / "model", folder / "unet", small)
    teach_classifier([folder / "images"], folder / "unet", folder / "both", ClassifierSettings())
    return load_artifact(folder / "both")


@pytest.fixture(scope="module")
def by_torch(taught: Artifact) -> Inspector:
    return Inspector(taught, extractor_of(taught, engine="torch"))


def fresh() -> list[tuple[str, Spoilt]]:
    kinds = ("pit", "scratch")
    return [(kinds[seed % 2], spoilt(5000 + seed, kinds[seed % 2])) for seed in range(FRESH)]


def inspected(inspector: Inspector, pictures: list[Image]) -> list[Inspection]:
    return inspect_defects([(inspector, picture) for picture in pictures], complete=True)


def test_boxes_lie_where_the_camera_sees_the_defect_to_2_percent_of_the_parts_length(by_torch: Inspector) -> None:
    off, right = [], 0
    for (kind, one), found in zip(fresh(), inspected(by_torch, [one.picture for _, one in fresh()]), strict=True):
        seen = [finding for finding in found.findings if "unet" in finding.seen_by]
        assert seen, f"a {kind} is outlined"
        best = max(seen, key=lambda finding: finding.area_px)
        right += best.type == kind
        rows, columns = np.nonzero(one.mask)
        truth = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        box = np.array([best.x, best.y, best.x + best.width, best.y + best.height])
        off.append(np.abs(box - truth).max() / WIDTH)
    assert np.median(off) <= 0.015
    assert sorted(off)[-2] <= 0.02
    assert right >= FRESH - 1


def test_an_aligned_part_is_judged_alike_by_both_engines_alone_and_in_company(
    taught: Artifact, by_torch: Inspector
) -> None:
    pictures = [one.picture for _, one in fresh()][:3]
    together = inspected(by_torch, pictures)
    by_openvino = Inspector(taught, extractor_of(taught, engine="openvino"))
    for inspector in (by_torch, by_openvino):
        for picture, found in zip(pictures, together, strict=True):
            (alone,) = inspected(inspector, [picture])
            assert alone.anomaly.score == pytest.approx(found.anomaly.score, rel=2e-3)
            span = float(found.anomaly.anomaly_map.max())
            np.testing.assert_allclose(alone.anomaly.anomaly_map, found.anomaly.anomaly_map, atol=5e-3 * span)
            assert alone.probabilities is not None
            assert found.probabilities is not None
            np.testing.assert_allclose(alone.probabilities, found.probabilities, atol=1e-2)
            assert [one.type for one in alone.findings] == [one.type for one in found.findings]
