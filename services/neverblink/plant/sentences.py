"""What a value should have been, in the words of whoever writes a plant file."""

from collections.abc import Mapping
from typing import Any

from neverblink.plant.section import suggestion

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Of names of lines, stations and products, as in events.parts."""

_WHAT = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "decimal": "must be a number",
    "string": "must be a text: write it in quotes",
    "path": "must be the path of a file or folder",
    "url": "must be an address such as https://host/path",
    "list": "must be a list",
    "tuple": "must be a list",
    "set": "must be a list",
    "dict": "must be a section of settings, one `name: value` a line",
    "model": "must be a section of settings, one `name: value` a line",
    "time": "must be a time such as 06:00",
    "datetime": "must be an instant with its zone such as 2026-03-02T06:00+01:00",
    "timezone": "must be an instant with its zone such as 2026-03-02T06:00+01:00",
    "date": "must be a day such as 2026-03-02",
    "finite": "must be a number that ends",
    "none": "must be left empty",
}
_BOUNDS = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "needs at least {min_length} of them",
    "too_long": "takes at most {max_length} of them",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}


def sentence_about(fault: Mapping[str, Any], description: str | None) -> str:
    """Return what is wrong with a value; `description` is its setting's own."""
    kind, context = str(fault["type"]), fault.get("ctx", {})
    if kind == "value_error":
        told = str(context["error"])
        return f"{told[0].lower()}{told[1:]}"
    if kind == "string_pattern_mismatch":
        if context["pattern"] == NAME_PATTERN:
            return "must be a name: letters, digits, dot, underscore and hyphen, a letter or digit first, 64 at most"
        form = (description or f"the form {context['pattern']}").rstrip(".")
        return f"must have another form: {form[0].lower()}{form[1:]}"
    if kind in _BOUNDS:
        said = _BOUNDS[kind].format(**context)
        return said + (_meant(fault["input"], context) if kind in {"literal_error", "enum"} else "")
    return _WHAT.get(kind.split("_")[0], "is not what belongs here")


def about_kinds(fault: Mapping[str, Any]) -> str:
    """Return what is wrong with the kind of a source or trigger."""
    if fault["type"] == "union_tag_not_found":
        return "has no `kind`, which says what it is"
    kinds = [one.strip(" '") for one in str(fault["ctx"]["expected_tags"]).split(",")]
    given = str(fault["ctx"]["tag"])
    return f"{given!r} is no kind of it; there are {', '.join(kinds)}{suggestion(given, kinds)}"


def _meant(given: object, context: Mapping[str, Any]) -> str:
    known = [one.strip(" '") for one in str(context["expected"]).replace(" or ", ",").split(",")]
    return suggestion(given, known) if isinstance(given, str) else ""
