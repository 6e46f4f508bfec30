"""What a U-Net's logits cost: binary cross-entropy, focal if wanted, and soft Dice."""

from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from neverblink.vision.errors import VisionError


class LossSettings(BaseModel):
    """How much each part of the loss counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bce: float = Field(default=0.5, ge=0, le=100, description="Weight of the cross-entropy of single pixels.")
    dice: float = Field(default=0.5, ge=0, le=100, description="Weight of the Dice loss of whole masks.")
    focal_gamma: float = Field(
        default=0.0, ge=0, le=5, description="How strongly pixels that are already right are left out; 0: not at all."
    )
    class_weights: tuple[float, ...] = Field(
        default=(), description="What each class counts beside the others; none: all the same."
    )
    smooth: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="Pixels added to both sides of Dice's fraction: an empty mask costs little.",
    )

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.bce == 0 and self.dice == 0:
            raise ValueError("a loss without cross-entropy and without Dice teaches nothing; give one of them a weight")
        if any(weight < 0 for weight in self.class_weights) or (self.class_weights and not any(self.class_weights)):
            raise ValueError("class weights are not negative, and one at least is above 0")
        return self


def segmentation_loss(logits: Tensor, target: Tensor, settings: LossSettings, known: Tensor | None = None) -> Tensor:
    """Return the loss of (N, K, H, W) logits for a target of the same shape, float32 0 or 1.

    `known` (N, K) bool marks the pairs of image and class that are labelled; others add nothing, and a batch
    without any costs 0. Classes are averaged by their weights. Raises VisionError when the shapes do not fit.
    """
    images, classes = logits.shape[:2]
    if target.shape != logits.shape:
        raise VisionError(f"a target of {tuple(target.shape)} does not fit logits of {tuple(logits.shape)}")
    if known is not None and known.shape != (images, classes):
        raise VisionError(f"known must say for {images} images and {classes} classes, not for {tuple(known.shape)}")
    if settings.class_weights and len(settings.class_weights) != classes:
        raise VisionError(f"{len(settings.class_weights)} class weights do not fit {classes} classes")
    # Sums over the pixels of a batch leave half precision at once.
    logits, target = logits.float(), target.float()
    labelled = torch.ones_like(logits[:, :, 0, 0]) if known is None else known.to(logits)
    weights = torch.tensor(settings.class_weights or (1.0,) * classes).to(logits)
    # A class that no image of the batch is labelled for takes no part in the average.
    weights = weights * labelled.any(dim=0)
    losses = torch.zeros_like(weights)
    if settings.bce:
        losses = losses + settings.bce * _cross_entropy(logits, target, labelled, settings.focal_gamma)
    if settings.dice:
        losses = losses + settings.dice * _dice(logits, target, labelled, settings.smooth)
    return (weights * losses).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


def _cross_entropy(logits: Tensor, target: Tensor, labelled: Tensor, gamma: float) -> Tensor:
    """Return (K,) means over labelled pixels; with a gamma of Lin et al., ICCV 2017, eq. 4: −(1 − p_t)^γ log p_t."""
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if gamma:
        # log(1 − p_t) from the logit itself: where p_t rounds to 1, a power below 1 has an infinite slope.
        losses = losses * torch.exp(gamma * F.logsigmoid(logits * (1 - 2 * target)))
    return (losses.mean(dim=(2, 3)) * labelled).sum(dim=0) / labelled.sum(dim=0).clamp(min=1)


def _dice(logits: Tensor, target: Tensor, labelled: Tensor, smooth: float) -> Tensor:
    """Return (K,) soft Dice losses (Milletari et al., 3DV 2016), means over the labelled images that show the class.

    Image by image, so that a crack counts as much as a stain a hundred times its size: pooled over a batch, defects of
    few pixels were not learnt at all beside large ones. Images without the class are left to the cross-entropy: there
    a lone false pixel would cost as much as a missed defect. Sums, not sums of squares, below the fraction (Sudre et
    al., DLMIA 2017): squares hardly see a faint false probability spread over a whole image.
    """
    probabilities = torch.sigmoid(logits)
    both = (probabilities * target).sum(dim=(2, 3))
    total = (probabilities + target).sum(dim=(2, 3))
    shown = labelled * target.any(dim=3).any(dim=2)
    losses = 1 - (2 * both + smooth) / (total + smooth)
    return (losses * shown).sum(dim=0) / shown.sum(dim=0).clamp(min=1)
