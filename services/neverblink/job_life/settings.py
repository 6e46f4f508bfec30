"""What a job is asked to do: a frozen model, which its options, its file, its JSON Schema and a form are made from.

A setting is a field with a description, bounds, a unit and a default. Its key in a file is also its option: `ratio` is
`--ratio`. To add a setting is to add a field.
"""

import difflib
import re
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from neverblink.errors import NeverblinkError, reason_of
from neverblink.job_life.yaml_file import read_yaml


class SettingsError(NeverblinkError, ValueError):
    """A setting of a job that cannot be used; the message names it, and the file that it stands in."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a setting is written on a command line, beyond `--its-key VALUE`; it says nothing about what it means.

    `old` are earlier names of the option, which go on working and are not shown. `old_parts` are earlier options for
    single fields of a setting that is a group; they have an effect only where the first of them is given. `commas`: the
    words of a list stand in one text, with commas between them; numbers always do. `missing` is said of a command line
    that lacks the setting, where other words than typer's help more.
    """

    short: str | None = None
    argument: bool = False
    old: tuple[str, ...] = ()
    old_parts: tuple[tuple[str, str], ...] = ()
    metavar: str | None = None
    envvar: str | None = None
    commas: bool = False
    in_files_only: bool = False
    missing: str | None = None


def unit(name: str) -> dict[str, Any]:
    """Return what a field's `json_schema_extra` says of its unit."""
    return {"unit": name}


def _sentence_case(name: str, _: object) -> str:
    return name.replace("_", " ").capitalize()


class JobSettings(BaseModel):
    """What a job is asked to do. Unknown keys are errors: a misspelt setting must not be ignored."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        field_title_generator=_sentence_case,
        defer_build=True,  # a command line reads the fields of every job, and checks the values of one
    )

    @classmethod
    def keys(cls) -> dict[str, FieldInfo]:
        """Return the settings by their keys in a file."""
        return {key_of(name, field): field for name, field in cls.model_fields.items()}

    @classmethod
    def read(cls, path: Path | None, given: Mapping[str, object]) -> Self:
        """Return the settings in a YAML file, where there is one, with those `given` by key instead of the file's.

        Files and folders that a file names are relative to it. Raises SettingsError in one sentence.
        """
        values = {} if path is None else cls._in_file(path)
        try:
            return cls.model_validate({**values, **given})
        except ValidationError as error:
            raise SettingsError(_sentence(error, path, given)) from error

    @classmethod
    def _in_file(cls, path: Path) -> dict[str, object]:
        found = read_yaml(path, "settings file", SettingsError)
        keys = cls.keys()
        if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
            raise SettingsError(f"{path} must hold settings, one a line, such as `{next(iter(keys))}: VALUE`")
        for key in found:
            if key not in keys:
                raise SettingsError(f"{path}: {unknown(key, keys)}")
        return {key: _beside(value, keys[key].annotation, path.parent) for key, value in found.items()}


def key_of(name: str, field: FieldInfo) -> str:
    """Return a field's key in a file: its name, unless that is a word of Python's."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def spelling_of(field: FieldInfo) -> Spelling:
    """Return how a field is written on a command line."""
    return next((one for one in field.metadata if isinstance(one, Spelling)), Spelling())


def unknown(key: str, keys: Collection[str], whose: str = "of this job") -> str:
    """Return what is said of a key that there is none of."""
    close = difflib.get_close_matches(key, sorted(keys), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(keys))}"
    return f"{key!r} is no setting {whose}; {hint}"


def explained(model: type[JobSettings], *, without: Collection[str] = ()) -> str:
    """Return a model's keys as comments of a YAML file: default, where there is one, unit and meaning of each."""
    lines: list[str] = []
    for key, field in model.keys().items():
        if key in without:
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        value = "" if default in (None, ()) else f" {_as_yaml(default)}"
        extra = field.json_schema_extra
        given = extra.get("unit") if isinstance(extra, dict) else None
        about = (field.description or "").rstrip(".") + (f", {given}" if given else "")
        lines += textwrap.wrap(f"{key}:{value}   # {about}", 96, initial_indent="#   ", subsequent_indent="#       ")
    return "\n".join(lines) + "\n"


def _as_yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_as_yaml, value))}]" if isinstance(value, tuple) else str(value)


def fault_of(error: ValidationError) -> tuple[str, str]:
    """Return the place of the first fault, empty where it is of the whole, and what is wrong there."""
    fault = error.errors()[0]
    if fault["type"] == "missing" and isinstance(fault["loc"][-1], str):
        return ".".join(map(str, fault["loc"])), "it is needed, and not given"
    # A union's branch is named by its type or in brackets, which says nothing to a person.
    place = ".".join(str(part) for part in fault["loc"] if "[" not in str(part) and str(part) not in _BRANCHES)
    given = f" (it is {fault['input']!r})" if isinstance(fault["input"], str | int | float) else ""
    return place, f"{reason_of(fault)}{given}"


_OPTION = re.compile(r"--([a-z][a-z-]*)")
_BRANCHES = {"str", "int", "float", "path", "RegionOfInterest", "RegionsFile"}


def _sentence(error: ValidationError, path: Path | None, given: Mapping[str, object]) -> str:
    place, reason = fault_of(error)
    if not place:
        # A rule about several settings speaks of options; in a file they are keys.
        return reason if path is None else f"{path}: {_OPTION.sub(lambda word: word[1].replace('-', '_'), reason)}"
    key = place.partition(".")[0]
    if key in given:
        return f"--{place.replace('_', '-')}: {reason}"
    if path is None:
        return f"{place}: {reason}"
    return f"{path}, {place}: {reason}"


def _beside(value: object, annotation: object, folder: Path) -> object:
    """Return a value of a file with the places in it relative to the file's folder."""
    if not _takes_paths(annotation):
        return value
    if isinstance(value, list):
        return [_beside(one, annotation, folder) for one in value]
    return folder / value if isinstance(value, str) and value not in _words(annotation) else value


def _takes_paths(annotation: object) -> bool:
    return annotation is Path or any(_takes_paths(inner) for inner in get_args(annotation))


def _words(annotation: object) -> set[object]:
    """Return the words that a setting may have instead of a place."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {word for inner in get_args(annotation) for word in _words(inner)}


def instant(value: object) -> object:
    """Return the instant that a person wrote in ISO 8601, by this machine's clock where it names no zone.

    Raises ValueError.
    """
    # YAML reads some instants by itself.
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except ValueError as error:
        raise ValueError(
            f"{str(value)!r} is no instant: write 2026-11-01T06:00, or 2026-11-01T06:00+01:00 to name the zone"
        ) from error


Instant = Annotated[datetime, BeforeValidator(instant)]
