"""What settings of several jobs have in common. Nothing heavy is imported."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from neverblink.job_life.settings import JobSettings

AnyEngine = Literal["auto", "torch", "torch-cuda", "openvino", "openvino-bf16", "openvino-int8"]
FixedEngine = Literal["auto", "torch", "torch-cuda", "openvino"]
"""Engines that run a model which another engine made."""

OWN_WEIGHTS = "Weights file that the artifact was fitted with."


FOLDER, MINUTE = "folder", "minute"


def _rule(by: str) -> str:
    """Check a rule that pictures are grouped by. Raises ValueError."""
    if by in (FOLDER, MINUTE):
        return by
    try:
        caught = re.compile(by).groups
    except re.error as error:
        raise ValueError(f"it is neither folder nor minute, and no regular expression either: {error}") from error
    if not caught:
        raise ValueError(
            "it is neither folder nor minute, and as a regular expression it lacks brackets around what pictures of one"
            r" group have in common, such as '(item\d+)'"
        )
    return by


GroupBy = Annotated[str, Field(max_length=200), AfterValidator(_rule)]
"""What pictures are grouped by: folder, minute, or a regular expression whose brackets catch the group."""


class PictureSettings(JobSettings):
    """What a job does about pictures that it cannot use."""

    skip_unusable: bool = Field(
        default=False, description="Go on without pictures that cannot be used; they are counted and named."
    )
