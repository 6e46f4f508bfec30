"""From pixels to patch features: levels of the backbone, locally averaged, on one grid."""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from neverblink.vision.backbones import Backbone


class PatchEmbedding(nn.Module):
    """(N, H, W, 3) uint8 RGB → (N, h, w, C) float32, one vector per patch of the finest level's grid.

    Each level is averaged over `pooling` × `pooling` neighbours (zero padding counted, as in the official
    code), resized bilinearly to the finest grid, and all levels are concatenated. With a `dimension` d, each
    level's channels × neighbours are instead averaged adaptively to d numbers, and the levels' numbers, one
    after another, to d again: the official code's 1024.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.network = backbone.network
        self.pooling = backbone.spec.pooling
        self.dimension = backbone.spec.dimension
        self.precision = torch.float32
        self.register_buffer("mean", torch.tensor(backbone.spec.mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(backbone.spec.deviation).view(1, 3, 1, 1))

    def half_network(self) -> None:
        """Run the network in half precision; what comes before and after it stays float32."""
        self.network.half()
        self.precision = torch.float16

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        # The permuted view of NHWC bytes already is channels_last: no copy until the conversion to float.
        pixels = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.deviation
        levels = cast(list[Tensor], self.network(pixels.to(self.precision)))
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
