"""What every engine offers."""

from typing import Protocol

from torch import Tensor


class Engine(Protocol):
    """Runs one embedding on one device."""

    @property
    def name(self) -> str:
        """Return the engine's name, as artifacts and reports state it."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Embed (N, H, W, 3) uint8 RGB on the CPU into (N, h, w, C) float32 on the engine's device."""
        ...
