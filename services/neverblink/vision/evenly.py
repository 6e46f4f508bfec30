"""Some of many, from all over them: what stands first in a folder is often of one lot."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

_One = TypeVar("_One")


def places_over(count: int, most: int) -> list[int]:
    """Return at most so many of the places 0 to `count` - 1, from all over them, in order."""
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def some_of(items: Sequence[_One], most: int) -> list[_One]:
    """Return at most so many, from all over the sequence, in order."""
    return [items[place] for place in places_over(len(items), most)]
