"""An image reaches the network in one stated way, and a map finds its way back to where things are."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from neverblink.vision.anomaly_map import smoothing_matrix
from neverblink.vision.augmentation import Lighting, brightened
from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.colour import Clahe
from neverblink.vision.errors import VisionError
from neverblink.vision.preprocess import Preprocess

Floats = npt.NDArray[np.float32]

POLICIES = [
    Preprocess(resize=128),
    Preprocess(resize=128, crop=96),
    Preprocess(resize=128, aspect=2.0),
    Preprocess(resize=128, aspect=0.4),
    Preprocess(resize=128, aspect=2.0, crop=100),
    Preprocess(resize=128, aspect=2.0, clahe=Clahe(), white_balance=(1.1, 1.0, 0.9)),
]


def blob(height: int, width: int, x: float, y: float) -> npt.NDArray[np.uint8]:
    """A bright disc on grey, its middle at (x, y) of the image's width and height."""
    image = np.full((height, width, 3), 40, dtype=np.uint8)
    return cv2.circle(image, (round(x * width), round(y * height)), height // 16, (255, 255, 255), -1)  # type: ignore[return-value]


def middle(found: Floats) -> tuple[float, float]:
    """The brightest part's centre as shares (x, y)."""
    bright = found > (found.max() + np.median(found)) / 2
    y, x = np.nonzero(bright)
    return (x.mean() + 0.5) / found.shape[1], (y.mean() + 0.5) / found.shape[0]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("place", [(0.5, 0.5), (0.3, 0.6), (0.7, 0.25)], ids=str)
def test_a_blob_comes_back_at_its_place(policy: Preprocess, place: tuple[float, float]) -> None:
    aspect = policy.aspect or 1.6
    image = blob(400, round(400 * aspect), *place)
    network_input = policy.apply(image)
    assert network_input.shape == (policy.side, policy.side, 3)
    over_the_image = policy.uncrop(network_input[..., 1].astype(np.float32))
    assert middle(over_the_image) == pytest.approx(place, abs=0.01)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_blob_on_the_patch_grid_comes_back_at_its_place(policy: Preprocess) -> None:
    place = (0.35, 0.6)
    network_input = policy.apply(blob(400, round(400 * (policy.aspect or 1)), *place))[..., 1].astype(np.float32)
    patches = cv2.resize(network_input, (16, 16), interpolation=cv2.INTER_AREA)
    smooth = smoothing_matrix(16, policy.side, 2.0)
    found = policy.uncrop((smooth @ patches @ smooth.T).astype(np.float32))
    assert middle(found) == pytest.approx(place, abs=0.05)  # a patch is 0.06 of the side


def test_the_aspect_is_kept_and_the_rest_repeats_the_edge() -> None:
    image = np.zeros((100, 200, 3), dtype=np.uint8)
    image[:50] = 200
    kept = Preprocess(resize=64, aspect=2.0).apply(image)
    assert (kept[:32] == 200).all()
    assert (kept[32:] == 0).all()
    round_thing = blob(200, 400, 0.5, 0.5)
    bright = Preprocess(resize=128, aspect=2.0).apply(round_thing)[..., 0] > 150
    assert np.ptp(np.nonzero(bright)[0]) == np.ptp(np.nonzero(bright)[1])
    stretched = Preprocess(resize=128).apply(round_thing)[..., 0] > 150
    assert np.ptp(np.nonzero(stretched)[0]) > 1.5 * np.ptp(np.nonzero(stretched)[1])


def test_the_map_has_the_shape_of_what_it_covers() -> None:
    assert Preprocess(resize=128).uncrop(np.ones((128, 128), np.float32)).shape == (128, 128)
    assert Preprocess(resize=128, aspect=2.0).uncrop(np.ones((128, 128), np.float32)).shape == (64, 128)
    assert Preprocess(resize=128, aspect=0.5).uncrop(np.ones((128, 128), np.float32)).shape == (128, 64)
    cropped = Preprocess(resize=128, aspect=2.0, crop=96).uncrop(np.ones((96, 96), np.float32))
    assert cropped.shape == (64, 128)
    assert cropped[:, 16:112].all()
    assert not cropped[:, :16].any()


@given(st.integers(32, 300), st.floats(1 / 16, 16))
@settings(max_examples=50, deadline=None)
def test_any_aspect_fills_the_square(resize: int, aspect: float) -> None:
    policy = Preprocess(resize=resize, aspect=aspect)
    top, left, height, width = policy.content
    assert max(height, width) == resize
    assert min(height, width) >= 1
    assert top + height <= resize
    assert left + width <= resize
    assert (policy.apply(np.full((37, 53, 3), 90, np.uint8)) == np.full((resize, resize, 3), 90)).all()


def test_white_balance_multiplies_each_channel_and_clips() -> None:
    grey = np.full((64, 64, 3), 100, dtype=np.uint8)
    balanced = Preprocess(resize=64, white_balance=(1.5, 1.0, 3.0)).apply(grey)
    assert balanced[0, 0].tolist() == [150, 100, 255]
    assert (Preprocess(resize=64, white_balance=(1.0, 1.0, 1.0)).apply(grey) == grey).all()


def test_clahe_lifts_contrast_in_dark_corners_and_leaves_the_tone() -> None:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 20, (128, 128, 1))
    dim = (np.linspace(10, 200, 128)[None, :, None] + texture + np.array([20, 0, 0])).clip(0, 255).astype(np.uint8)
    plain, equal = Preprocess(resize=128).apply(dim), Preprocess(resize=128, clahe=Clahe(clip_limit=3)).apply(dim)
    assert equal[:, :16].std() > 1.5 * plain[:, :16].std()
    reddish = equal[..., 0].astype(int) - equal[..., 1]
    assert (reddish > 0).mean() > 0.95
    assert (Preprocess(resize=128, clahe=Clahe(clip_limit=3)).apply(dim) == equal).all()


