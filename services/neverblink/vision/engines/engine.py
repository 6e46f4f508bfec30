"""What every engine offers."""

from typing import Protocol

from torch import Tensor

from neverblink.vision.network_names import EngineName


class Engine(Protocol):
    """Runs one network on one device. An engine belongs to one thread."""

    @property
    def name(self) -> EngineName:
        """Return the engine's name, as artifacts and reports state it."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Turn (N, H, W, 3) uint8 RGB on the CPU into the network's (N, ...) float32 on the engine's device."""
        ...
