"""Synthetic defects: what changes is in the mask, what is asked for is what is drawn."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import plate, write_plates
from pydantic import ValidationError

from neverblink.cli import main
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.trainer.teaching.synthesize import (
    SynthesizeError,
    SynthesizeSettings,
    kinds_named,
    read_policy,
    synthesize,
)
from neverblink.vision.synthesis import (
    KINDS,
    TAXONOMY,
    Kind,
    Policy,
    Ranges,
    Scene,
    SynthesisError,
    Synthetic,
    example,
    synthesise,
)
from neverblink.vision.synthesis.policy import Lines, Scratches, Specks


def grey_noise(side: int = 128, *, level: float = 120, seed: int = 0) -> np.ndarray:
    grey = np.random.default_rng(seed).normal(level, 8, (side, side))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def a_plate() -> np.ndarray:
    return np.repeat(plate(3)[0][..., None], 3, axis=2)


def colourful() -> np.ndarray:
    random = np.random.default_rng(5)
    return np.clip(random.normal((190, 140, 60), 10, (96, 140, 3)), 0, 255).astype(np.uint8)


BACKGROUNDS = {
    "noise": grey_noise(),
    "plate": a_plate(),
    "tiny": grey_noise(64, level=60),
    "black": grey_noise(96, level=6),
    "white": grey_noise(96, level=250),
    "colour": colourful(),
}


def drawn(image: np.ndarray, kind: Kind, seed: int = 0, **known: object) -> Synthetic:
    return synthesise(image, kind, np.random.default_rng(seed), **known)  # type: ignore[arg-type]


def extent(mask: np.ndarray) -> float:
    """Return the longest distance between two pixels of a mask."""
    hull = cv2.convexHull(np.argwhere(mask).astype(np.float32))[:, 0]
    return float(np.linalg.norm(hull[:, None] - hull[None], axis=2).max()) + 1


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_exactly_what_changed_and_never_empty(kind: Kind, background: str) -> None:
    image = BACKGROUNDS[background]
    before = image.copy()
    result = drawn(image, kind)
    assert np.array_equal(image, before), "the caller's image stays as it is"
    assert result.image.shape == image.shape
    assert result.image.dtype == np.uint8
    assert result.mask.dtype == np.bool_
    assert np.array_equal((result.image != image).any(axis=2), result.mask)
    assert 4 <= result.mask.sum() < result.mask.size * 0.6
    assert (result.kind, result.taxonomy) == (kind, TAXONOMY[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same_pixels_and_another_seed_others(kind: Kind) -> None:
    image = grey_noise()
    first, again, other = drawn(image, kind, 4), drawn(image, kind, 4), drawn(image, kind, 5)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_stays_on_the_part(kind: Kind) -> None:
    image = grey_noise()
    part = np.zeros((128, 128), np.uint8)
    cv2.circle(part, (50, 70), 32, 1, -1)
    image[part == 0] = (0, 255, 0)
    for seed in range(4):
        result = drawn(image, kind, seed, scene=Scene(region=part > 0))
        assert result.mask.any()
        assert not result.mask[part == 0].any()
        assert np.array_equal(result.image[part == 0], image[part == 0])


def test_an_edge_breaks_where_the_part_ends_and_shows_what_is_behind_it() -> None:
    image = np.full((128, 128, 3), 200, np.uint8)
    part = np.zeros((128, 128), np.bool_)
    part[:, :64] = True
    image[~part] = (20, 20, 120)
    wide = Policy(edge_break=Ranges(size=(0.25, 0.3), contrast=(0.7, 0.7)))
    result = drawn(image, "edge-break", scene=Scene(region=part), policy=wide)
    assert np.argwhere(result.mask)[:, 1].max() >= 62
    floor = np.median(result.image[result.mask], axis=0)
    assert floor[0] < 120
    assert floor[2] > floor[0] + 40


@pytest.mark.parametrize("scale", [0.1, 0.25])
def test_millimetres_become_pixels_by_the_scale(scale: float) -> None:
    image = np.full((256, 256, 3), 128, np.uint8)
    policy = Policy(
        unit="mm",
        scratch=Scratches(size=(10, 10), width=(0.5, 0.5), contrast=(0.4, 0.4), shapes=("straight",)),
        hole=Ranges(size=(6, 6), contrast=(0.4, 0.4)),
        stain=Ranges(size=(8, 8), contrast=(0.3, 0.3)),
    )
    for kind, millimetres in (("scratch", 10), ("hole", 6), ("stain", 8)):
        # The first that is not cut off at the border.
        for seed in range(20):
            result = drawn(image, kind, seed, policy=policy, scene=Scene(scale=scale))
            edge = np.concatenate([result.mask[[0, -1]].ravel(), result.mask[:, [0, -1]].ravel()])
            if not edge.any():
                break
        assert extent(result.mask) * scale == pytest.approx(millimetres, rel=0.15, abs=3 * scale)


def test_pixels_are_pixels_on_any_image() -> None:
    policy = Policy(unit="px", pit=Ranges(size=(12, 12), contrast=(0.4, 0.4)))
    for side in (64, 200):
        result = drawn(np.full((side, side, 3), 128, np.uint8), "pit", 3, policy=policy)
        assert extent(result.mask) == pytest.approx(12, abs=4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "misplacement"])
def test_more_contrast_changes_more(kind: Kind) -> None:
    image = grey_noise(level=150)
    strength = []
    for contrast in (0.1, 0.25, 0.45):
        ranges = Policy().of(kind).model_copy(update={"contrast": (contrast, contrast), "count": (1, 1)})
        policy = Policy.model_validate({kind: ranges})
        change = np.abs(drawn(image, kind, 2, policy=policy).image.astype(int) - image)
        strength.append(change.sum())
    assert strength[0] < strength[1] < strength[2]


def lit_side(light: float) -> float:
    """Return how much brighter a dent's right half became than its left half."""
    image = np.full((128, 128, 3), 128, np.uint8)
    change = drawn(image, "dent", 1, scene=Scene(light=light)).image[..., 0].astype(int) - 128
    _, columns = np.nonzero(change)
    middle = round((columns.min() + columns.max()) / 2)
    return float(change[:, middle:].sum() - change[:, :middle].sum())


