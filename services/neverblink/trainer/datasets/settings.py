"""What settings of several jobs have in common. Nothing heavy is imported."""

from typing import Literal

from pydantic import Field

from neverblink.job_life.settings import JobSettings

AnyEngine = Literal["auto", "torch", "torch-cuda", "openvino", "openvino-bf16", "openvino-int8"]
FixedEngine = Literal["auto", "torch", "torch-cuda", "openvino"]
"""Engines that run a model which another engine made."""

OWN_WEIGHTS = "Weights file that the artifact was fitted with."


class PictureSettings(JobSettings):
    """What a job does about pictures that it cannot use."""

    skip_unusable: bool = Field(
        default=False, description="Go on without pictures that cannot be used; they are counted and named."
    )
