"""What settings of several jobs have in common. Nothing heavy is imported."""

from typing import Literal

AnyEngine = Literal["auto", "torch", "torch-cuda", "openvino", "openvino-bf16", "openvino-int8"]
FixedEngine = Literal["auto", "torch", "torch-cuda", "openvino"]
"""Engines that run a model which another engine made."""

OWN_WEIGHTS = "Weights file that the artifact was fitted with."
