"""A U-Net starts as a sceptic, learns where things are, and is the same after a round through a file."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import Tensor, nn

from neverblink.vision import unet as unet_module
from neverblink.vision.backbones import WeightsError, load_backbone, parameters_digest
from neverblink.vision.errors import VisionError
from neverblink.vision.losses import LossSettings, segmentation_loss
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.unet import PRIOR, Unet, load_unet, new_unet, spec_for, unet_tensors
from neverblink.vision.unet_spec import UnetSpec

SIDE = 64
LITE = "tf_efficientnet_lite0"
CLASSES = ("scratch", "dent")


def small(encoder: str = "plain", *, depth: int = 2, side: int = SIDE, **other: object) -> UnetSpec:
    return spec_for(encoder, CLASSES, preprocess=Preprocess(resize=side), width=8, depth=depth, **other)  # type: ignore[arg-type]


def squares(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Grey noise with one bright square an image, and its mask in the first of two classes."""
    random = np.random.default_rng(seed)
    images = random.integers(90, 140, (count, SIDE, SIDE, 3), dtype=np.uint8)
    masks = np.zeros((count, 2, SIDE, SIDE), dtype=np.float32)
    for image, mask in zip(images, masks, strict=True):
        top, left = random.integers(4, SIDE - 20, 2)
        image[top : top + 15, left : left + 15] += 80
        mask[0, top : top + 15, left : left + 15] = 1
    return torch.from_numpy(images), torch.from_numpy(masks)


def pictures(count: int, *, side: int = SIDE) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("encoder", ["plain", LITE])
def test_a_fresh_unet_thinks_defects_are_rare(encoder: str) -> None:
    fresh = new_unet(small(encoder), seed=0)
    mean = float(torch.sigmoid(fresh(pictures(4))).mean().detach())
    assert PRIOR / 2 < mean < PRIOR * 2


@pytest.mark.parametrize(
    ("encoder", "depth", "side"),
    [("plain", 1, 50), ("plain", 4, 80), ("plain", 6, 64), (LITE, 1, 50), (LITE, 4, 80), (LITE, 5, 96)],
)
def test_every_pixel_gets_a_logit_for_every_class(encoder: str, depth: int, side: int) -> None:
    unet = Unet(small(encoder, depth=depth, side=side))
    assert unet(pictures(2, side=side)).shape == (2, len(CLASSES), side, side)


@pytest.mark.parametrize("encoder", ["plain", LITE])
def test_it_learns_where_a_square_is_to_the_pixel(encoder: str) -> None:
    unet = new_unet(small(encoder), seed=1)
    optimiser = torch.optim.AdamW(unet.parameters(), lr=5e-3)
    for step in range(40):
        images, masks = squares(4, seed=step)
        optimiser.zero_grad()
        segmentation_loss(unet(images), masks, LossSettings()).backward()
        optimiser.step()
    images, masks = squares(8, seed=99)
    found = torch.sigmoid(unet.eval()(images)).detach() > 0.5
    wanted = masks > 0.5
    overlap = (found & wanted).sum() / (found | wanted).sum()
    assert overlap > 0.85
    places = torch.arange(SIDE).float()
    for axis in (2, 3):
        # An encoder that sits half a pixel off would move every mask the same way.
        other = 5 - axis
        off = [
            (shares * places).sum() / shares.sum()
            for shares in (masks_of[:, 0].float().sum(dim=other - 1) for masks_of in (found, wanted))
        ]
        assert abs(float(off[0] - off[1])) < 0.5


@pytest.mark.parametrize("encoder", ["plain", LITE])
def test_every_weight_takes_part_in_learning(encoder: str) -> None:
    unet = new_unet(small(encoder), seed=0)
    images, masks = squares(2, seed=0)
    segmentation_loss(unet(images), masks, LossSettings()).backward()
    idle = [name for name, weight in unet.named_parameters() if weight.grad is None or not weight.grad.any()]
    # A bias before a batch norm moves nothing, and there is none.
    assert idle == []


