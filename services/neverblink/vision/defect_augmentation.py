"""Variants of images with marked defects: geometry moves image and masks in step, light and noise the image alone."""

import math
from collections.abc import Callable
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from neverblink.vision.decode import Image

Masks = npt.NDArray[np.bool_]
"""(K, H, W) bool, one a class."""

Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, le=0.5)]

_GEOMETRY, _LIGHT, _DEGRADATION = "geometry", "light", "degradation"


class Augmentation(BaseModel):
    """How far a variant may differ from its image; a field at zero (for JPEG: 100) does nothing.

    There is no elastic or perspective distortion: a part lies before its camera as it always does, and a bent edge
    would be a defect. Flips and quarter turns are for products whose orientation carries no meaning.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    horizontal_flip: Probability = Field(
        default=0.5, title=_GEOMETRY, description="probability; 0 where left and right matter"
    )
    vertical_flip: Probability = Field(
        default=0.5, title=_GEOMETRY, description="probability; 0 where up and down matter"
    )
    quarter_turns: Probability = Field(
        default=0.5,
        title=_GEOMETRY,
        description="probability of 90, 180 or 270 degrees (180 where the input is no square)",
    )
    rotation: float = Field(default=5, ge=0, le=45, title=_GEOMETRY, description="degrees, either way")
    shift: Share = Field(default=0.05, title=_GEOMETRY, description="share of width and height, either way")
    scale: Share = Field(default=0.1, title=_GEOMETRY, description="share that it is larger or smaller by")
    brightness: Share = Field(default=0.15, title=_LIGHT, description="share, brighter or darker")
    contrast: Share = Field(default=0.15, title=_LIGHT, description="share, more or less")
    gamma: Share = Field(default=0.15, title=_LIGHT, description="exponent from 1 / (1 + this) to 1 + this")
    hue: Share = Field(default=0.02, title=_LIGHT, description="share of the colour circle, either way")
    saturation: Share = Field(default=0.1, title=_LIGHT, description="share, more or less")
    degradation: Probability = Field(
        default=0.3, title=_DEGRADATION, description="probability that one of the following is done"
    )
    blur: float = Field(default=1, ge=0, le=10, title=_DEGRADATION, description="sigma in pixels, at most")
    motion_blur: float = Field(default=4, ge=0, le=50, title=_DEGRADATION, description="length in pixels, at most")
    motion_angle: float | None = Field(
        default=None,
        ge=0,
        lt=180,
        title=_DEGRADATION,
        description="degrees from the horizontal, clockwise: how the belt runs; null: any",
    )
    shot_noise: float = Field(
        default=6, ge=0, le=64, title=_DEGRADATION, description="grey levels on white, at most; less where it is darker"
    )
    read_noise: float = Field(
        default=3, ge=0, le=64, title=_DEGRADATION, description="grey levels, at most, however bright"
    )
    sharpness: float = Field(default=0.5, ge=0, le=4, title=_DEGRADATION, description="how much sharper, at most")
    jpeg: int = Field(default=60, ge=5, le=100, title=_DEGRADATION, description="JPEG quality, at least; 100: none")


UNCHANGED = Augmentation(
    horizontal_flip=0,
    vertical_flip=0,
    quarter_turns=0,
    rotation=0,
    shift=0,
    scale=0,
    brightness=0,
    contrast=0,
    gamma=0,
    hue=0,
    saturation=0,
    degradation=0,
)
"""Every image as it is."""


def augment(image: Image, masks: Masks, policy: Augmentation, random: np.random.Generator) -> tuple[Image, Masks]:
    """Return a variant of an (H, W, 3) uint8 RGB image and of its (K, H, W) bool masks, in their sizes.

    All that is drawn comes from `random`. Where a moved image leaves the frame empty its edge is repeated, as
    `Preprocess` pads, and the masks are false: a reflected image would show a defect a second time, unmarked.
    """
    picture = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
    marked = tv_tensors.Mask(torch.from_numpy(masks.astype(np.uint8)))
    picture, marked = _turned(picture, marked, policy, random)
    picture, marked = _moved(picture, marked, policy, random)
    picture = _lit(picture, policy, random)
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
    return _degraded(pixels, policy, random), marked.numpy().astype(np.bool_)


def example() -> str:
    """Return a YAML policy with every default, commented."""
    lines = [
        "# How images are varied while a U-Net is trained: `neverblink train-unet --augmentation FILE`.",
        "# Amounts are drawn evenly up to what is said here; what is left out stays as it is here.",
    ]
    title: str | None = None
    for name, field in Augmentation.model_fields.items():
        if field.title != title:
            title = field.title
            lines.append(f"# {title}")
        value = "null" if field.default is None else f"{field.default:g}"
        lines.append(f"{name.replace('_', '-')}: {value}  # {field.description}")
    return "\n".join(lines) + "\n"


def _turned(
    picture: tv_tensors.Image, marked: tv_tensors.Mask, policy: Augmentation, random: np.random.Generator
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Flip and turn by quarters: no pixel changes its value."""
    flips = ((policy.horizontal_flip, functional.horizontal_flip), (policy.vertical_flip, functional.vertical_flip))
    for probability, flip in flips:
        if random.random() < probability:
            picture, marked = flip(picture), flip(marked)
    if random.random() < policy.quarter_turns:
        square = picture.shape[1] == picture.shape[2]
        turns = int(random.integers(1, 4)) if square else 2
        picture, marked = (tv_tensors.wrap(torch.rot90(one, turns, (1, 2)), like=one) for one in (picture, marked))
    return picture, marked


