"""Variants for a U-Net: image and masks move in step, light and noise leave the masks alone."""

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from neverblink.vision.defect_augmentation import UNCHANGED, Augmentation, augment, example

NOTHING_DEGRADES = {"blur": 0, "motion_blur": 0, "shot_noise": 0, "read_noise": 0, "sharpness": 0, "jpeg": 100}
GEOMETRY = {
    "horizontal_flip": {"horizontal_flip": 1},
    "vertical_flip": {"vertical_flip": 1},
    "quarter_turns": {"quarter_turns": 1},
    "rotation": {"rotation": 30},
    "shift": {"shift": 0.2},
    "scale": {"scale": 0.4},
}
APPEARANCE = {
    "brightness": {"brightness": 0.3},
    "contrast": {"contrast": 0.4},
    "gamma": {"gamma": 0.4},
    "hue": {"hue": 0.1},
    "saturation": {"saturation": 0.4},
    "blur": {"degradation": 1, **NOTHING_DEGRADES, "blur": 2},
    "motion_blur": {"degradation": 1, **NOTHING_DEGRADES, "motion_blur": 8},
    "shot_noise": {"degradation": 1, **NOTHING_DEGRADES, "shot_noise": 20},
    "read_noise": {"degradation": 1, **NOTHING_DEGRADES, "read_noise": 10},
    "sharpness": {"degradation": 1, **NOTHING_DEGRADES, "sharpness": 2},
    "jpeg": {"degradation": 1, **NOTHING_DEGRADES, "jpeg": 30},
}
EVERYTHING = Augmentation(degradation=1)
SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(40, 97)


def only(changes: dict[str, float]) -> Augmentation:
    return Augmentation.model_validate({**UNCHANGED.model_dump(), **changes})


