"""What is wrong with a plant file, where, in a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from neverblink.plant.section import suggestion
from neverblink.shown import without_secrets


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake and where it stands; lines and columns count from 1."""

    line: int
    column: int
    sentence: str


def fault_of(root: yaml.Node, fault: dict[str, Any], kind: type[BaseModel], what: str) -> Fault:
    """Return what one of pydantic's errors says to a person; `root` is the file that it is about, `kind` its model."""
    steps, node, key_node = _walk(root, list(fault["loc"]))
    place = _place(steps, what)
    mark = (key_node or node).start_mark
    if fault["type"] == "extra_forbidden":
        sentence = f"{steps[-1]!r} is not a setting of {_place(steps[:-1], what)}"
        sentence += suggestion(str(steps[-1]), _known_fields(kind, steps[:-1]))
    elif fault["type"] == "missing":
        sentence = f"{place} is missing"
    else:
        message = fault["msg"].removeprefix("Value error, ")
        sentence = f"{place}: {message[0].lower()}{message[1:]}"
        if fault["type"] != "value_error" and not isinstance(fault["input"], (dict, list)):
            sentence += f" (it is {without_secrets(repr(fault['input']))})"
    return Fault(mark.line + 1, mark.column + 1, sentence)


def _place(steps: list[Any], what: str) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or f"the {what}"


def _walk(root: yaml.Node, location: list[Any]) -> tuple[list[Any], yaml.Node, yaml.Node | None]:
    """Follow a pydantic location through the YAML nodes as far as it goes.

    Returns the steps without the tags that pydantic adds for a union, the node reached, and its key.
    """
    node, key_node = root, None
    steps: list[Any] = []
    for step in location:
        if isinstance(node, yaml.MappingNode):
            entries = {key.value: (value, key) for key, value in node.value}
            if step in entries:
                node, key_node = entries[step]
            elif "kind" in entries and entries["kind"][0].value == step:
                continue
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node, key_node = node.value[step], None
        steps.append(step)
    return steps, node, key_node


def repeated_keys(node: yaml.Node, visited: set[int] | None = None) -> Iterator[Fault]:
    """Yield every key that stands twice in its section: YAML would take the last one without a word."""
    visited = set() if visited is None else visited
    if id(node) in visited:
        return  # an alias: a few lines of aliases of aliases would else be walked for hours
    visited.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                mark = key.start_mark
                yield Fault(mark.line + 1, mark.column + 1, f"{key.value!r} stands twice in the same section")
            seen.add(key.value)
            yield from repeated_keys(value, visited)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from repeated_keys(value, visited)


def _known_fields(kind: type[BaseModel], steps: list[Any]) -> set[str]:
    """Return the field names of the sections that a location may mean."""
    sections: list[type[BaseModel]] = [kind]
    for step in steps:
        if isinstance(step, int):
            continue
        found = [
            inner
            for section in sections
            if step in section.model_fields
            for inner in _sections_in(section.model_fields[step].annotation)
        ]
        sections = found or sections
    return {name for section in sections for name in section.model_fields}


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections_in(argument)