def test_the_seed_decides_and_nobody_elses_random_numbers_move() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again, other = (unet_tensors(new_unet(small(), seed=seed)) for seed in (3, 3, 4))
    load_unet(small(), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "spec",
    [small(), small(norm="group", activation="silu"), small(LITE, depth=4)],
    ids=["plain", "group norm", "lite"],
)
def test_a_unet_survives_its_tensors(spec: UnetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_unet(spec, seed=0)
    made(pictures(4))  # moves the running statistics
    stored = load(save(unet_tensors(made)))
    monkeypatch.setattr(unet_module, "load_backbone", None)  # what was trained needs no pretrained weights
    loaded = load_unet(spec, stored)
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    torch.testing.assert_close(loaded(pictures(3)), made.eval()(pictures(3)).detach(), rtol=0, atol=0)


def test_tensors_are_copies() -> None:
    unet = new_unet(small(), seed=0)
    kept = unet_tensors(unet)
    before = kept["head.bias"].copy()
    nn.init.zeros_(unet.get_parameter("network.head.bias"))
    np.testing.assert_array_equal(kept["head.bias"], before)
    load_unet(small(), kept).network.get_parameter("head.bias").fill_(5)
    np.testing.assert_array_equal(kept["head.bias"], before)


def test_tensors_that_do_not_fit_are_refused_in_one_sentence() -> None:
    tensors = unet_tensors(new_unet(small(), seed=0))
    poisoned = tensors["head.weight"].copy()
    poisoned[0, 0] = np.nan
    without = {name: value for name, value in tensors.items() if name != "head.bias"}
    for damaged, said in (
        (without, r"1 tensors are missing, first head\.bias"),
        (tensors | {"tail": np.zeros(1, dtype=np.float32)}, "1 tensors belong to another network, first tail"),
        (tensors | {"head.bias": np.zeros(3, dtype=np.float32)}, r"head\.bias is float32 \(3,\), expected .*\(2,\)"),
        (tensors | {"head.bias": np.zeros(2)}, r"head\.bias is float64 \(2,\), expected float32 \(2,\)"),
        (tensors | {"head.weight": poisoned}, r"damaged: head\.weight holds values that are not finite"),
    ):
        with pytest.raises(VisionError, match=said) as refused:
            load_unet(small(), damaged)
        assert "\n" not in str(refused.value)
    with pytest.raises(VisionError, match=r"missing.*another network"):
        load_unet(small(LITE), tensors)


def test_a_pretrained_encoder_starts_from_the_packaged_weights_and_learns() -> None:
    unet = new_unet(small(LITE, depth=3), seed=0)
    assert unet.training
    assert all(weight.requires_grad for weight in unet.parameters())
    wanted = load_backbone(LITE, levels=(0, 1, 2)).spec.weights
    assert parameters_digest(unet.network.get_submodule("encoder")) == wanted


@pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA does not name the weights' folder")
def test_a_weights_file_starts_a_resnet18() -> None:
    weights = Path(os.environ["NEVERBLINK_DATA"], "weights", "resnet18-conv1-to-layer3.safetensors")
    unet = new_unet(small("resnet18", depth=4), seed=0, weights=weights)
    wanted = load_backbone("resnet18", weights=weights, levels=(0, 1, 2, 3)).spec.weights
    assert parameters_digest(unet.network.get_submodule("encoder")) == wanted


def test_pixels_are_normalised_as_the_encoder_was_trained() -> None:
    assert spec_for("plain", CLASSES).mean == (127.5, 127.5, 127.5)
    assert (spec_for(LITE, CLASSES).mean, spec_for(LITE, CLASSES).deviation) == ((127,) * 3, (128,) * 3)
    assert spec_for("resnet18", CLASSES).mean == pytest.approx((123.675, 116.28, 103.53))
    with pytest.raises(VisionError, match="make the spec with spec_for"):
        new_unet(UnetSpec(classes=CLASSES, encoder=LITE), seed=0)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("no_such_network", "timm has no"),
        ("resnet18.no_such_weights", "timm has no"),
        ("vit_small_patch16_dinov3", "do not halve"),
        ("convnext_tiny", "do not halve"),
    ],
)
def test_a_network_that_cannot_be_an_encoder_is_refused(encoder: str, said: str) -> None:
    with pytest.raises(VisionError, match=said) as refused:
        new_unet(spec_for(encoder, CLASSES), seed=0)
    assert "\n" not in str(refused.value)


def test_more_levels_than_a_network_has_are_refused() -> None:
    with pytest.raises(VisionError, match="does not have the feature levels"):
        Unet(spec_for(LITE, CLASSES, depth=6))


def test_a_plain_unet_takes_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(VisionError, match="trained from scratch"):
        new_unet(small(), seed=0, weights=tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="no weights file"):
        new_unet(small(LITE), seed=0, weights=tmp_path / "weights.safetensors")


def test_a_spec_of_billions_of_parameters_is_refused_before_memory_is_taken() -> None:
    spec = UnetSpec(classes=("scratch",), width=256, depth=6)
    with pytest.raises(VisionError, match="do not fit its spec"):
        load_unet(spec, {"head.weight": np.zeros((1, 256, 1, 1), np.float32)})
