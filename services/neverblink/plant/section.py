"""What every part of the plant file is, and how a name in it is found."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict

from neverblink.errors import NeverblinkError


class PlantError(NeverblinkError, ValueError):
    """A plant file that cannot be used; the message names file, line and column, and what to do."""


class Section(BaseModel):
    """A part of the plant file. Unknown fields are errors: a misspelt setting must not be ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Named(Protocol):
    """Something that the plant file names."""

    @property
    def name(self) -> str:
        """Return the name."""
        ...


N = TypeVar("N", bound=Named)


def unique(what: str, names: Sequence[str]) -> None:
    """Raise ValueError when two things have one name."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what}s are named {name!r}; each needs its own")


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
