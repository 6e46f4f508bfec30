"""U-Net (Ronneberger et al., MICCAI 2015): from an image to one map of logits a defect type, trained or to be."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from neverblink.vision.backbones import bare_network, load_backbone, normalisation_of
from neverblink.vision.errors import VisionError
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.unet_spec import PLAIN, UnetSpec

PRIOR = 0.01
"""The probability that a fresh network gives every pixel (Lin et al., ICCV 2017, sec. 4.1).

Defects cover under 1 % of the pixels: starting from one half, the first epochs would be spent, and a pretrained
encoder shaken, to learn that alone.
"""

_GROUP_CHANNELS = 8

Floats = npt.NDArray[np.float32]


class Unet(ImageNetwork):
    """(N, side, side, 3) uint8 RGB → (N, K, side, side) float32 logits, a channel for each of the spec's classes."""

    def __init__(self, spec: UnetSpec) -> None:
        """Build the network with random weights. Raises VisionError when its encoder cannot be one."""
        super().__init__(_SkipNetwork(spec), spec.mean, spec.deviation)
        self.spec = spec

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of a batch."""
        logits: Tensor = self.network(self.normalised(images))
        return logits.float()


def spec_for(
    encoder: str,
    classes: tuple[str, ...],
    *,
    preprocess: Preprocess | None = None,
    width: int = 16,
    depth: int = 4,
    norm: Literal["batch", "group"] = "batch",
    activation: Literal["relu", "silu"] = "relu",
) -> UnetSpec:
    """Describe a U-Net whose pixels are normalised as its encoder was trained. Raises VisionError for an unknown one.

    `norm` and `activation` are those of what is trained from scratch; a timm encoder keeps its own.
    """
    plain = UnetSpec.model_fields
    mean, deviation = (
        (plain["mean"].default, plain["deviation"].default) if encoder == PLAIN else normalisation_of(encoder)
    )
    return UnetSpec(
        classes=classes,
        encoder=encoder,
        width=width,
        depth=depth,
        norm=norm,
        activation=activation,
        preprocess=preprocess or Preprocess(),
        mean=mean,
        deviation=deviation,
    )


def new_unet(spec: UnetSpec, *, seed: int, weights: Path | None = None) -> Unet:
    """Return a U-Net to be trained, in training mode, the same for the same seed.

    A timm encoder starts from `weights`, else from the packaged ones, else from timm's download. Raises
    WeightsError when they are missing or do not fit, VisionError when the spec normalises pixels in another way.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = Unet(spec)
    if spec.encoder == PLAIN:
        if weights is not None:
            raise VisionError(f"a plain U-Net is trained from scratch; leave out the weights file {weights}")
        return unet.train()
    if (spec.mean, spec.deviation) != normalisation_of(spec.encoder):
        raise VisionError(
            f"{spec.encoder} was trained on pixels normalised by other numbers than {spec.mean} and {spec.deviation};"
            " make the spec with spec_for"
        )
    pretrained = load_backbone(spec.encoder, weights=weights, levels=_levels_of(spec), preprocess=spec.preprocess)
    cast(_SkipNetwork, unet.network).encoder = pretrained.network.requires_grad_(requires_grad=True)
    return unet.train()


def unet_tensors(unet: Unet) -> dict[str, Floats]:
    """Return copies of all parameters and running statistics by name: what `load_unet` needs beside the spec."""
    return {name: value.detach().cpu().numpy().copy() for name, value in _stored(unet).items()}


def load_unet(spec: UnetSpec, tensors: Mapping[str, Floats]) -> Unet:
    """Build a U-Net from its tensors, in evaluation mode. Raises VisionError when they do not fit or are not finite."""
    # Without memory first: a hostile spec can describe billions of parameters, and its tensors have a bounded size.
    with torch.device("meta"):
        wanted = _stored(Unet(spec))
    missing, foreign = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if missing or foreign:
        faults = [
            f"{len(names)} tensors {fault}, first {min(names)}"
            for names, fault in ((missing, "are missing"), (foreign, "belong to another network"))
            if names
        ]
        raise VisionError(f"the U-Net's tensors do not fit its spec: {'; '.join(faults)}")
    for name, value in wanted.items():
        found = tensors[name]
        if found.shape != tuple(value.shape) or found.dtype != np.float32:
            raise VisionError(
                f"the U-Net's tensors do not fit its spec: {name} is {found.dtype} {found.shape}, expected float32"
                f" {tuple(value.shape)}"
            )
        if not np.isfinite(found).all():
            raise VisionError(f"the U-Net is damaged: {name} holds values that are not finite numbers")
    with torch.random.fork_rng(devices=[]):
        unet = Unet(spec)
    with torch.no_grad():
        for name, value in _stored(unet).items():
            value.copy_(torch.from_numpy(np.array(tensors[name])))
    return unet.eval().requires_grad_(requires_grad=False)


