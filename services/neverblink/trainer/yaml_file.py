"""A YAML file that a person wrote, read with a sentence for what is wrong with it."""

from pathlib import Path

import yaml

from neverblink.vision.errors import VisionError

_MAX_BYTES = 256 * 1024


def read_yaml(path: Path, what: str, fault: type[VisionError]) -> object:
    """Return the plain values in a file; `what` it holds begins the sentence. Raises `fault`."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise fault(f"the {what} {path} cannot be read: {error.strerror}") from error
    if len(text) > _MAX_BYTES:
        raise fault(f"the {what} {path} is larger than {_MAX_BYTES} bytes")
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or "nested too deeply"
        raise fault(f"the {what} {path} is not valid YAML: {reason}") from error
