"""An anomaly map that is made when somebody looks at it: most parts pass, and nobody looks at the map of a pass."""

import threading
from collections.abc import Callable
from typing import Self, overload

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]

_KEPT = "_map_on_demand"


class MapOnDemand:
    """One map and what makes it, until it is made: what it is made of is let go of then.

    Any thread may ask; while one makes it, the others wait for it.
    """

    def __init__(self, make: Callable[[], Map]) -> None:
        self._make: Callable[[], Map] | None = make
        self._made: Map | None = None
        self._lock = threading.Lock()

    @property
    def made(self) -> Map | None:
        """Return the map, None while nobody has asked for it."""
        return self._made

    def get(self) -> Map:
        """Return the map, the same array each time."""
        with self._lock:
            if self._made is None:
                assert self._make is not None
                self._made = self._make()
                self._make = None
            return self._made


class MapField:
    """A field that holds a map or what makes it, and reads as the map."""

    @overload
    def __get__(self, owner: None, of: type) -> Self: ...
    @overload
    def __get__(self, owner: object, of: type) -> Map: ...
    def __get__(self, owner: object | None, of: type) -> Map | Self:
        if owner is None:
            raise AttributeError("the field has no default")
        kept: Map | MapOnDemand = owner.__dict__[_KEPT]
        return kept.get() if isinstance(kept, MapOnDemand) else kept

    def __set__(self, owner: object, value: Map | MapOnDemand) -> None:
        owner.__dict__[_KEPT] = value

    @staticmethod
    def made(owner: object) -> Map | None:
        """Return the map of an object that has this field, None while it is not made. It makes none."""
        kept: Map | MapOnDemand = owner.__dict__[_KEPT]
        return kept.made if isinstance(kept, MapOnDemand) else kept


A_MAP = MapField()
