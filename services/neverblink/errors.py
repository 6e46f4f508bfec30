"""The one root of what is told to a person in a sentence."""

from collections.abc import Mapping
from typing import Any


class NeverblinkError(Exception):
    """What went wrong, with which value, and what to do: `str(error)` is the sentence, and all that a person needs.

    The command line turns this class alone into a sentence and an exit code; any other exception is a bug and keeps
    its traceback.
    """


def reason_of(fault: Mapping[str, Any]) -> str:
    """Return what one of pydantic's faults says, without the words it puts before a validator's own sentence."""
    return str(fault["msg"]).removeprefix("Value error, ")
