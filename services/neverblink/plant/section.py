"""What every part of the plant file is, and how a name in it is found."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict
from pydantic.fields import ComputedFieldInfo, FieldInfo

from neverblink.errors import NeverblinkError


class PlantError(NeverblinkError, ValueError):
    """A plant file that cannot be used; the message names file, line and column, and what to do."""


Step = str | int
"""A setting's name, or the place of an item in a list."""

_UNITS = {"ms": "ms", "s": "s", "m": "m", "h": "h", "min": "min", "px": "px", "mm2": "mm²", "mib": "MiB", "gib": "GiB"}


class PlacedError(ValueError):
    """A mistake and where it stands: steps from the section whose rule it breaks."""

    def __init__(self, sentence: str, *at: Step) -> None:
        super().__init__(sentence)
        self.at = at


def title_of(name: str, _: FieldInfo | ComputedFieldInfo) -> str:
    """Return what forms and editors call a setting: `Distance to gate, m` for distance_to_gate_m."""
    words, unit = name.removesuffix("_per_s").removesuffix("_m_s").split("_"), ""
    if name.endswith("_per_s"):
        unit = "1/s"
    elif name.endswith("_m_s"):
        unit = "m/s"
    elif len(words) > 1 and words[-1] in _UNITS:
        unit = _UNITS[words.pop()]
    text = " ".join(words)
    return f"{text[:1].upper()}{text[1:]}{', ' + unit if unit else ''}"


class Section(BaseModel):
    """A part of the plant file. Unknown fields are errors: a misspelt setting must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, field_title_generator=title_of)


class Named(Protocol):
    """Something that the plant file names."""

    @property
    def name(self) -> str:
        """Return the name."""
        ...


N = TypeVar("N", bound=Named)


def unique(what: str, names: Sequence[str | None], at: Step | None = None, *field: Step) -> None:
    """Raise PlacedError, for the second one, when two things have one name.

    `at` is their list in the section, None where the section is the list; `field` is the name within each.
    """
    for number, name in enumerate(names):
        if name is not None and name in names[:number]:
            raise PlacedError(
                f"two {what}s are named {name!r}; each needs its own", *(() if at is None else (at,)), number, *field
            )


def named(what: str, name: str, items: Iterable[N]) -> N:
    """Return the item of that name. Raises PlantError when there is none."""
    known = {item.name: item for item in items}
    if name in known:
        return known[name]
    raise PlantError(f"the plant has no {what} {name!r}{suggestion(name, known)}; it has {', '.join(sorted(known))}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question about what was meant, empty when nothing is like the word."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def known_zone(name: str) -> str:
    """Return the name of a time zone. Raises ValueError when there is none of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone; write one such as UTC or Europe/Berlin") from error
    return name
