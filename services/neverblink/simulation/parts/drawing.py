"""What a product's drawing consists of: the good part's matter and the ways it can go wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from neverblink.errors import NeverblinkError
from neverblink.simulation.parts.surface import Surface

HALF = 176
"""Half of the image's side: images are 352 × 352 pixels."""
MARGIN = 12
"""Matter drawn beyond the image's border, so that a part may sit a little off."""

Taxonomy = Literal["surface", "structural", "dimensional", "foreign-object", "assembly"]


class SimulationError(NeverblinkError, ValueError):
    """A part, defect or light that the simulation does not know; the message says which it does."""


DrawDefect = Callable[[Surface, np.random.Generator], Surface]
"""From the good part's matter, a changed copy of the region around one defect, `light.REACH` included."""


@dataclass(frozen=True)
class DefectType:
    """One way a part can be bad. `name` is also the folder of a written data set."""

    name: str
    taxonomy: Taxonomy
    title: str
    draw: DrawDefect


@dataclass(frozen=True)
class ProductDrawing:
    """One simulated product: how to build a good part's matter, and its defect types.

    A good part lies up to `shift_px` image pixels and `turn_degrees` off its nominal place, either way.
    """

    name: str
    title: str
    shift_px: float
    turn_degrees: float
    build: Callable[[], Surface]
    defects: tuple[DefectType, ...]

    def defect(self, name: str) -> DefectType:
        """Return the defect type of this name, SimulationError with the known names otherwise."""
        for kind in self.defects:
            if kind.name == name:
                return kind
        known = ", ".join(kind.name for kind in self.defects)
        raise SimulationError(f"The simulated product {self.name!r} has no defect {name!r}. It has: {known}.")
