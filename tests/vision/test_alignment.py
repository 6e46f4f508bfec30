"""Parts that lie anyhow: found to a fraction of a pixel, judged upright, shown where they lie, or not judged at all."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lying_parts import HEIGHT, WIDTH, ground, laid, looks, lying, outline

from neverblink.trainer.fitting.fit import Fitted, fit
from neverblink.trainer.fitting.jobs import run_fit_and_trial
from neverblink.trainer.fitting.settings import FitJob, FitSettings
from neverblink.vision.alignment.aligner import Aligner, NotFoundError
from neverblink.vision.alignment.foreground import foreground
from neverblink.vision.alignment.learning import learn_silhouette
from neverblink.vision.alignment.registration import apart
from neverblink.vision.alignment.spread import spread_of
from neverblink.vision.alignment.view import Pose, View
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import Inspector, extractor_of, inspect, inspect_defects
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan

LEARNT = 12
SIDE = 64


@cache
def learnt(*, structured: bool = False) -> Aligner:
    return learn_silhouette(lying(seed, structured=structured).picture for seed in range(LEARNT)).aligner


@pytest.mark.parametrize("structured", [False, pytest.param(True, marks=pytest.mark.plant)])
def test_a_part_is_found_wherever_it_lies_however_it_is_turned(structured: bool) -> None:
    aligner = learnt(structured=structured)
    assert aligner.spec.turns == 1
    turns, places = [], []
    for seed in range(100, 110):
        part = lying(seed, structured=structured)
        pose = aligner.find(part.picture)
        radians = np.radians(part.angle)
        across, down = pose.x - part.x, pose.y - part.y
        turns.append((pose.angle - part.angle) % 360)
        places.append(
            (across * np.cos(radians) + down * np.sin(radians), down * np.cos(radians) - across * np.sin(radians))
        )
    # The model has its own idea of what is upright and of where the middle is: all must agree with it.
    assert max(apart(turn, turns[0]) for turn in turns) < 2
    assert np.ptp(places, axis=0).max() < 0.02 * WIDTH


def test_what_is_no_whole_part_is_not_found() -> None:
    aligner = learnt()
    random = np.random.default_rng(0)
    empty = ground(240, 320, random)
    half = outline()
    half[:, WIDTH // 2 :] = False
    two = laid(laid(ground(240, 320, random), 90, 120, 10, looks(1)), 230, 120, 80, looks(2))
    for picture in (empty, lying(3, mask=half).picture, two):
        with pytest.raises(NotFoundError):
            aligner.find(picture)


def test_what_lies_beyond_the_pictures_edge_is_not_judged_unseen() -> None:
    # Turned by nothing, its long sides along the picture's: its left end is cut off by a tenth, then by a hundredth.
    with pytest.raises(NotFoundError, match="of what is judged lies beyond the picture's edge"):
        learnt().find(lying(60, angle=180, middle=(0.4 * WIDTH, 120)).picture)
    learnt().find(lying(60, angle=180, middle=(0.5 * WIDTH, 120)).picture)


def test_one_picture_of_two_parts_that_touch_does_not_widen_the_upright_picture() -> None:
    random = np.random.default_rng(0)
    two = laid(laid(ground(240, 320, random), 130, 120, 10, looks(1)), 170, 130, 80, looks(2))
    pictures = [lying(seed).picture for seed in range(LEARNT)]
    among = learn_silhouette([*pictures[:4], two, *pictures[4:], *(lying(seed).picture for seed in range(50, 60))])
    assert np.abs(np.subtract(among.aligner.size, learnt().size)).max() <= 6


def test_a_part_with_a_piece_broken_off_is_found_and_lies_as_it_would_with_it() -> None:
    broken = outline()
    broken[HEIGHT - 25 :, WIDTH - 25 :] = False
    whole, found = (learnt().find(lying(50, mask=mask).picture) for mask in (outline(), broken))
    assert apart(whole.angle, found.angle) < 2
    assert np.hypot(whole.x - found.x, whole.y - found.y) < 0.03 * WIDTH


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 360),
    st.floats(60, 260),
    st.floats(60, 180),
    st.floats(-15, 15),
    st.floats(-10, 10),
    st.integers(16, 96),
)
def test_what_is_seen_upright_comes_back_to_where_it_lies(
    angle: float, x: float, y: float, across: float, down: float, side: int
) -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    view = View(picture, Pose(x, y, angle).matrix(80, 100), 80, 100)
    radians = np.radians(angle)
    centre = (
        x + across * np.cos(radians) - down * np.sin(radians),
        y + across * np.sin(radians) + down * np.cos(radians),
    )
    mask = np.zeros((240, 320), np.uint8)
    cv2.circle(mask, (round(centre[0] * 16 - 8), round(centre[1] * 16 - 8)), 12 * 16, 1, -1, shift=4)
    upright = view.of(mask.astype(np.bool_)).shares(side, side)
    back = view.back(upright) > 0.5
    rows, columns = np.nonzero(back)
    scale = 320 / back.shape[1], 240 / back.shape[0]
    seen = (columns.mean() + 0.5) * scale[0], (rows.mean() + 0.5) * scale[1]
    inside = all(25 < place < limit - 25 for place, limit in zip(centre, (320, 240), strict=True))
    if inside:
        assert np.hypot(seen[0] - centre[0], seen[1] - centre[1]) < max(1.5, 100 / side)


def test_a_quarter_turn_moves_pixels_and_changes_none() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    view = View(picture, Pose(40, 30, 90).matrix(80, 60), 80, 60)
    np.testing.assert_array_equal(view.sampled(80, 60), np.rot90(picture, 1))


def test_shrinking_a_view_does_not_alias() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    view = View(stripes, Pose(200, 200, 0).matrix(400, 400), 400, 400)
    assert np.ptp(Preprocess(resize=64).apply(view).astype(int)[4:-4, 4:-4]) < 16


def test_the_tiles_of_a_view_are_those_of_the_upright_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    view = View(picture, Pose(80, 60, 180).matrix(120, 160), 120, 160)
    for tile in TilePlan(tile=64).tiles(*view.size):
        np.testing.assert_array_equal(
            view.window(*tile).sampled(tile.height, tile.width),
            np.rot90(picture, 2)[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width],
        )


def test_parts_that_lie_anyhow_are_told_from_those_on_a_fixture() -> None:
    anyhow = spread_of(lying(seed).picture for seed in range(8))
    fixed = spread_of(lying(seed, angle=0, middle=(160, 120)).picture for seed in range(8))
    assert anyhow is not None
    assert anyhow.wide
    assert anyhow.turned > 20
    assert fixed is not None
    assert not fixed.wide


def test_the_foreground_is_the_part_and_nothing_where_none_stands_out() -> None:
    part = lying(7, angle=0, middle=(160, 120), structured=True)
    found = foreground(part.picture)
    assert found is not None
    truth = (
        laid(np.zeros((240, 320, 3), np.uint8), 160, 120, 0, np.full((HEIGHT, WIDTH, 3), 255, np.uint8))[..., 0] > 127
    )
    assert (found & ~truth).sum() < 0.02 * truth.sum()
    assert (found & truth).sum() > 0.85 * truth.sum()
    assert foreground(ground(240, 320, np.random.default_rng(0), structured=True)) is None


def written(folder: Path, seeds: range) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{seed:03}.png" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        cv2.imwrite(str(path), cv2.cvtColor(lying(seed).picture, cv2.COLOR_RGB2BGR))
    return paths


def fitted(paths: list[Path], folder: Path, **changes: object) -> Fitted:
    made = {
        "product": "plate",
        "name": "plate",
        "size": SIDE,
        "ratio": 0.05,
        "brightness": (1.0,),
        "align": "silhouette",
    }
    return fit(paths, folder, FitSettings(**(made | changes)))  # type: ignore[arg-type]


def pitted(seed: int) -> tuple[npt.NDArray[np.uint8], tuple[float, float]]:
    """Return a picture whose part has a dark pit, and where that lies in it."""
    plate = looks(seed)
    cv2.circle(plate, (85, 55), 7, (25, 25, 25), -1)
    part = lying(seed, part=plate)
    radians = np.radians(part.angle)
    across, down = 85.5 - WIDTH / 2, 55.5 - HEIGHT / 2
    return part.picture, (
        part.x + across * np.cos(radians) - down * np.sin(radians),
        part.y + across * np.sin(radians) + down * np.cos(radians),
    )


@pytest.mark.plant
def test_an_aligned_model_marks_a_defect_where_the_camera_sees_it_alone_as_in_a_batch(tmp_path: Path) -> None:
    done = fitted(written(tmp_path / "good", range(20)), tmp_path / "model")
    assert any("found by their outline" in note for note in done.notes)
    artifact = load_artifact(tmp_path / "model")
    assert artifact.manifest.alignment is not None
    assert artifact.region is not None
    inspector = Inspector(artifact, extractor_of(artifact))
    work = [pitted(seed) for seed in (200, 201, 202)]
    together = inspect_defects([(inspector, picture) for picture, _ in work])
    for inspection, (picture, (x, y)) in zip(together, work, strict=True):
        (alone,) = inspect_defects([(inspector, picture)])
        assert alone.anomaly.score == pytest.approx(inspection.anomaly.score, rel=1e-4)
        np.testing.assert_allclose(alone.anomaly.anomaly_map, inspection.anomaly.anomaly_map, atol=1e-3)
        seen = inspection.anomaly.anomaly_map
        row, column = np.unravel_index(int(seen.argmax()), seen.shape)
        peak = (column + 0.5) * 320 / seen.shape[1], (row + 0.5) * 240 / seen.shape[0]
        # The pit is 14 px wide, and the network's patch as wide.
        assert np.hypot(peak[0] - x, peak[1] - y) < 14
    with pytest.raises(NotFoundError):
        inspect([(inspector, ground(240, 320, np.random.default_rng(1)))])


@pytest.mark.plant
def test_a_fit_says_that_parts_lie_anyhow_and_aligns_them_when_it_is_left_to_it(tmp_path: Path) -> None:
    paths = written(tmp_path / "good", range(16))
    plain = fitted(paths, tmp_path / "plain", align="none")
    assert load_artifact(tmp_path / "plain").manifest.alignment is None
    auto = fitted(paths, tmp_path / "auto", align="auto")
    assert [note for note in plain.notes if "--align silhouette" in note] or "nothing is aligned" in " ".join(
        auto.notes
    )
    assert any("aligned" in note for note in auto.notes)


@pytest.mark.plant
def test_pictures_of_several_sizes_are_cut_into_the_tiles_of_the_upright_part(tmp_path: Path) -> None:
    paths = written(tmp_path / "good", range(10))
    image = read_image(paths[0])
    cv2.imwrite(str(paths[0]), cv2.cvtColor(image[:-6, 4:], cv2.COLOR_RGB2BGR))
    fitted(paths, tmp_path / "cut", tiling=TilePlan(tile=80), keep_aspect=True)
    artifact = load_artifact(tmp_path / "cut")
    assert artifact.manifest.regions > 1
    (anomaly,) = inspect([(Inspector(artifact, extractor_of(artifact)), lying(77).picture)])
    assert np.isfinite(anomaly.score)
    assert anomaly.anomaly_map.shape[1] / anomaly.anomaly_map.shape[0] == pytest.approx(320 / 240, rel=0.03)


@pytest.mark.plant
def test_a_fits_page_and_gallery_show_what_was_aligned_and_where_no_part_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    written(folder, range(24))
    bare = ground(240, 320, np.random.default_rng(1))
    cv2.imwrite(str(folder / "bare.png"), cv2.cvtColor(bare, cv2.COLOR_RGB2BGR))
    job = FitJob.model_validate(
        {
            "images": folder, "product": "plate", "out": tmp_path / "model", "size": SIDE, "ratio": 0.05,
            "brightness": (1.0,), "align": "silhouette", "report": tmp_path / "fit.html", "gallery": tmp_path / "small",
        }
    )  # fmt: skip
    done = run_fit_and_trial(job).result
    shown = (tmp_path / "fit.html").read_text()
    assert "How the parts lie" in shown
    assert "Where no part is found" in shown
    assert "bare.png" in shown
    *found, lost = done.parts
    assert lost.path.name == "bare.png"
    assert lost.why == "no part stands out from the ground"
    assert len(found) == 6
    for one in found:
        for name in (one.lies, one.upright):
            assert cv2.imread(str(tmp_path / "small" / str(name))) is not None