def test_the_padding_does_not_count_in_the_histograms() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (64, 128, 3), dtype=np.uint8)
    padded = Preprocess(resize=128, aspect=2.0, clahe=Clahe()).apply(image)
    without = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    without[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(np.ascontiguousarray(without[..., 0]))
    assert (padded[32:96] == cv2.cvtColor(without, cv2.COLOR_LAB2RGB)).all()


def test_a_mask_goes_where_the_image_goes() -> None:
    for policy in POLICIES[:5]:
        image = np.zeros((200, round(200 * (policy.aspect or 1)), 3), dtype=np.uint8)
        image[40:160, 30:70] = 255
        as_image = policy.apply(image)[..., 0] / 255
        as_mask = policy.apply_to_mask(image[..., 0] > 0)
        assert np.abs(as_image - as_mask).max() < 0.01
    assert Preprocess(resize=64, aspect=2.0).apply_to_mask(np.ones((1, 1), np.bool_)).sum() == 32 * 64


@pytest.mark.parametrize(
    "refused",
    [
        {"resize": 64, "crop": 65},
        {"aspect": 0.0},
        {"aspect": float("nan")},
        {"white_balance": (1, 1, 0)},
        {"clahe": {"clip_limit": 0.5}},
        {"clahe": {"tiles": 0}},
        {"sharpen": 1},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(refused: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preprocess.model_validate(refused)


def test_what_is_no_image_is_refused() -> None:
    wrong: list[Any] = [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((0, 8, 3), np.uint8)]
    for image in wrong:
        with pytest.raises(VisionError, match="must be"):
            Preprocess().apply(image)
    with pytest.raises(VisionError, match="must be"):
        Preprocess().apply_to_mask(np.zeros((0, 8), np.bool_))


# The key that this spec had before aspect, white balance, CLAHE and dimension existed.
KEY = "sha256:7945c36963b982646baffa32e3366f2f5c2b4b030ba36a87484d5fdda44bb5ce"


def spec(preprocess: Preprocess = Preprocess(), dimension: int | None = None) -> BackboneSpec:  # noqa: B008
    return BackboneSpec(
        model="m",
        levels=(2, 3),
        source="file",
        weights="sha256:" + "0" * 64,
        mean=(1, 2, 3),
        deviation=(1, 2, 3),
        dimension=dimension,
        preprocess=preprocess,
    )


def test_specs_made_before_an_option_existed_keep_their_key_and_load() -> None:
    assert spec().key == KEY
    old = {name: value for name, value in spec().model_dump(mode="json").items() if name != "dimension"}
    old["preprocess"] = {"resize": 256, "crop": None}
    assert BackboneSpec.model_validate(old) == spec()


def test_every_option_makes_another_key_and_survives_its_json() -> None:
    options = [
        spec(Preprocess(aspect=1.5)),
        spec(Preprocess(white_balance=(1, 1, 1.5))),
        spec(Preprocess(clahe=Clahe())),
        spec(Preprocess(clahe=Clahe(tiles=4))),
        spec(dimension=1024),
    ]
    assert len({KEY, *(option.key for option in options)}) == 6
    for option in options:
        assert BackboneSpec.model_validate_json(option.model_dump_json()) == option


def test_brightness_variants_are_the_image_under_more_or_less_light() -> None:
    image = np.array([[[0, 100, 250]]], dtype=np.uint8)
    darker, same, brighter = Lighting().variants(image)
    assert (darker.tolist(), same.tolist(), brighter.tolist()) == (
        [[[0, 80, 200]]],
        [[[0, 100, 250]]],
        [[[0, 120, 255]]],
    )
    assert brightened(image, 0.805).tolist() == [[[0, 80, 201]]]
    assert image.tolist() == [[[0, 100, 250]]]


@pytest.mark.parametrize("factors", [(0.8, 1.2), (), (1.0, 1.0), (1.0, 0.0), (1.0, 9.0)], ids=str)
def test_brightness_factors_keep_the_original_and_are_sane(factors: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Lighting(brightness=factors)
