"""Reads a YAML file into its model: every fault with its place, in sentences."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from neverblink.plant.faults import fault_of, repeated_keys, told_once
from neverblink.plant.section import PlantError, Section

MAX_PLANT_BYTES = 4 * 1024 * 1024

S = TypeVar("S", bound=Section)


def read_section(path: Path, kind: type[S], what: str) -> S:
    """Read a file other than the plant file; `what` is what people call it. Raises PlantError with every fault."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_PLANT_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PlantError(f"the {what} {path} cannot be read: {error}") from error
    return parse_section(text, str(path), kind, what, begin=next(iter(kind.model_fields)))


def parse_section(text: str, name: str, kind: type[S], what: str, *, begin: str) -> S:
    """Check the text of a file that is one `kind`; `name` and `what` are used in messages, `begin` is its first key.

    Raises PlantError.
    """
    if len(text.encode()) > MAX_PLANT_BYTES:
        raise PlantError(f"{name} is larger than {MAX_PLANT_BYTES} bytes, the bound for a {what} file")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise PlantError(f"{place}: this is not valid YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise PlantError(f"{name}: sections are nested deeper than any {what} is") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-99-99
        raise PlantError(f"{name}: this is not valid YAML: {error}") from error
    if not isinstance(root, yaml.MappingNode):
        raise PlantError(f"{name}:1:1: a {what} file is a mapping that starts with `{begin}:`")
    faults = [*repeated_keys(root)]
    section: S | None = None
    if not faults:
        try:
            section = kind.model_validate(values)
        except ValidationError as error:
            # A list whose only item is faulty is also reported as too short: the item's own fault says it.
            every = list(told_once(map(dict, error.errors())))
            causes = [fault for fault in every if fault["type"] != "too_short"]
            faults = [fault_of(root, fault, kind, what) for fault in causes or every]
    if section is None:
        faults.sort(key=lambda fault: (fault.line, fault.column))
        raise PlantError("\n".join(f"{name}:{fault.line}:{fault.column}: {fault.sentence}" for fault in faults))
    return section