def _moved(
    picture: tv_tensors.Image, marked: tv_tensors.Mask, policy: Augmentation, random: np.random.Generator
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Rotate, shift and scale in one resampling."""
    height, width = picture.shape[1:]
    angle = _either_way(policy.rotation, random)
    across, down = _either_way(policy.shift * width, random), _either_way(policy.shift * height, random)
    scale = (1 + policy.scale) ** random.uniform(-1, 1)
    if not policy.rotation and not policy.shift and not policy.scale:
        return picture, marked
    margin = _margin((height, width), angle, (across, down), scale)
    # An affine map turns about the middle, which padding by the same on all sides leaves where it is.
    padded = functional.pad(picture, [margin], padding_mode="edge")
    geometry = {"angle": angle, "translate": [across, down], "scale": scale, "shear": [0.0, 0.0]}
    moved = functional.affine(padded, **geometry, interpolation=InterpolationMode.BILINEAR)
    picture = functional.crop(moved, margin, margin, height, width)
    return picture, functional.affine(marked, **geometry) if marked.any() else marked


def _margin(size: tuple[int, int], angle: float, shift: tuple[float, float], scale: float) -> int:
    """Return by how many pixels the moved frame reaches beyond the image."""
    height, width = size
    cosine, sine = math.cos(math.radians(angle)), abs(math.sin(math.radians(angle)))
    reach = math.hypot(*shift)
    beyond = (
        (width * cosine + height * sine + 2 * reach) / scale - width,
        (width * sine + height * cosine + 2 * reach) / scale - height,
    )
    return max(0, math.ceil(max(beyond) / 2)) + 1


def _lit(picture: tv_tensors.Image, policy: Augmentation, random: np.random.Generator) -> tv_tensors.Image:
    """Change light and colours, one value for the whole image."""
    # Drawn whether needed or not: a setting changes what it names and nothing else of a variant.
    brightness, contrast, saturation, hue = (
        _either_way(amount, random) for amount in (policy.brightness, policy.contrast, policy.saturation, policy.hue)
    )
    gamma = (1 + policy.gamma) ** random.uniform(-1, 1)
    if policy.brightness:
        picture = functional.adjust_brightness(picture, 1 + brightness)
    if policy.contrast:
        picture = functional.adjust_contrast(picture, 1 + contrast)
    if policy.gamma:
        picture = functional.adjust_gamma(picture, gamma)
    if _is_grey(picture[0], picture[1], picture[2]):
        return picture
    if policy.saturation:
        picture = functional.adjust_saturation(picture, 1 + saturation)
    if policy.hue:
        picture = functional.adjust_hue(picture, hue)
    return picture


def _degraded(image: Image, policy: Augmentation, random: np.random.Generator) -> Image:
    """Do one of what cameras and codecs do to an image, now and then."""
    if random.random() >= policy.degradation:
        return image
    degradations: tuple[tuple[float, Callable[[Image, Augmentation, np.random.Generator], Image]], ...] = (
        (policy.blur, _blurred),
        (policy.motion_blur, _smeared),
        (policy.shot_noise + policy.read_noise, _noisy),
        (policy.sharpness, _sharpened),
        (100 - policy.jpeg, _compressed),
    )
    able = [degrade for amount, degrade in degradations if amount]
    return able[random.integers(len(able))](image, policy, random) if able else image


def _blurred(image: Image, policy: Augmentation, random: np.random.Generator) -> Image:
    sigma = policy.blur * random.random()
    if sigma < 0.1:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), dtype=np.uint8)


def _smeared(image: Image, policy: Augmentation, random: np.random.Generator) -> Image:
    """Move the image along a line while it is exposed; its middle stays where it is, and so do the masks."""
    half = policy.motion_blur * random.random() / 2
    angle = math.radians(random.uniform(0, 180) if policy.motion_angle is None else policy.motion_angle)
    reach = math.ceil(half)
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = across * math.cos(angle) + down * math.sin(angle)
    beside = down * math.cos(angle) - across * math.sin(angle)
    beyond = np.maximum(np.abs(along) - half, 0)
    kernel = np.maximum(1 - np.hypot(beside, beyond), 0)
    smeared = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smeared, dtype=np.uint8)


def _noisy(image: Image, policy: Augmentation, random: np.random.Generator) -> Image:
    """Add what a sensor adds: photons arrive at random, and reading them out does the rest."""
    shot, read = policy.shot_noise * random.random(), policy.read_noise * random.random()
    # The three channels of a grey camera are one signal, and so is their noise.
    grey = _is_grey(*(torch.from_numpy(image[..., channel]) for channel in range(3)))
    signal = (image[..., :1] if grey else image).astype(np.float32)
    noise = random.standard_normal(signal.shape, dtype=np.float32)
    signal += noise * np.sqrt(read**2 + shot**2 * signal / 255)
    drawn = np.clip(np.rint(signal), 0, 255).astype(np.uint8)
    return np.repeat(drawn, 3, axis=2) if grey else drawn


def _sharpened(image: Image, policy: Augmentation, random: np.random.Generator) -> Image:
    sharper = functional.adjust_sharpness(
        torch.from_numpy(image).permute(2, 0, 1), 1 + policy.sharpness * random.random()
    )
    return np.ascontiguousarray(sharper.permute(1, 2, 0).numpy())


def _compressed(image: Image, policy: Augmentation, random: np.random.Generator) -> Image:
    # OpenCV's codec: torchvision's own is deprecated since 0.29.
    quality = int(random.integers(policy.jpeg, 101))
    data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def _either_way(amount: float, random: np.random.Generator) -> float:
    return amount * float(random.uniform(-1, 1))


def _is_grey(red: torch.Tensor, green: torch.Tensor, blue: torch.Tensor) -> bool:
    return bool(torch.equal(red, green) and torch.equal(green, blue))
