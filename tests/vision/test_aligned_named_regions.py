"""Named regions of parts that lie anyhow, with what else a fit may be asked: judged alike in any company and by either
engine, and told where the camera sees them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import yaml
from lying_parts import WIDTH
from lying_plates import box_of, corners_of, lying_plate, regions_file, write_plates, write_regions
from marked_boards import BOARD_HEIGHT, BOARD_WIDTH, board, on_clutter

from neverblink.decisions.judgement import Judgement, judged
from neverblink.decisions.rules import DEFAULT_RULES
from neverblink.trainer.datasets.found_parts import learnt_parts
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.retraining.refit import refit, settings_like
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects
from neverblink.vision.named_regions.spec import RegionsError
from neverblink.vision.network_names import EngineName

pytestmark = [pytest.mark.plant, pytest.mark.timeout(600), pytest.mark.usefixtures("one_thread")]

Image = npt.NDArray[np.uint8]
SETTINGS: dict[str, Any] = {
    "product": "plate", "name": "plate", "size": 96, "ratio": 0.05, "brightness": (1.0,), "folds": 3,
    "align": "silhouette",
}  # fmt: skip
ENGINES: Sequence[EngineName] = ("torch", "openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plates")
    good = write_plates(place / "good", range(20))
    write_plates(place / "absent", range(900, 903), plug="absent")
    aligner = learnt_parts("silhouette", good, None).aligner
    drawn = regions_file(aligner, *map(lying_plate, range(700, 703)), states={"absent": "absent"})
    write_regions(place / "regions.yaml", drawn)
    return place


def fitted(folder: Path, out: Path, **changes: object) -> Artifact:
    settings = FitSettings.model_validate(SETTINGS | {"regions": folder / "regions.yaml"} | changes)
    fit(sorted((folder / "good").iterdir()), out, settings)
    return load_artifact(out)


def judge(inspector: Inspector, images: Sequence[Image]) -> list[Judgement]:
    seen = inspect_defects([(inspector, image) for image in images], complete=True)
    calibration = inspector.artifact.manifest.calibration
    return [judged(one, calibration, DEFAULT_RULES, mm_per_px=None, edited=None) for one in seen]


def check(artifact: Artifact, read: Callable[[Image], Image] = lambda image: image) -> None:
    """Hold what a model of plates says of one without its plug, and of good ones, against the truth."""
    without, *good = [lying_plate(2000, plug="absent"), *map(lying_plate, range(3000, 3006))]
    images = [read(one.picture) for one in (without, *good)]
    by_engine = [judge(Inspector(artifact, extractor_of(artifact, engine=engine)), images) for engine in ENGINES]
    for found in by_engine:
        told = found[0].defects[0]
        assert (told.type, told.region, told.taxonomy) == ("absent", "plug", "assembly")
        box = np.array([told.bbox.x, told.bbox.y, told.bbox.x + told.bbox.width, told.bbox.y + told.bbox.height])
        assert np.abs(box - box_of(corners_of("plug", without))).max() <= 0.02 * WIDTH
        # At most 14 % are promised by so few; of six hardly ever more than two.
        assert sum(one.reject for one in found[1:]) <= 2
    inspector = Inspector(artifact, extractor_of(artifact, engine="torch"))
    for number, image in enumerate(images[:3]):
        (alone,) = judge(inspector, [image])
        for other in (by_engine[0][number], by_engine[1][number]):
            assert alone.score == pytest.approx(other.score, rel=2e-3)
            for one, same in zip(alone.regions, other.regions, strict=True):
                assert (one.name, one.state) == (same.name, same.state)
                assert one.score == pytest.approx(same.score, rel=5e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tiling": {"tile": 80, "overlap": 0.25}},
        {"clahe": {"clip_limit": 2.0}, "top": 3, "neighbours": 3},
        {"brightness": (0.8, 1.0, 1.2), "keep_aspect": True},
    ],
    ids=["as it is", "tiles", "CLAHE, top and eq. 7", "in other light, aspect kept"],
)
def test_an_aligned_part_with_regions_is_judged_alike_by_both_engines_alone_and_in_company(
    folder: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    check(fitted(folder, tmp_path / "model", **changes))


def test_regions_of_aligned_parts_are_read_of_12_bit_pictures_and_kept_when_a_model_is_made_anew(
    folder: Path, tmp_path: Path
) -> None:
    deep = tmp_path / "deep"
    for part in ("good", "absent"):
        (deep / part).mkdir(parents=True)
        for path in (folder / part).iterdir():
            cv2.imwrite(str(deep / part / path.name), cv2.imread(str(path)).astype(np.uint16) * 16)
    (deep / "regions.yaml").write_text((folder / "regions.yaml").read_text())

    def twelve_bits(image: Image) -> Image:
        cv2.imwrite(str(tmp_path / "one.png"), image[..., ::-1].astype(np.uint16) * 16)
        return read_image(tmp_path / "one.png", depth=12)

    model = fitted(deep, tmp_path / "model", depth=12)
    check(model, twelve_bits)
    normals = sorted((deep / "good").iterdir())
    later = refit(model, normals, tmp_path / "later", settings_like(model, len(normals), version="2"))
    assert later.manifest.alignment == model.manifest.alignment
    check(later, twelve_bits)


CHIP = (52, 40, 44, 36)


def with_chip(seed: int, *, chip: bool = True) -> Image:
    drawn = board(seed)
    left, top, width, height = CHIP
    drawn[top : top + height, left : left + width] = (40, 90, 60)
    if chip:
        cv2.rectangle(drawn, (left + 5, top + 5), (left + width - 6, top + height - 6), (20, 20, 25), -1)
        cv2.circle(drawn, (left + 12, top + 12), 3, (240, 240, 240), -1)
    return drawn


def test_a_region_of_a_part_that_is_found_by_its_marks_is_told_where_the_camera_sees_it(tmp_path: Path) -> None:
    good = [on_clutter(seed, part=with_chip(seed)) for seed in range(20)]
    paths = []
    (tmp_path / "good").mkdir()
    for number, part in enumerate(good):
        paths.append(tmp_path / "good" / f"{number:02}.png")
        cv2.imwrite(str(paths[-1]), part.picture[..., ::-1])
    aligner = learnt_parts("template", paths, None).aligner
    left, top, width, height = CHIP
    own = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    own = own - np.array([BOARD_WIDTH / 2, BOARD_HEIGHT / 2])

    def corners(part: Any) -> npt.NDArray[np.float64]:
        cosine, sine = np.cos(np.radians(part.angle)), np.sin(np.radians(part.angle))
        return np.asarray(own @ np.array([[cosine, sine], [-sine, cosine]]) + np.array([part.x, part.y]))

    inverse = cv2.invertAffineTransform(aligner.view(good[0].picture).matrix)
    polygon = (corners(good[0]) @ inverse[:, :2].T + inverse[:, 2]).round(1).tolist()
    high, wide = aligner.size
    regions = {"width": wide, "height": high, "regions": [{"name": "chip", "kind": "presence", "polygon": polygon}]}
    file = write_regions(tmp_path / "regions.yaml", regions)
    fit(paths, tmp_path / "model", FitSettings.model_validate(SETTINGS | {"align": "template", "regions": file}))
    model = load_artifact(tmp_path / "model")
    inspector = Inspector(model, extractor_of(model))
    without = on_clutter(2000, part=with_chip(2000, chip=False))
    absent, present = judge(inspector, [without.picture, on_clutter(2001, part=with_chip(2001)).picture])
    told = absent.defects[0]
    assert (told.type, told.region) == ("absent", "chip")
    box = np.array([told.bbox.x, told.bbox.y, told.bbox.x + told.bbox.width, told.bbox.y + told.bbox.height])
    assert np.abs(box - box_of(corners(without))).max() <= 0.02 * BOARD_WIDTH
    assert [one.state for one in present.regions if one.name == "chip"] == ["present"]


def test_a_region_beside_the_part_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    values = yaml.safe_load((folder / "regions.yaml").read_text())
    values["regions"][0] |= {"polygon": [[0, 0], [6, 0], [6, 6], [0, 6]], "examples": {}}
    file = write_regions(tmp_path / "regions.yaml", values)
    with pytest.raises(RegionsError, match="nothing is judged where the region plug lies: it is beside the part"):
        fitted(folder, tmp_path / "model", regions=file)
