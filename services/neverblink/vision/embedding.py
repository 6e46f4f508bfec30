"""From pixels to patch features: levels of the backbone, locally averaged, on one grid."""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from neverblink.vision.backbones import Backbone


class PatchEmbedding(nn.Module):
    """(N, H, W, 3) uint8 RGB → (N, h, w, C) float32, one vector per patch of the finest level's grid.

    Each level is averaged over `pooling` × `pooling` neighbours (zero padding counted, as in the official
    code), resized bilinearly to the finest grid, and all levels are concatenated.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.network = backbone.network
        self.pooling = backbone.spec.pooling
        self.register_buffer("mean", torch.tensor(backbone.spec.mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(backbone.spec.deviation).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch."""
        # The permuted view of NHWC bytes already is channels_last: no copy until the conversion to float.
        pixels = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.deviation
        levels = [self._averaged(level) for level in cast(list[Tensor], self.network(pixels))]
        grid = levels[0].shape[-2:]
        aligned = [levels[0]] + [
            F.interpolate(level, size=grid, mode="bilinear", align_corners=False) for level in levels[1:]
        ]
        return torch.cat(aligned, dim=1).permute(0, 2, 3, 1).float()

    def _averaged(self, level: Tensor) -> Tensor:
        return F.avg_pool2d(level, self.pooling, stride=1, padding=self.pooling // 2)
