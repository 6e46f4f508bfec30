"""Names that settings choose by: the network that sees, and the engine that runs it. Nothing heavy is imported."""

from typing import Literal

DEFAULT_MODEL = "tf_efficientnet_lite0"

EngineName = Literal["torch", "torch-cuda", "openvino", "openvino-bf16", "openvino-int8"]
"""torch: eager fp32 on CPU or CUDA; torch-cuda: half precision in CUDA graphs; openvino: fp32 on the CPU;
openvino-bf16: bfloat16 where the CPU multiplies it, with a bank of its own; openvino-int8: a network quantised with
images of its product, on the CPU."""

OWN_BANK: frozenset[EngineName] = frozenset({"openvino-bf16", "openvino-int8"})
"""Engines whose features fit only banks that they made: they are chosen when a model is fitted."""
