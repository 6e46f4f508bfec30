"""Parts without an outline that can be told: found by the marks that good ones share, or not judged at all."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from lying_parts import Lying
from marked_boards import BOARD_HEIGHT, BOARD_WIDTH, SIZE, board, clutter, filling, on_clutter
from pydantic import ValidationError

from neverblink.trainer.fitting.aligning import aligning
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.picture_set import picture_set
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.alignment.aligner import Aligner, AlignmentError, NotFoundError
from neverblink.vision.alignment.learning_marks import learn_template
from neverblink.vision.alignment.registration import apart
from neverblink.vision.alignment.spec import AlignmentSpec
from neverblink.vision.alignment.spread import spread_of, spread_of_marks
from neverblink.vision.artifact import load_artifact
from neverblink.vision.inspector import Inspector, extractor_of, inspect
from neverblink.vision.patchcore import FeatureExtractor

LEARNT = 12


@cache
def learnt() -> Aligner:
    return learn_template(on_clutter(seed).picture for seed in range(LEARNT)).aligner


def off_by(aligner: Aligner, parts: list[Lying]) -> tuple[float, float]:
    """Return by how many degrees and pixels poses differ from the model's own idea of upright and middle, at most."""
    turns, places = [], []
    for part in parts:
        pose = aligner.find(part.picture)
        radians = np.radians(part.angle)
        across, down = pose.x - part.x, pose.y - part.y
        turns.append(pose.angle - part.angle)
        places.append(
            (across * np.cos(radians) + down * np.sin(radians), down * np.cos(radians) - across * np.sin(radians))
        )
    return max(apart(turn, turns[0]) for turn in turns), float(np.ptp(places, axis=0).max())


def test_a_board_on_ground_as_full_as_itself_is_found_however_it_lies() -> None:
    degrees, pixels = off_by(learnt(), [on_clutter(seed) for seed in range(100, 108)])
    assert degrees < 0.5
    assert pixels < 0.005 * BOARD_WIDTH
    assert learnt().spec.turns == 1


def test_what_is_judged_of_a_board_on_a_full_ground_is_the_board() -> None:
    height, width = learnt().size
    assert sorted((height, width)) == pytest.approx([BOARD_HEIGHT, BOARD_WIDTH], rel=0.12)
    part = on_clutter(100)
    lies = on_clutter(
        100, part=np.full((BOARD_HEIGHT, BOARD_WIDTH, 3), 255, np.uint8), ground=np.zeros((*SIZE, 3), np.uint8)
    )
    truth = lies.picture[..., 0] > 60
    covered = learnt().covered(part.picture)
    assert (covered & truth).sum() > 0.9 * truth.sum()
    assert (covered & ~truth).sum() < 0.08 * truth.sum()