def part(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a dark part with a bright block in one place, and three masks: the block, none, its upper half."""
    random = np.random.default_rng(seed)
    image = np.clip(random.normal((50, 60, 55), 4, (height, width, 3)), 0, 255).astype(np.uint8)
    masks = np.zeros((3, height, width), dtype=np.bool_)
    top, left = random.integers(0, (height - 20, width - 14))
    image[top : top + 20, left : left + 14] = (190, 210, 200)
    masks[0, top : top + 20, left : left + 14] = True
    masks[2, top : top + 10, left : left + 14] = True
    return image, masks


def varied(image: np.ndarray, masks: np.ndarray, policy: Augmentation, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    before = image.copy(), masks.copy()
    found, marked = augment(image, masks, policy, np.random.default_rng(seed))
    assert np.array_equal(image, before[0]), "the caller's image stays as it is"
    assert np.array_equal(masks, before[1]), "the caller's masks stay as they are"
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    assert (marked.shape, marked.dtype) == (masks.shape, np.bool_)
    return found, marked


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def touches_the_edge(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


@pytest.mark.parametrize("what", GEOMETRY)
@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_masks_go_where_the_image_goes(what: str, seed: int, height: int, width: int) -> None:
    image, masks = part(height, width, seed)
    found, marked = varied(image, masks, only(GEOMETRY[what]), seed)
    bright = found[..., 1] > 130
    if touches_the_edge(masks[0]):
        # The repeated edge of a block at the edge is bright and unmarked: no mask is invented there.
        assert not (marked[0] & ~bright).sum() > 0.1 * max(marked[0].sum(), 40)
    elif bright.sum() > 60:
        # Rounding may decide otherwise along the border, by less than a pixel and to both sides alike.
        assert not (bright & ~_grown(marked[0])).any()
        assert not (~_grown(~marked[0]) & ~bright).any()
        if not touches_the_edge(marked[0]):
            assert np.hypot(*(np.argwhere(bright).mean(0) - np.argwhere(marked[0]).mean(0))) < 1
    assert not marked[1].any()
    assert not (marked[2] & ~marked[0]).any(), "what lay within another class still does"


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_masks_fit_the_image_after_everything_at_once(seed: int, height: int, width: int) -> None:
    image, masks = part(height, width, seed)
    found, marked = varied(image, masks, EVERYTHING, seed)
    bright = found[..., 1] > (int(found[..., 1].max()) + int(np.median(found[..., 1]))) / 2
    if not touches_the_edge(masks[0]) and not touches_the_edge(marked[0]):
        assert np.hypot(*(np.argwhere(bright).mean(0) - np.argwhere(marked[0]).mean(0))) < 1.5
        assert overlap(bright, marked[0]) > 0.75
    assert not marked[1].any()


@pytest.mark.parametrize("what", APPEARANCE)
def test_light_and_noise_change_the_image_and_leave_every_mask_bit_for_bit(what: str) -> None:
    image, masks = part(64, 81)
    changed = 0
    for seed in range(8):
        found, marked = varied(image, masks, only(APPEARANCE[what]), seed)
        assert np.array_equal(marked, masks)
        changed += not np.array_equal(found, image)
    assert changed >= 6


@pytest.mark.parametrize("what", [*GEOMETRY, *APPEARANCE])
def test_a_seed_gives_the_same_variant_whatever_was_drawn_elsewhere(what: str) -> None:
    image, masks = part(48, 48)
    policy = only((GEOMETRY | APPEARANCE)[what])
    first = varied(image, masks, policy, 7)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    np.random.seed(1)  # noqa: NPY002 (the global state is what must not matter)
    again = varied(image, masks, policy, 7)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(torch.random.get_rng_state(), state), "nothing is drawn from torch's own stream"


def test_seeds_give_different_variants() -> None:
    image, masks = part(64, 64)
    assert len({varied(image, masks, Augmentation(), seed)[0].tobytes() for seed in range(12)}) == 12


def test_the_unchanged_policy_changes_nothing() -> None:
    image, masks = part(53, 71)
    for seed in range(5):
        found, marked = varied(image, masks, UNCHANGED, seed)
        assert np.array_equal(found, image)
        assert np.array_equal(marked, masks)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_a_shifted_image_repeats_its_edge_instead_of_showing_a_defect_twice(seed: int) -> None:
    image = np.full((60, 60, 3), 50, np.uint8)
    image[3:9, 3:9] = 220
    masks = (image[..., 0] == 220)[None]
    found, marked = varied(image, masks, only({"shift": 0.4, "rotation": 20, "scale": 0.3}), seed)
    # A reflection would be as bright as the defect and unmarked; black would be darker than the part.
    assert not ((found[..., 0] > 135) & ~_grown(marked[0])).any()
    assert found.min() >= 49


def test_a_part_that_is_not_square_is_turned_upside_down_only() -> None:
    image, masks = part(40, 70)
    for seed in range(4):
        found, marked = varied(image, masks, only({"quarter_turns": 1}), seed)
        assert np.array_equal(found, image[::-1, ::-1])
        assert np.array_equal(marked, masks[:, ::-1, ::-1])


def test_quarter_turns_reach_all_three() -> None:
    image, masks = part(50, 50)
    found = {varied(image, masks, only({"quarter_turns": 1}), seed)[0].tobytes() for seed in range(20)}
    assert found == {np.ascontiguousarray(np.rot90(image, turns)).tobytes() for turns in (1, 2, 3)}


def test_images_of_a_grey_camera_stay_grey() -> None:
    image = np.repeat(part(64, 64)[0][..., :1], 3, axis=2)
    masks = np.zeros((1, 64, 64), dtype=np.bool_)
    for seed in range(30):
        found = varied(image, masks, EVERYTHING, seed)[0]
        assert np.ptp(found.astype(int), axis=2).max() <= 2, "JPEG may round a channel by one"


def test_a_belt_that_runs_across_smears_along_itself_only() -> None:
    image = np.full((41, 41, 3), 40, np.uint8)
    image[20, 20] = 240
    policy = only({"degradation": 1, **NOTHING_DEGRADES, "motion_blur": 12, "motion_angle": 0})
    for seed in range(5):
        found = varied(image, np.zeros((1, 41, 41), dtype=np.bool_), policy, seed)[0][..., 0].astype(int) - 40
        assert found[:20].sum() + found[21:].sum() <= found[20].sum() * 0.02
        assert np.array_equal(found[20], found[20][::-1]), "the middle stays where it is"


def test_sensor_noise_is_stronger_where_it_is_brighter() -> None:
    image = np.full((64, 64, 3), 40, np.uint8)
    image[:, 32:] = 200
    policy = only({"degradation": 1, **NOTHING_DEGRADES, "shot_noise": 20})
    found = varied(image, np.zeros((1, 64, 64), dtype=np.bool_), policy, 3)[0].astype(float)
    assert found[:, 32:].std() > 1.5 * found[:, :32].std() > 0


def test_the_example_is_the_default_and_explains_every_field() -> None:
    text = example()
    assert Augmentation.model_validate(yaml.safe_load(text)) == Augmentation()
    fields = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(fields) == len(Augmentation.model_fields)
    assert all("  # " in line for line in fields)


@pytest.mark.parametrize(
    "wrong", [{"rotation": 90}, {"hue": -0.1}, {"jpeg": 0}, {"elastic": 1}, {"blur": float("nan")}]
)
def test_a_policy_beyond_its_bounds_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Augmentation.model_validate(wrong)


def _grown(mask: np.ndarray) -> np.ndarray:
    grown = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            grown |= np.roll(grown, step, axis)
    return grown
