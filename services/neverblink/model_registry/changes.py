"""From what scores a station and what a person wants to the event that says so: pure, the topic is read elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from neverblink.errors import NeverblinkError
from neverblink.events import ModelSlots, PreviousSlots, Slot
from neverblink.events.identity import derived_id
from neverblink.plant import Plant

_WHY_LENGTH = 2000
"""What an event's `why` holds."""

_FORCED = "forced: "


class ModelsError(NeverblinkError, ValueError):
    """A change of models that cannot be made; the message says which and what to do instead."""


@dataclass(frozen=True, slots=True)
class Target:
    """A station whose models are changed, and the product that the plant file says it inspects."""

    line: str
    station: str
    product: str

    @property
    def key(self) -> str:
        """Return `line/station`."""
        return f"{self.line}/{self.station}"


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who changes something, why and when."""

    by: str
    why: str | None
    at: datetime


def targets(
    plant: Plant, *, lines: Sequence[str] = (), stations: Sequence[str] = (), product: str | None = None
) -> tuple[Target, ...]:
    """Return the stations that are of one of `lines`, one of `stations` (LINE/STATION) and of `product`, where given.

    Raises ModelsError when there is none.
    """
    found = tuple(
        Target(line.name, station.name, station.product)
        for line, station in plant.stations()
        if (not lines or line.name in lines)
        and (not stations or f"{line.name}/{station.name}" in stations)
        and product in (None, station.product)
    )
    missing = [name for name in stations if name not in {target.key for target in found}]
    missing += [name for name in lines if name not in {target.line for target in found}]
    if missing or not found:
        known = ", ".join(f"{line.name}/{station.name} ({station.product})" for line, station in plant.stations())
        raise ModelsError(f"no such station: {', '.join(missing) or product}; the plant has {known}")
    return found


@dataclass(frozen=True, slots=True)
class Which:
    """The stations that a change is about: of these lines, these (LINE/STATION), of this product, where given."""

    lines: Sequence[str] = ()
    stations: Sequence[str] = ()
    product: str | None = None

    def of(self, plant: Plant) -> tuple[Target, ...]:
        """Return them. Raises ModelsError when none is named, or there is none."""
        if not self.lines and not self.stations and self.product is None:
            raise ModelsError(
                "name the stations: --station LINE/STATION, --line LINE, or --product for all its stations"
            )
        return targets(plant, lines=self.lines, stations=self.stations, product=self.product)


def activated(before: ModelSlots | None, target: Target, slot: Slot, stamp: Stamp) -> ModelSlots:
    """Return the event that makes a model score; in shadow too it would only say the same twice."""
    shadow = _shadow(before, target)
    if shadow is not None and shadow.artifact.digest == slot.artifact.digest:
        shadow = None
    return _event(before, target, stamp, slot, shadow)


def shadowed(before: ModelSlots | None, target: Target, slot: Slot | None, stamp: Stamp) -> ModelSlots:
    """Return the event that puts a model in shadow, None: that takes it away."""
    return _event(before, target, stamp, active_of(before, target), slot)


def with_threshold(
    before: ModelSlots | None, target: Target, plants: Slot, threshold: float | None, stamp: Stamp
) -> ModelSlots:
    """Return the event that edits the threshold, None: back to the artifact's own.

    `plants` is the plant file's artifact, for a station whose models were never changed.
    """
    active = active_of(before, target) or plants
    edited = active.model_copy(update={"threshold": threshold, "qualification": None})
    return _event(before, target, stamp, edited, _shadow(before, target))


def promoted(before: ModelSlots | None, target: Target, stamp: Stamp) -> ModelSlots:
    """Return the event that makes the shadow model score. Raises ModelsError when there is none."""
    shadow = _shadow(before, target)
    if shadow is None:
        raise ModelsError(f"{target.key} has no model in shadow; `neverblink models shadow` puts one there")
    return _event(before, target, stamp, shadow, None)


def allowed(slot: Slot, refusal: str | None, stamp: Stamp, *, force: bool) -> Stamp:
    """Return the stamp with which a model may score: one that its retraining refused (`refusal`) only by `force`.

    What was overridden stays with the event. Raises ModelsError.
    """
    if refusal is None:
        return stamp
    name = f"{slot.artifact.name} {slot.artifact.version}"
    if not force:
        raise ModelsError(
            f"{name} was refused by its retraining: {refusal}. Who knows better overrides it with --force and --why,"
            " and both stay on record"
        )
    if stamp.why is None:
        raise ModelsError(f"{name} was refused by its retraining: say why it shall score nevertheless, with --why")
    return replace(stamp, why=f"{_FORCED}{stamp.why} (its retraining had refused it: {refusal})"[:_WHY_LENGTH])


def overridden(event: ModelSlots, name: str, refusal: str, stamp: Stamp, *, force: bool, demanded: bool) -> ModelSlots:
    """Return a change to the model of that `name`, which the golden set speaks against (`refusal`), if `force` lets it
    happen: what was overridden stays with the event. Raises ModelsError; where the plant demands the set, always.
    """
    said = f"{name} must not score {event.product}: {refusal}"
    if demanded:
        raise ModelsError(f"{said}. The plant demands the golden set (proof.golden.demanded): nothing overrides it")
    if not force:
        raise ModelsError(f"{said}. Who knows better overrides it with --force and --why, and both stay on record")
    if stamp.why is None:
        raise ModelsError(f"{said}. Say why it shall score nevertheless, with --why")
    why = (event.why or stamp.why).removeprefix(_FORCED)
    return event.model_copy(update={"why": f"{_FORCED}{why} (against the golden set: {refusal})"[:_WHY_LENGTH]})


def rolled_back(before: ModelSlots | None, target: Target, history: Iterable[ModelSlots], stamp: Stamp) -> ModelSlots:
    """Return the event that restores the state before the last change; rolled back again, it restores that change.

    `history` is what the topic still holds of the station, in order. Raises ModelsError when nothing says what was.
    """
    if before is None:
        raise ModelsError(f"{target.key} was never changed: the plant file's artifact scores it")
    earlier = before.previous
    if earlier is None:
        older = [event for event in history if event.key == target.key and event.id != before.id]
        if not older:
            raise ModelsError(
                f"the last change of {target.key}, by {before.by}, does not say what was before, and the topic keeps"
                " nothing older; activate the model that you want by its folder"
            )
        earlier = _as_previous(older[-1])
    if earlier.product != target.product:
        raise ModelsError(
            f"before the last change {target.key} inspected {earlier.product}, and the plant file says {target.product}"
        )
    why = stamp.why or f"rolled back what {before.by} had changed"
    return _event(before, target, replace(stamp, why=why), earlier.active, earlier.shadow)


def active_of(before: ModelSlots | None, target: Target) -> Slot | None:
    """Return what was put into a station's active slot for its product; None: the plant file's artifact scores."""
    return before.active if before is not None and before.product == target.product else None


def _shadow(before: ModelSlots | None, target: Target) -> Slot | None:
    return before.shadow if before is not None and before.product == target.product else None


def _event(
    before: ModelSlots | None, target: Target, stamp: Stamp, active: Slot | None, shadow: Slot | None
) -> ModelSlots:
    return ModelSlots(
        id=derived_id("model-slots", target.line, target.station, stamp.at.isoformat()),
        line=target.line,
        station=target.station,
        product=target.product,
        active=active,
        shadow=shadow,
        by=stamp.by,
        why=stamp.why,
        at=stamp.at,
        previous=PreviousSlots(product=target.product) if before is None else _as_previous(before),
    )


def _as_previous(event: ModelSlots) -> PreviousSlots:
    return PreviousSlots(
        product=event.product, active=event.active, shadow=event.shadow, by=event.by, why=event.why, at=event.at
    )