def test_a_dent_is_dark_on_the_side_that_the_light_comes_from() -> None:
    from_right, from_left = lit_side(0), lit_side(180)
    assert from_right < 0 < from_left
    assert abs(from_right + from_left) < 0.5 * from_left


def test_light_from_the_top_shades_a_dent_from_top_to_bottom() -> None:
    image = np.full((128, 128, 3), 128, np.uint8)
    change = drawn(image, "dent", 1, scene=Scene(light=90)).image[..., 0].astype(int) - 128
    rows, _ = np.nonzero(change)
    middle = round((rows.min() + rows.max()) / 2)
    assert change[:middle].sum() < 0 < change[middle:].sum()


@pytest.mark.parametrize("kind", ["stain", "scratch", "dent", "oxidation"])
def test_the_texture_stays_underneath(kind: Kind) -> None:
    image = grey_noise()
    result = drawn(image, kind, 3, policy=Policy.model_validate({kind: {"contrast": [0.15, 0.2]}}))
    grey = [one[..., 0].astype(np.float32) for one in (image, result.image)]
    fine = [one - cv2.GaussianBlur(one, (0, 0), 1.5) for one in grey]
    inside = cv2.erode(result.mask.astype(np.uint8), np.ones((3, 3))) > 0 if kind != "scratch" else result.mask
    assert np.corrcoef(fine[0][inside], fine[1][inside])[0, 1] > 0.5


def test_a_grey_part_stays_grey() -> None:
    for kind in KINDS:
        image = drawn(grey_noise(), kind, 7).image
        assert np.array_equal(image[..., 0], image[..., 1])
        assert np.array_equal(image[..., 0], image[..., 2])


def test_specks_are_counted() -> None:
    few, many = (
        Policy(unit="px", specks=Specks(size=(4, 4), count=(count, count), spread=(120, 120), contrast=(0.4, 0.4)))
        for count in (3, 25)
    )
    image = np.full((160, 160, 3), 128, np.uint8)
    counts = [
        cv2.connectedComponents(drawn(image, "specks", 1, policy=policy).mask.astype(np.uint8), connectivity=8)[0] - 1
        for policy in (few, many)
    ]
    assert counts[0] <= 3
    assert counts[1] >= 15


def test_a_foreign_object_brings_the_detail_of_the_image_that_it_is_cut_from() -> None:
    image = np.full((128, 128, 3), 100, np.uint8)
    plain = np.full((90, 90, 3), 80, np.uint8)
    striped = plain.copy()
    striped[:, ::4] = 160
    policy = Policy.model_validate({"foreign-object": {"size": [0.5, 0.5]}})
    detail = []
    for donor in (plain, striped):
        result = drawn(image, "foreign-object", policy=policy, scene=Scene(foreign=(donor,)))
        inside = cv2.erode(result.mask.astype(np.uint8), np.ones((21, 21))) > 0
        across = np.gradient(result.image[..., 0].astype(np.float32), axis=1)
        detail.append(float(np.abs(across[inside]).mean()))
    assert detail[0] < 5
    assert detail[1] > 15