def _stored(unet: Unet) -> dict[str, Tensor]:
    """Return the tensors themselves. How many batches a norm has seen matters only to norms without momentum."""
    tensors: dict[str, Tensor] = unet.network.state_dict()
    return {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}


def _levels_of(spec: UnetSpec) -> tuple[int, ...]:
    return tuple(range(spec.depth))


class _SkipNetwork(nn.Module):
    """(N, 3, H, W) normalised pixels → (N, K, H, W) logits: down the encoder, up again along its levels."""

    def __init__(self, spec: UnetSpec) -> None:
        super().__init__()
        self.encoder: nn.Module
        if spec.encoder == PLAIN:
            channels = tuple(spec.width << level for level in range(spec.depth + 1))
            self.encoder = _PlainEncoder(channels, spec)
        else:
            self.encoder, channels = _timm_encoder(spec)
        widths = [spec.width << level for level in range(len(channels) - 1)] + [channels[-1]]
        self.joints = nn.ModuleList(
            _Joint(coarse, skip, width, spec)
            for coarse, skip, width in zip(widths[1:], channels[:-1], widths[:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], len(spec.classes), kernel_size=1)
        nn.init.constant_(cast(Tensor, self.head.bias), math.log(PRIOR / (1 - PRIOR)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits."""
        *skips, features = cast(list[Tensor], self.encoder(pixels))
        for joint, skip in zip(reversed(self.joints), reversed(skips), strict=True):
            features = joint(features, skip)
        logits: Tensor = self.head(features)
        # timm's finest level has half the resolution. Logits are cheaper to enlarge than features.
        return _enlarged(logits, pixels)


class _PlainEncoder(nn.Module):
    """(N, 3, H, W) → one (N, C, H / 2ⁿ, W / 2ⁿ) a level, n from 0."""

    def __init__(self, channels: tuple[int, ...], spec: UnetSpec) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _double_convolution(before, after, spec)
            for before, after in zip((3, *channels[:-1]), channels, strict=True)
        )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the levels, the finest first."""
        found = [self.levels[0](pixels)]
        for level in self.levels[1:]:
            found.append(level(F.max_pool2d(found[-1], 2)))
        return found


class _Joint(nn.Module):
    """One step up: coarse features, enlarged, beside the encoder's finer ones."""

    def __init__(self, coarse: int, skip: int, width: int, spec: UnetSpec) -> None:
        super().__init__()
        # Narrowed before they are enlarged, which is a quarter of the work.
        self.narrow = nn.Conv2d(coarse, width, kernel_size=1)
        self.convolutions = _double_convolution(width + skip, width, spec)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Return (N, width, h, w) of the skip's height and width."""
        features: Tensor = self.convolutions(torch.cat([_enlarged(self.narrow(coarse), skip), skip], dim=1))
        return features


def _timm_encoder(spec: UnetSpec) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network of timm and its levels' channels; level n, from 0, has stride 2ⁿ⁺¹."""
    network = bare_network(spec.encoder, _levels_of(spec))
    about: Any = getattr(network, "feature_info", None)  # a vision transformer has none
    if about is None or about.reduction() != [2 << level for level in _levels_of(spec)]:
        raise VisionError(
            f"{spec.encoder} cannot be a U-Net's encoder: its levels do not halve the image one after another;"
            " choose a convolutional network such as tf_efficientnet_lite0 or resnet18"
        )
    return network, tuple(about.channels())


def _double_convolution(before: int, after: int, spec: UnetSpec) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            # Its bias would be taken away again by the norm.
            nn.Conv2d(channels, after, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(after) if spec.norm == "batch" else nn.GroupNorm(_groups(after), after),
            nn.ReLU(inplace=True) if spec.activation == "relu" else nn.SiLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _groups(channels: int) -> int:
    """Return the largest number of equal groups of at least eight channels, one when there is none."""
    return next(count for count in range(max(1, channels // _GROUP_CHANNELS), 0, -1) if channels % count == 0)


def _enlarged(features: Tensor, like: Tensor) -> Tensor:
    if features.shape[-2:] == like.shape[-2:]:
        return features
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)
