"""What every engine offers."""

from typing import Literal, Protocol

from torch import Tensor

EngineName = Literal["torch", "torch-cuda", "openvino", "openvino-int8"]
"""torch: eager fp32 on CPU or CUDA; torch-cuda: half precision in CUDA graphs; openvino: fp32 on the CPU;
openvino-int8: a network quantised with images of its product, on the CPU."""


class Engine(Protocol):
    """Runs one network on one device. An engine belongs to one thread."""

    @property
    def name(self) -> EngineName:
        """Return the engine's name, as artifacts and reports state it."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Turn (N, H, W, 3) uint8 RGB on the CPU into the network's (N, ...) float32 on the engine's device."""
        ...