def test_a_foreign_object_takes_the_light_of_the_part_and_differs_by_the_contrast() -> None:
    image = np.full((128, 128, 3), 100, np.uint8)
    policy = Policy.model_validate({"foreign-object": {"contrast": [0.2, 0.2], "size": [0.3, 0.3]}})
    for level in (10, 240):
        donor = np.full((20, 20, 3), level, np.uint8)
        result = drawn(image, "foreign-object", 1, policy=policy, scene=Scene(foreign=(donor,)))
        inside = cv2.erode(result.mask.astype(np.uint8), np.ones((11, 11))) > 0
        assert abs(float(np.median(result.image[inside])) - 100) == pytest.approx(51, abs=8)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32),
    size=st.floats(0.05, 0.9),
    height=st.integers(24, 90),
    width=st.integers(24, 90),
    light=st.floats(-360, 360),
)
def test_whatever_is_drawn_the_mask_tells_the_truth(
    kind: Kind, seed: int, size: float, height: int, width: int, light: float
) -> None:
    image = np.random.default_rng(1).integers(60, 190, (height, width, 3), dtype=np.uint8)
    part = np.ones((height, width), np.bool_)
    part[: height // 4] = False
    policy = Policy.model_validate({kind: {"size": [size, size]}})
    try:
        result = drawn(image, kind, seed, policy=policy, scene=Scene(region=part, light=light))
    except SynthesisError as error:
        assert "is less than a pixel" in str(error) or "cannot be seen" in str(error)  # noqa: PT017
        return
    assert result.mask.any()
    assert np.array_equal((result.image != image).any(axis=2), result.mask)
    assert not result.mask[~part].any()


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({"policy": Policy(unit="px", scratch=Scratches(size=(50, 500), width=(1, 2)))}, "a size of 500 px is more"),
        ({"policy": Policy(unit="px", scratch=Scratches(size=(0.1, 0.5), width=(1, 2)))}, "less than a pixel"),
        ({"policy": Policy(unit="mm", scratch=Scratches(size=(5, 6), width=(1, 2)))}, "how many mm a pixel is"),
        ({"policy": Policy(unit="px", crack=Lines(size=(5, 6), width=(1, 2)))}, "does not say how large a scratch is"),
        ({"scene": Scene(scale=0)}, "more than 0 mm per pixel, not 0"),
        ({"scene": Scene(light=float("nan"))}, "a direction in degrees"),
        ({"scene": Scene(region=np.zeros((128, 128), np.bool_))}, "the region is empty"),
        ({"scene": Scene(region=np.ones((12, 128), np.bool_))}, "the image needs"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(known: dict[str, object], sentence: str) -> None:
    with pytest.raises(SynthesisError, match=sentence):
        drawn(grey_noise(), "scratch", **known)


def test_images_and_kinds_that_are_none_are_refused() -> None:
    with pytest.raises(SynthesisError, match="no kind of defect 'scrach'"):
        drawn(grey_noise(), "scrach")  # type: ignore[arg-type]
    with pytest.raises(SynthesisError, match="uint8"):
        drawn(grey_noise().astype(np.float32), "stain")
    with pytest.raises(SynthesisError, match="uint8"):
        drawn(grey_noise()[..., 0], "stain")
    with pytest.raises(SynthesisError, match="a misplacement cannot be seen"):
        drawn(np.zeros((64, 64, 3), np.uint8), "misplacement")


@pytest.mark.parametrize(
    "values",
    [
        {"size": (0.5, 0.1)},
        {"size": (0, 0.1)},
        {"size": (-1, 2)},
        {"contrast": (0.1, 1.5)},
        {"count": (0, 3)},
        {"size": (0.1, float("inf"))},
        {"colour": "red"},
    ],
)
def test_ranges_are_ranges(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Ranges.model_validate(values)


def test_the_example_is_the_default_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(example())
    assert read_policy(tmp_path / "policy.yaml") == Policy()


def test_a_policy_in_part_keeps_the_kinds_other_defaults(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("crack:\n  contrast: [0.5, 0.6]\n")
    assert read_policy(tmp_path / "policy.yaml").crack == Lines(
        size=Policy().crack.size, contrast=(0.5, 0.6), width=Policy().crack.width
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("scrach: {}\n", "scrach: Extra inputs are not permitted"),
        ("stain: {size: [3, 1]}\n", "stain: size goes from the lowest to the highest"),
        ("unit: mm\nscratch: {size: [3, 5]}\n", "with lengths in mm, scratch needs its width"),
        ("- scratch\n", "must hold kinds of defects"),
        ("a: [\n", "is not valid YAML"),
    ],
)
def test_a_policy_that_is_wrong_says_where(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(SynthesizeError, match=sentence):
        read_policy(tmp_path / "policy.yaml")


@pytest.mark.parametrize(("scale", "sentence"), [(-1.0, "more than 0 mm per pixel"), (0.1, "write `unit: mm` into it")])
def test_a_scale_that_cannot_be_meant_is_refused(scale: float, sentence: str) -> None:
    with pytest.raises(SynthesizeError, match=sentence):
        SynthesizeSettings(scale=scale)


def test_a_misspelt_kind_is_refused_with_what_was_meant() -> None:
    assert kinds_named(["scratch", "stain", "scratch"]) == ("scratch", "stain")
    with pytest.raises(SynthesizeError, match=r"no kind of defect 'stian'; did you mean stain\?"):
        kinds_named(["scratch", "stian"])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_data_set_is_one_that_evaluate_takes_and_the_same_for_the_same_seed(tmp_path: Path) -> None:
    images = good_images(write_plates(tmp_path / "plates", train=10, test=1))
    chosen = SynthesizeSettings(kinds=("scratch", "edge-break"), per_kind=3, seed=2)
    written = synthesize(images, tmp_path / "one", chosen)
    assert (written.defective, written.good) == (6, 4)
    found = labelled_images(tmp_path / "one")
    assert [image.defect for image in found].count("edge-break") == 3
    used = {(tmp_path / "one/test/good" / f"{number:03}.png").read_bytes() for number in range(4)}
    assert len(used) == 4
    for image in found:
        if image.defect is None:
            continue
        assert image.mask is not None
        mask = cv2.imread(str(image.mask), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (64, 64)
        assert set(np.unique(mask)) == {0, 255}
    assert cv2.imread(str(written.sheet)).shape[0] > 2 * 160
    synthesize(images, tmp_path / "again", chosen)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "again")
    synthesize(images, tmp_path / "other", SynthesizeSettings(kinds=("scratch", "edge-break"), per_kind=3, seed=3))
    assert files_of(tmp_path / "one") != files_of(tmp_path / "other")


def test_a_kind_looks_the_same_whichever_other_kinds_are_drawn(tmp_path: Path) -> None:
    images = good_images(write_plates(tmp_path / "plates", train=1, test=1))
    synthesize(images, tmp_path / "one", SynthesizeSettings(kinds=("stain",), per_kind=2))
    synthesize(images, tmp_path / "two", SynthesizeSettings(kinds=("scratch", "stain"), per_kind=2))
    assert (tmp_path / "one/test/stain/001.png").read_bytes() == (tmp_path / "two/test/stain/001.png").read_bytes()


def code_of(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run the command line as a shell would, and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["neverblink", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_draws_within_a_region_by_a_policy_in_millimetres(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    images = write_plates(tmp_path / "plates", train=2, test=1)
    (tmp_path / "region.yaml").write_text("inside: [[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]]\n")
    (tmp_path / "policy.yaml").write_text("unit: mm\npit: {size: [0.8, 1.0]}\n")
    out = tmp_path / "out"
    words = ("--kinds", "pit", "--per-kind", 3, "--scale", 0.1, "--region", tmp_path / "region.yaml")
    assert code_of(monkeypatch, "synthesize", images, "--out", out, "--policy", tmp_path / "policy.yaml", *words) == 0
    assert "3 images with defects, 2 good ones" in capsys.readouterr().out
    for path in sorted((out / "ground_truth/pit").iterdir()):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask[:, :33].any()
        assert not mask[:, 33:].any()
    assert (out / "contact-sheet.png").is_file()


def test_the_command_prints_the_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(monkeypatch, "synthesize", "--example") == 0
    assert capsys.readouterr().out == example()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--kinds", "scrach"), "did you mean scratch?"),
        (("--out", "full"), "exists and is not an empty folder"),
        (("--policy", "none.yaml"), "cannot be read"),
        (("--region", "none.png"), "cannot be read"),
        (("--scale", "0.1"), "write `unit: mm` into it"),
        (("--region", "small.png"), "the image needs"),
    ],
)
def test_the_command_refuses_bad_input_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_plates(tmp_path / "full", train=2, test=1)
    cv2.imwrite("small.png", np.full((8, 8), 255, np.uint8))
    assert code_of(monkeypatch, "synthesize", "full", "--out", "new", *words) == 2
    said = capsys.readouterr().err
    assert said.startswith("neverblink: ")
    assert said.count("\n") == 1
    assert sentence in said
    assert not Path("new").exists()
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["ground_truth", "test", "train"]