def test_what_does_not_bear_the_marks_is_not_found() -> None:
    half = board(3)
    half[:, BOARD_WIDTH // 2 :] = clutter(np.random.default_rng(5))[:BOARD_HEIGHT, : BOARD_WIDTH // 2]
    for picture in (
        clutter(np.random.default_rng(0)),
        on_clutter(4, product=8).picture,
        on_clutter(5, part=half).picture,
    ):
        with pytest.raises(NotFoundError):
            learnt().find(picture)


@pytest.mark.plant
def test_of_two_equal_boards_none_is_judged() -> None:
    aligner = learn_template(
        on_clutter(seed, part=board(seed, width=110, height=90)).picture for seed in range(LEARNT)
    ).aligner
    ground = clutter(np.random.default_rng(1))
    ground[100:190, 5:115] = board(60, width=110, height=90)
    with pytest.raises(NotFoundError, match="two places"):
        aligner.find(on_clutter(2, part=board(61, width=110, height=90), ground=ground).picture)


def test_a_board_with_a_corner_missing_is_found_and_lies_as_it_would_with_it() -> None:
    broken = board(50)
    broken[:40, :50] = (60, 80, 70)
    whole, found = (learnt().find(on_clutter(50, part=part).picture) for part in (board(50), broken))
    assert apart(whole.angle, found.angle) < 0.5
    assert np.hypot(whole.x - found.x, whole.y - found.y) < 0.01 * BOARD_WIDTH


@pytest.mark.plant
def test_of_a_part_that_fills_the_picture_what_all_pictures_show_is_judged() -> None:
    aligner = learn_template(filling(seed).picture for seed in range(24)).aligner
    assert aligner.ground().mean() > 0.95
    assert aligner.size[0] * aligner.size[1] > 0.6 * SIZE[0] * SIZE[1]
    degrees, pixels = off_by(aligner, [filling(seed) for seed in range(100, 110)])
    assert degrees < 0.5
    assert pixels < 0.005 * SIZE[1]
    with pytest.raises(NotFoundError, match="beyond the picture's edge"):
        aligner.find(filling(3, shift=60).picture)


@pytest.mark.plant
def test_marks_tell_boards_that_lie_anyhow_from_those_on_a_fixture() -> None:
    anyhow, fixed = (
        spread_of_marks(on_clutter(seed, fixed=fixed).picture for seed in range(5)) for fixed in (False, True)
    )
    assert spread_of(on_clutter(seed).picture for seed in range(5)) is None
    assert anyhow is not None
    assert anyhow.wide
    assert fixed is not None
    assert not fixed.wide
    assert spread_of_marks(clutter(np.random.default_rng(seed)) for seed in range(5)) is None


@pytest.mark.plant
def test_pictures_without_marks_in_common_and_marks_that_repeat_are_refused_in_a_sentence() -> None:
    with pytest.raises(AlignmentError, match="share no marks"):
        learn_template(clutter(np.random.default_rng(seed)) for seed in range(8))
    piece = board(1, width=40, height=40)
    tiled = np.tile(piece, (9, 12, 1))
    with pytest.raises(AlignmentError):
        learn_template(tiled[seed : seed + SIZE[0], 3 * seed : 3 * seed + SIZE[1]] for seed in range(8))


def test_an_artifact_whose_parts_are_found_in_a_way_that_is_not_known_says_so() -> None:
    assert AlignmentSpec.model_validate(learnt().spec.model_dump()) == learnt().spec
    with pytest.raises(ValidationError, match="'smell', and this version finds them by silhouette or template"):
        AlignmentSpec.model_validate(learnt().spec.model_dump() | {"kind": "smell"})


def written(folder: Path, pictures: Iterable[npt.NDArray[np.uint8]]) -> list[Path]:
    folder.mkdir()
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(folder / f"{number:03}.png")
        cv2.imwrite(str(paths[-1]), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return paths


def asked(**changes: object) -> FitSettings:
    made = {"product": "board", "name": "board", "size": 64, "ratio": 0.05, "brightness": (1.0,)}
    return FitSettings(**(made | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("align", ["none", pytest.param("auto", marks=pytest.mark.plant)])
def test_a_fit_says_why_parts_that_lie_anyhow_cannot_be_aligned(tmp_path: Path, align: str) -> None:
    boards = [on_clutter(seed).picture for seed in range(4)]
    paths = written(tmp_path / "good", [*boards, *(clutter(np.random.default_rng(seed)) for seed in range(2))])
    settings = asked(align=align)
    found = aligning(
        picture_set(paths, settings, lambda *_: None, root=None, excluded={}, skip_unusable=False),
        settings,
        cast(FeatureExtractor, None),
        lambda *_: None,
    )
    assert found.aligner is None
    (note,) = found.notes
    assert "lie up to" in note
    assert "nothing is aligned" in note
    assert "cannot be found" in note


@pytest.mark.plant
def test_a_fit_proposes_marks_where_no_outline_serves_and_judges_boards_by_them(tmp_path: Path) -> None:
    paths = written(tmp_path / "good", (on_clutter(seed).picture for seed in range(24)))
    done = fit(paths, tmp_path / "auto", asked(align="auto"))
    assert any("marks that all of them share" in note for note in done.notes)
    artifact = load_artifact(tmp_path / "auto")
    assert artifact.manifest.alignment is not None
    assert artifact.manifest.alignment.kind == "template"
    inspector = Inspector(artifact, extractor_of(artifact))
    spoilt = board(70)
    cv2.circle(spoilt, (110, 40), 11, (250, 250, 250), -1)
    whole, bad = (inspect([(inspector, on_clutter(70, part=part).picture)])[0] for part in (board(70), spoilt))
    assert bad.score > artifact.threshold > whole.score
    with pytest.raises(NotFoundError):
        inspect([(inspector, clutter(np.random.default_rng(1)))])
