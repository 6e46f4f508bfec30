"""What is wrong with a plant file, where, in a sentence."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from neverblink.plant.section import PlacedError, Step, suggestion
from neverblink.plant.sentences import about_kinds, sentence_about
from neverblink.shown import without_secrets


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake and where it stands; lines and columns count from 1."""

    line: int
    column: int
    sentence: str


def fault_of(root: yaml.Node, fault: dict[str, Any], kind: type[BaseModel], what: str) -> Fault:
    """Return what one of pydantic's errors says to a person; `root` is the file that it is about, `kind` its model."""
    location = [*fault["loc"], *_within(fault)]
    steps, node, key_node = _walk(root, location)
    place = _place(steps, what)
    mark = (key_node or node).start_mark
    if fault["type"] in _KINDS:
        sentence = f"{place}: {about_kinds(fault)}"
    elif fault["type"] == "extra_forbidden":
        sentence = f"{steps[-1]!r} is not a setting of {_place(steps[:-1], what)}"
        sentence += suggestion(str(steps[-1]), _known_fields(kind, steps[:-1]))
    elif fault["type"] == "missing":
        sentence = f"{place} is missing"
    else:
        sentence = f"{place}: {sentence_about(fault, _description(kind, steps))}"
        if fault["type"] != "value_error" and not isinstance(fault["input"], (dict, list)):
            sentence += f" (it is {without_secrets(repr(fault['input']))})"
    return Fault(mark.line + 1, mark.column + 1, sentence)


_KINDS = {"union_tag_invalid", "union_tag_not_found"}
# What a value may be that is not a section: pydantic tells of each in turn.
_ALTERNATIVES = {"bool", "int", "float", "str"}


def place_of(root: yaml.Node, at: Sequence[Step]) -> tuple[int, int]:
    """Return line and column of a setting, or of the nearest section around it that the file has."""
    _, node, key_node = _walk(root, list(at))
    mark = (key_node or node).start_mark
    return mark.line + 1, mark.column + 1


def told_once(faults: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the faults, those of a value that may be several things as one."""
    seen: set[tuple[Step, ...]] = set()
    for fault in faults:
        if fault["loc"] and fault["loc"][-1] in _ALTERNATIVES and fault["type"] != "missing":
            place = tuple(fault["loc"][:-1])
            if place not in seen:
                seen.add(place)
                words = ValueError("must be a number, a text, true or false")
                yield {**fault, "loc": place, "type": "value_error", "ctx": {"error": words}}
        else:
            yield fault


def _within(fault: dict[str, Any]) -> list[Step]:
    """Return the steps that a fault's own rule knows, behind those that pydantic states."""
    error = fault.get("ctx", {}).get("error")
    if isinstance(error, PlacedError):
        return list(error.at)
    return ["kind"] if fault["type"] == "union_tag_invalid" else []


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
    return {name for section in _sections(kind, steps) for name in section.model_fields}


def _description(kind: type[BaseModel], steps: list[Any]) -> str | None:
    """Return what the setting at a location says of itself; None where the location is no setting."""
    named = [step for step in steps if isinstance(step, str)]
    for section in _sections(kind, named[:-1]) if named else ():
        if named[-1] in section.model_fields:
            return section.model_fields[named[-1]].description
    return None


def _sections(kind: type[BaseModel], steps: list[Any]) -> list[type[BaseModel]]:
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
    return sections


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _sections_in(argument)
