"""Limits of a station, learnt at onboarding: good parts stay inside, what is wrong with the picture does not."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from neverblink.camera.commands import learn_limits
from neverblink.camera.learnt_limits import FEWEST, LearntLimits, learn
from neverblink.cli import main
from neverblink.plant import Plant, PlantError, QualityLimits, parse_plant
from neverblink.simulation.parts import Simulation
from neverblink.vision.quality import ImageQuality, judge, measure
from rigs.pictures import video_file

PLANT = """\
site: plant-1
products: [{name: pcb, artifact: pcb-3}]
lines:
  - name: line-1
    timing: {distance_to_gate_m: 2.0, speed_m_s: 1.0}
    stations:
      - name: top
        product: pcb
        source: {kind: simulated, drawing: pcb, defect_rate: 0}
        trigger: {kind: timer}
"""


def settings_of(learnt: LearntLimits) -> QualityLimits:
    return QualityLimits.model_validate(yaml.safe_load("\n".join(learnt.as_yaml("line-1/top")))["quality"])


def learnt_from(images: list[np.ndarray]) -> LearntLimits:
    return learn([measure(image) for image in images], [(image.shape[1], image.shape[0]) for image in images])


@pytest.fixture(scope="module", params=["pcb", "disc"])
def good(request: pytest.FixtureRequest) -> list[np.ndarray]:
    simulation = Simulation(request.param, seed=3)
    return [simulation.good(number).image for number in range(80)]


def test_good_parts_that_were_not_learnt_from_are_inside_the_limits(good: list[np.ndarray]) -> None:
    limits = settings_of(learnt_from(good[:40]))
    assert [judge(measure(image), limits) for image in good[40:]] == [None] * 40
    assert (limits.width, limits.height) == (352, 352)


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (lambda image: cv2.GaussianBlur(image, (0, 0), 1.0), {"blurred"}),
        (lambda image: (image * 0.5).astype(np.uint8), {"too-dark"}),
        (lambda image: np.clip(image * 1.7, 0, 255).astype(np.uint8), {"saturated"}),
        (lambda image: np.full_like(image, int(image.mean())), {"low-contrast"}),
    ],
)
def test_what_is_wrong_with_a_picture_is_outside(good: list[np.ndarray], spoil: object, reasons: set[str]) -> None:
    limits = settings_of(learnt_from(good[:40]))
    assert {judge(measure(spoil(image)), limits) for image in good[40:]} == reasons  # type: ignore[operator]


def test_pictures_of_several_sizes_expect_none(good: list[np.ndarray]) -> None:
    limits = settings_of(learnt_from([*good[:30], good[30][:300]]))
    assert (limits.width, limits.height) == (None, None)


def test_one_bad_picture_among_good_ones_is_told_and_moves_no_limit_by_much(good: list[np.ndarray]) -> None:
    black = np.zeros_like(good[0])
    clean, spoilt = learnt_from(good), learnt_from([*good, black])
    assert (clean.refused, spoilt.refused) == (0, 1)
    assert "1 of them would be refused" in next(spoilt.as_yaml("x"))
    assert f"  # refused: picture {len(good) + 1}, too-dark" in list(spoilt.as_yaml("x"))
    limits = settings_of(spoilt)
    assert limits.min_brightness is not None
    assert judge(measure(black), limits) == "too-dark"
    assert judge(measure((good[0] * 0.5).astype(np.uint8)), limits) == "too-dark"


def test_too_few_pictures_are_refused(good: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=f"19 pictures are too few to learn limits from; take {FEWEST}"):
        learnt_from(good[:19])


values = st.floats(0, 1, allow_subnormal=False)


@settings(max_examples=50, phases=(Phase.explicit, Phase.reuse, Phase.generate))  # shrinking takes minutes here
@given(st.lists(st.builds(ImageQuality, values, values, st.floats(0, 1e5), values), min_size=20, max_size=22))
def test_limits_are_limits_of_the_plant_file_whatever_was_seen(qualities: list[ImageQuality]) -> None:
    learnt = learn(qualities, [(10, 10)] * len(qualities))
    limits = settings_of(learnt)
    for name in ("brightness", "contrast", "sharpness"):
        middle = np.median([getattr(quality, name) for quality in qualities])
        assert getattr(limits, f"min_{name}") <= middle
    assert limits.max_saturation is not None
    assert limits.max_saturation >= np.median([quality.saturation for quality in qualities])


# The command


@pytest.fixture
def plant() -> Plant:
    return parse_plant(PLANT)


def test_limits_are_learnt_from_the_stations_own_source(plant: Plant) -> None:
    learnt = learn_limits(plant, "line-1/top", None, 25, 0)
    assert learnt.pictures == 25
    assert learnt.width == 352


def test_limits_are_learnt_from_a_camera_that_shows_nothing_between_two_parts(tmp_path: Path) -> None:
    file = video_file(tmp_path / "slow.avi", 20, rate=8)
    source = f"{{kind: video, path: {file}, max_age_ms: 0, wait_ms: 20}}"
    plant = parse_plant(PLANT.replace("{kind: simulated, drawing: pcb, defect_rate: 0}", source))
    learnt = learn_limits(plant, "line-1/top", None, 20, 0)
    assert (learnt.pictures, learnt.width, learnt.height) == (20, 192, 64)


def test_limits_are_learnt_from_each_picture_that_the_camera_fires(tmp_path: Path) -> None:
    file = video_file(tmp_path / "parts.avi", 25, rate=100)
    plant = parse_plant(
        PLANT.replace("{kind: simulated, drawing: pcb, defect_rate: 0}", f"{{kind: video, path: {file}}}").replace(
            "{kind: timer}", "{kind: hardware}"
        )
    )
    assert learn_limits(plant, "line-1/top", None, 22, 0).pictures == 22


def test_limits_are_learnt_from_a_folder(plant: Plant, tmp_path: Path, good: list[np.ndarray]) -> None:
    for number, image in enumerate(good[:22]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    assert learn_limits(plant, "line-1/top", tmp_path, 100, 0).pictures == 22


def test_a_folder_without_enough_pictures_is_told(plant: Plant, tmp_path: Path) -> None:
    with pytest.raises(PlantError, match="has 0 images, and 20 are the fewest"):
        learn_limits(plant, "line-1/top", tmp_path, 100, 0)


def test_the_command_prints_a_section_that_fits_the_plant_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plant.yaml"
    file.write_text(PLANT)
    words = ["neverblink", "camera", "learn-limits", "--plant", str(file), "--station", "line-1/top"]
    monkeypatch.setattr("sys.argv", [*words, "--pictures", "20", "--every", "0"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert "20 pictures are few" in err
    section = "\n".join(f"        {line}" for line in out.splitlines())
    quality = parse_plant(PLANT + section).lines[0].stations[0].quality
    assert quality.width == 352
    assert quality.min_sharpness is not None


def test_an_option_that_stands_before_the_sub_command_is_not_ignored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["neverblink", "camera", "--plant", "x.yaml", "learn-limits", "--station", "line-1/top"]
    )
    with pytest.raises(SystemExit):
        main()
    assert "write --plant after learn-limits" in capsys.readouterr().err
