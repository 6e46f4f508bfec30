"""From pixels to patch features: levels of the backbone, locally averaged, on one grid."""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from neverblink.vision.backbones import Backbone
from neverblink.vision.image_network import ImageNetwork


class PatchEmbedding(ImageNetwork):
    """(N, H, W, 3) uint8 RGB → (N, h, w, C) float32, one vector per patch of the finest level's grid.

    Each level is averaged over `pooling` × `pooling` neighbours (zero padding counted, as in the official
    code), resized bilinearly to the finest grid, and all levels are concatenated. With a `dimension` d, each
    level's channels × neighbours are instead averaged adaptively to d numbers, and the levels' numbers, one
    after another, to d again: the official code's 1024.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone.network, backbone.spec.mean, backbone.spec.deviation)
        self.pooling = backbone.spec.pooling
        self.dimension = backbone.spec.dimension

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        levels = cast(list[Tensor], self.network(self.normalised(images)))
        pooled = [self._pooled(level.to(self.mean.dtype)) for level in levels]
        grid = pooled[0].shape[-2:]
        aligned = [pooled[0]] + [
            F.interpolate(level, size=grid, mode="bilinear", align_corners=False) for level in pooled[1:]
        ]
        features = torch.cat(aligned, dim=1)
        if self.dimension is not None:
            # L × d numbers averaged adaptively to d: every window holds L neighbours.
            features = torch.unflatten(features, 1, (self.dimension, len(aligned))).mean(dim=2)
        return features.permute(0, 2, 3, 1).float()

    def _pooled(self, level: Tensor) -> Tensor:
        reach = self.pooling // 2
        if self.dimension is None:
            return F.avg_pool2d(level, self.pooling, stride=1, padding=reach)
        # Averaging before the alignment instead of after it, as the official code does, is the same: both are linear.
        patches = F.unfold(level, self.pooling, padding=reach).transpose(1, 2)
        vectors = F.adaptive_avg_pool1d(patches, self.dimension).transpose(1, 2)
        return torch.unflatten(vectors, 2, (level.shape[-2], level.shape[-1]))
