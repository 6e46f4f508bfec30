"""A network behind its own normalisation: what engines run, from a camera's bytes to numbers."""

import torch
from torch import Tensor, nn


class ImageNetwork(nn.Module):
    """(N, H, W, 3) uint8 RGB → (N, ...) float32; a subclass says in `forward` what it makes of the network's output.

    `network` takes (N, 3, H, W) of normalised pixels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, float, float], deviation: tuple[float, float, float]
    ) -> None:
        super().__init__()
        self.network = network
        self.precision = torch.float32
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1), persistent=False)

    def half_network(self) -> None:
        """Run the network in half precision; what comes before and after it stays float32."""
        self.network.half()
        self.precision = torch.float16

    def normalised(self, images: Tensor) -> Tensor:
        """Return (N, 3, H, W) pixels in the network's precision."""
        # The permuted view of NHWC bytes already is channels_last: no copy until the conversion to float.
        pixels = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.deviation
        return pixels.to(self.precision)
