"""What every engine offers."""

from typing import Literal, Protocol

from torch import Tensor

EngineName = Literal["torch", "torch-cuda", "openvino", "openvino-bf16", "openvino-int8"]
"""torch: eager fp32 on CPU or CUDA; torch-cuda: half precision in CUDA graphs; openvino: fp32 on the CPU;
openvino-bf16: bfloat16 where the CPU multiplies it, with a bank of its own; openvino-int8: a network quantised with
images of its product, on the CPU."""

OWN_BANK: frozenset[EngineName] = frozenset({"openvino-bf16", "openvino-int8"})
"""Engines whose features fit only banks that they made: they are chosen when a model is fitted."""


class Engine(Protocol):
    """Runs one network on one device. An engine belongs to one thread."""

    @property
    def name(self) -> EngineName:
        """Return the engine's name, as artifacts and reports state it."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """Turn (N, H, W, 3) uint8 RGB on the CPU into the network's (N, ...) float32 on the engine's device."""
        ...
