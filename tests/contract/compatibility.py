"""Finds what in a newer schema would break a reader or a record of the older one."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_PROSE = {"title", "description", "default", "examples", "$schema", "$id"}
_STRUCTURE = {"properties", "required", "items", "anyOf", "$defs", "additionalProperties"}


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Return one sentence for each change that is not the addition of an optional field.

    Old readers must read new records and new readers old records, so a field may neither come nor go as a
    required one, and neither change its type nor its bounds.
    """
    return list(_compare(_Side(old), _Side(new), ""))


class _Side:
    """A schema at some depth, with the definitions it refers to."""

    def __init__(self, schema: Schema, definitions: Schema | None = None) -> None:
        self.definitions: Schema = schema.get("$defs", {}) if definitions is None else definitions
        while "$ref" in schema:
            schema = self.definitions[schema["$ref"].removeprefix("#/$defs/")]
        self.schema = schema

    def inner(self, schema: Schema) -> "_Side":
        return _Side(schema, self.definitions)

    @property
    def choices(self) -> dict[str, "_Side"]:
        """Return the alternatives by type; a plain schema is its own only one."""
        sides = [self.inner(choice) for choice in self.schema.get("anyOf", [self.schema])]
        return {str(side.schema.get("type", "anything")): side for side in sides}

    @property
    def constraints(self) -> Schema:
        return {name: value for name, value in self.schema.items() if name not in _PROSE | _STRUCTURE}


def _compare(old: _Side, new: _Side, place: str) -> Iterator[str]:
    before, after = old.choices, new.choices
    if before.keys() != after.keys():
        yield (
            f"{_named(place)} was {' or '.join(sorted(before))} and is {' or '.join(sorted(after))}: "
            "a changed type needs a new event version"
        )
        return
    for kind, earlier in before.items():
        later = after[kind]
        yield from _constraints(earlier, later, place)
        yield from _fields(earlier, later, place)
        for part in ("items", "additionalProperties"):
            if isinstance(earlier.schema.get(part), dict) and isinstance(later.schema.get(part), dict):
                yield from _compare(earlier.inner(earlier.schema[part]), later.inner(later.schema[part]), f"{place}[]")


def _constraints(old: _Side, new: _Side, place: str) -> Iterator[str]:
    before, after = old.constraints, new.constraints
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield (
                f"{_named(place)}: {name} was {before.get(name)!r} and is {after.get(name)!r}: "
                "one side would refuse the other's records; this needs a new event version"
            )


def _fields(old: _Side, new: _Side, place: str) -> Iterator[str]:
    before, after = old.schema.get("properties", {}), new.schema.get("properties", {})
    required_before, required_after = set(old.schema.get("required", ())), set(new.schema.get("required", ()))
    for name in before:
        path = f"{place}.{name}".removeprefix(".")
        if name not in after:
            yield f"{_named(path)} is gone: its readers would miss it; removing or renaming needs a new event version"
            continue
        if (name in required_before) != (name in required_after):
            word = "optional" if name in required_before else "required"
            yield f"{_named(path)} has become {word}: one side would refuse the other's records"
        yield from _compare(old.inner(before[name]), new.inner(after[name]), path)
    for name in after:
        if name not in before and name in required_after:
            path = f"{place}.{name}".removeprefix(".")
            yield f"{_named(path)} is new and required: older records do not have it; make it optional with a default"


def _named(place: str) -> str:
    return f"the field {place}" if place else "the event"
