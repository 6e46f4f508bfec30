"""What can go wrong with images, weights and artifacts, said in sentences."""

from collections.abc import Mapping
from typing import Any

from neverblink.errors import NeverblinkError


class VisionError(NeverblinkError, ValueError):
    """An input that the vision room cannot work with; the message is one sentence for the person at fault."""


def reason_of(fault: Mapping[str, Any]) -> str:
    """Return what one of pydantic's faults says, without the words it puts before a validator's own sentence."""
    return str(fault["msg"]).removeprefix("Value error, ")
