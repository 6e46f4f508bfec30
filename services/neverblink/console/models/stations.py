"""What scores each station, what is in shadow, and what came of it: from the topic, the plant file and the store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from neverblink.console.models.followed import FollowedModels
from neverblink.console.models.stock import Stock
from neverblink.events import ModelSlots, QualificationRef, Slot
from neverblink.model_registry.changes import Target, active_of
from neverblink.model_registry.known_artifacts import KnownArtifact
from neverblink.plant import Plant


@dataclass(frozen=True, slots=True)
class Placed:
    """A model in a slot. `threshold` is the one in force, None where its manifest is not known; `edited` by a person.

    `fault` says why the plant file's artifact cannot be read; then there is nothing else.
    """

    slot: Slot | None
    artifact: KnownArtifact | None
    of_plant_file: bool = False
    fault: str | None = None

    @property
    def name(self) -> str:
        """Return name and version."""
        return "" if self.slot is None else f"{self.slot.artifact.name} {self.slot.artifact.version}"

    @property
    def digest(self) -> str | None:
        """Return the model's identity."""
        return None if self.slot is None else self.slot.artifact.digest

    @property
    def edited(self) -> float | None:
        """Return the threshold that a person set, None: it is the artifact's own."""
        return None if self.slot is None else self.slot.threshold

    @property
    def own(self) -> float | None:
        """Return the artifact's own threshold."""
        return None if self.artifact is None else self.artifact.manifest.calibration.threshold

    @property
    def threshold(self) -> float | None:
        """Return the threshold in force."""
        return self.own if self.edited is None else self.edited

    @property
    def qualification(self) -> QualificationRef | None:
        """Return what came of the golden set when it was put there."""
        return None if self.slot is None else self.slot.qualification


@dataclass(frozen=True, slots=True)
class StationModels:
    """A station's models. `change` is the last one, None: the plant file alone says what scores."""

    target: Target
    active: Placed
    shadow: Placed | None
    change: ModelSlots | None
    scored_by: str | None
    scored_at: datetime | None

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return self.target.key

    @property
    def by_another(self) -> bool:
        """Say whether the station's last verdict names another model than the one that should score."""
        return self.scored_by is not None and self.active.digest is not None and self.scored_by != self.active.digest


Scored = tuple[str, datetime]
"""The digest of the model that scored, and when."""


def target_of(plant: Plant, line: str, station: str) -> Target | None:
    """Return a station as changes of models name it, None where the plant has none."""
    return next(
        (
            Target(one.name, place.name, place.product)
            for one, place in plant.stations()
            if (one.name, place.name) == (line, station)
        ),
        None,
    )


def station_models(
    target: Target, followed: FollowedModels, stock: Stock, scored: dict[tuple[str, str], Scored]
) -> StationModels:
    """Return what is known of a station."""
    change = followed.now(target.key)
    slot = active_of(change, target)
    ours = change is not None and change.product == target.product
    shadow = change.shadow if ours and change is not None else None
    by, at = scored.get((target.line, target.station), (None, None))
    return StationModels(
        target,
        plants_placed(stock, target.product) if slot is None else placed(slot, stock),
        None if shadow is None else placed(shadow, stock),
        change,
        by,
        at,
    )


def placed(slot: Slot, stock: Stock) -> Placed:
    """Return a slot with what its artifact says of itself, where that is known."""
    return Placed(slot, stock.listed.of(slot.artifact.digest))


def plants_placed(stock: Stock, product: str) -> Placed:
    """Return what the plant file names for a product."""
    found = stock.plants.get(product)
    if isinstance(found, Slot):
        return Placed(found, stock.listed.of(found.artifact.digest), of_plant_file=True)
    return Placed(None, None, of_plant_file=True, fault=found)


def in_use(stations: Iterable[StationModels]) -> dict[str, dict[str, list[str]]]:
    """Return where each artifact is, by its digest: the stations that it scores, and where it is in shadow."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in stations:
        for name, place in (("active", one.active), ("shadow", one.shadow)):
            if place is not None and place.digest is not None:
                found.setdefault(place.digest, {"active": [], "shadow": []})[name].append(one.key)
    return found


def seen_artifacts(
    plant: Plant, stock: Stock, products: Sequence[str], *, all_lines: bool
) -> tuple[KnownArtifact, ...]:
    """Return the artifacts of these products; whoever sees all lines also sees those of products that are no more."""
    known = {product.name for product in plant.products}
    return tuple(
        one
        for one in stock.listed.found
        if one.manifest.product in products or (all_lines and one.manifest.product not in known)
    )
