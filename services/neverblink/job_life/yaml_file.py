"""A YAML file that a person wrote, read with a sentence for what is wrong with it."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from neverblink.errors import NeverblinkError, reason_of

Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES = 256 * 1024


def read_yaml(path: Path, what: str, fault: type[NeverblinkError]) -> object:
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


def read_policy_file(path: Path, model: type[Model], what: str, fault: type[NeverblinkError]) -> Model:
    """Read a policy of names and values; what it leaves out has its default. Raises `fault` in one sentence."""
    values = read_yaml(path, "policy", fault)
    if not isinstance(values, dict):
        raise fault(f"{path} must hold {what}; --example prints such a file")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise fault(f"{path}, {'.'.join(map(str, first['loc']))}: {reason_of(first)}") from error
