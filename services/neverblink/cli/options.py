"""A command's options from its settings: every field of the model is an option, and the option's name is its key."""

import inspect
import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from neverblink.job_life.settings import JobSettings, Spelling, key_of, spelling_of

_OLD = "old_"
_NOT = "not_"


class _Kind(NamedTuple):
    """What an option takes: its type for typer, and how its text becomes the value of a setting."""

    reads: Any
    commas: bool = False
    group: type[BaseModel] | None = None


def parameters(model: type[JobSettings]) -> Iterator[inspect.Parameter]:
    """Yield the parameters of a command that takes a job's settings, arguments first, as typer reads them.

    Earlier spellings follow, hidden: they take what the setting takes.
    """
    hidden: list[inspect.Parameter] = []
    for name, field in model.model_fields.items():
        spelling = spelling_of(field)
        if spelling.in_files_only:
            continue
        kind = _kind_of(field, spelling)
        word = f"--{key_of(name, field).replace('_', '-')}"
        yield option(name, kind.reads, _info(word, field, spelling), _default(field, kind, spelling))
        if kind.reads is bool:
            hidden.append(_hidden(f"{_NOT}{name}", bool, word.replace("--", "--no-", 1)))
        hidden += [
            _hidden(f"{_OLD}{name}_{number}", kind.reads, old, _bounds(field))
            for number, old in enumerate(spelling.old)
        ]
        for old, part in spelling.old_parts:
            assert kind.group is not None
            inner = kind.group.model_fields[part]
            hidden.append(_hidden(f"{_OLD}{name}_{part}", _kind_of(inner, Spelling()).reads, old, _bounds(inner)))
    yield from hidden


def given(model: type[JobSettings], context: typer.Context, values: Mapping[str, Any]) -> dict[str, object]:
    """Return the settings that a command line gives, by key, as a file would state them; not those left at a default.

    Raises BadParameter for a text that cannot be read.
    """
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        spelling = spelling_of(field)
        if spelling.in_files_only:
            continue
        key, kind = key_of(name, field), _kind_of(field, spelling)
        for parameter in (name, *(f"{_OLD}{name}_{number}" for number in range(len(spelling.old)))):
            if _is_given(context, parameter):
                found[key] = _value(values[parameter], kind)
        if kind.reads is bool and _is_given(context, f"{_NOT}{name}"):
            found[key] = False
        parts = {
            part: values[f"{_OLD}{name}_{part}"]
            for _, part in spelling.old_parts
            if _is_given(context, f"{_OLD}{name}_{part}")
        }
        if spelling.old_parts and spelling.old_parts[0][1] in parts:
            found[key] = parts
    return found


def _is_given(context: typer.Context, parameter: str) -> bool:
    source = context.get_parameter_source(parameter)
    return source is not None and source.name in {"COMMANDLINE", "ENVIRONMENT"}


def _value(value: Any, kind: _Kind) -> object:
    if isinstance(value, str) and kind.group is not None:
        return _parts(value, kind.group)
    if isinstance(value, str) and kind.commas:
        return [part.strip() for part in value.split(",")]
    return value


def _parts(text: str, group: type[BaseModel]) -> dict[str, object]:
    """Read `512`, which stands for a group's first field, or `tile=512,overlap=0.3`."""
    first = next(iter(group.model_fields))
    pairs = [part.partition("=") for part in text.split(",")]
    return {name.strip() if sign else first: value.strip() if sign else name.strip() for name, sign, value in pairs}


def _kind_of(field: FieldInfo, spelling: Spelling) -> _Kind:
    choices = [one for one in _members(field.annotation) if one is not types.NoneType]
    words = [word for one in choices if get_origin(one) is Literal for word in get_args(one)]
    others = [one for one in choices if get_origin(one) is not Literal]
    if words:
        # A word or a place is a text; words alone are a choice.
        return _Kind(str) if others else _Kind(Literal[tuple(words)])
    if Path in others:
        return _Kind(Path)
    (only,) = others
    if isinstance(only, type) and issubclass(only, BaseModel):
        return _Kind(str, group=only)
    if get_origin(only) is tuple:
        (item, *rest) = (_plain(one) for one in get_args(only))
        if spelling.commas or item in {int, float} or rest != [Ellipsis]:
            return _Kind(str, commas=True)
        return _Kind(list[item])  # type: ignore[valid-type]
    return _Kind(str if only is datetime else only)


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of a type, without what is said about them."""
    plain = _plain(annotation)
    if get_origin(plain) in {Union, types.UnionType}:
        return [inner for one in get_args(plain) for inner in _members(one)]
    return [plain]


def _plain(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _info(word: str, field: FieldInfo, spelling: Spelling) -> Any:
    told: dict[str, Any] = {"help": field.description, "metavar": spelling.metavar, **_bounds(field)}
    if spelling.argument:
        return typer.Argument(show_default=field.is_required() and spelling.missing is None, **told)
    names = (word,) if spelling.short is None else (word, spelling.short)
    return typer.Option(*names, envvar=spelling.envvar, **told)


def _bounds(field: FieldInfo) -> dict[str, Any]:
    """Return the bounds that typer knows; it knows none that are open, which the model checks all the same."""
    found: dict[str, Any] = {}
    for one in (*field.metadata, *_metadata(field.annotation)):
        if isinstance(one, annotated_types.Ge):
            found["min"] = one.ge
        elif isinstance(one, annotated_types.Le):
            found["max"] = one.le
    return found


def _metadata(annotation: Any) -> Iterator[Any]:
    """Yield what is said about a number, or about the number that may be given."""
    if get_origin(annotation) in {Union, types.UnionType}:
        for one in get_args(annotation):
            yield from _metadata(one)
    elif get_origin(annotation) is Annotated:
        for one in annotation.__metadata__:
            yield from one.metadata if isinstance(one, FieldInfo) else (one,)


def _default(field: FieldInfo, kind: _Kind, spelling: Spelling) -> Any:
    if field.is_required():
        return inspect.Parameter.empty if spelling.missing is None else None
    default = field.get_default(call_default_factory=True)
    if kind.commas and default is not None:
        return ",".join(f"{one:g}" if isinstance(one, float) else str(one) for one in default)
    return None if default == () else default


def _hidden(name: str, kind: Any, word: str, bounds: Mapping[str, Any] | None = None) -> inspect.Parameter:
    return option(name, kind, typer.Option(word, hidden=True, **bounds or {}), False if kind is bool else None)


def option(name: str, kind: Any, info: Any, default: Any) -> inspect.Parameter:
    """Return a parameter of a command: typer reads it from the signature."""
    taken: Any = kind if kind is bool or default is not None else kind | None
    annotation = Annotated[taken, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
