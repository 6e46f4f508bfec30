"""The models of this scorer: which one scores each station's frames, which one in shadow, and how that changes."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import torch
from torch import Tensor

from neverblink import telemetry
from neverblink.errors import NeverblinkError
from neverblink.events import ModelSlots, Slot
from neverblink.model_registry.qualifications import QualificationError
from neverblink.plant import Plant
from neverblink.scorer.admission import Admission
from neverblink.scorer.instruments import Instruments, instruments
from neverblink.scorer.model_loader import Model, ModelLoader
from neverblink.scorer.model_memory import Key
from neverblink.vision.artifact import read_manifest
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Inspector, Prepared, embed_prepared, judge_embedded

__all__ = ["Model", "ModelError", "Models", "Place", "StationModels"]

Place = tuple[str, str]
"""The names of a line and of one of its stations."""

SlotName = Literal["active", "shadow"]

_ALWAYS = datetime.min.replace(tzinfo=UTC)
"""Since when the plant file's own artifact scores."""


class ModelError(NeverblinkError, RuntimeError):
    """No model can score; the message says which artifact and why."""


@dataclass(frozen=True, slots=True)
class StationModels:
    """What scores a station's frames of a product.

    `wanted` is what was asked for, None: the plant file's artifact. `faults` say why that is not what scores.
    """

    product: str
    active: Model | None = None
    shadow: Model | None = None
    wanted: ModelSlots | None = None
    faults: tuple[str, ...] = ()

    @property
    def is_plants(self) -> bool:
        """Say whether the plant file's artifact is what should score."""
        return self.wanted is None or self.wanted.active is None

    @property
    def keys(self) -> set[Key]:
        """Return what must stay in memory for this station."""
        return {model.key for model in (self.active, self.shadow) if model is not None}


class Models:
    """The loaded models by station.

    `opened` blocks and belongs to the thread that loads, `embed` and `judge` to those that compute, the rest to the
    loop.
    """

    def __init__(self, plant: Plant, loader: ModelLoader | None = None, measured: Instruments | None = None) -> None:
        """`loader` and `measured` are made where they are not given."""
        self._plant = plant
        self._loader = loader or ModelLoader(plant)
        self._admission = Admission(plant)
        # Replaced as a whole, never changed: whoever looks sees all of a swap or nothing of it.
        self._stations: Mapping[Place, StationModels] = {
            (line.name, station.name): StationModels(station.product) for line, station in plant.stations()
        }
        self._log = telemetry.logger("scorer")
        self._measured = measured or instruments()

    @classmethod
    def load(cls, plant: Plant, slots: Iterable[ModelSlots] = (), measured: Instruments | None = None) -> "Models":
        """Open what every station needs and warm it up: what `slots` say, else the artifact that the plant file names.

        A station whose artifact is missing or broken has none, with an alarm: its parts are `no-model`. Blocks.
        Raises ModelError when no station has one.
        """
        if plant.scorer.threads:
            torch.set_num_threads(plant.scorer.threads)
        models = cls(plant, measured=measured)
        wanted = {(event.line, event.station): event for event in slots}
        for place in models.stations:
            models.put(place, models.opened(place, wanted.get(place)))
        if not any(found.active for found in models.stations.values()):
            faults = sorted({fault for found in models.stations.values() for fault in found.faults})
            raise ModelError("no model can be loaded: " + "; ".join(faults))
        return models

    @property
    def stations(self) -> Mapping[Place, StationModels]:
        """Return what scores where, and what is wrong where."""
        return self._stations

    @property
    def held_bytes(self) -> int:
        """Return what the loaded models hold in memory."""
        return self._loader.memory.bytes

    def faults(self) -> dict[Place, int]:
        """Return how many slots of each station are in fault."""
        return {place: len(found.faults) for place, found in self._stations.items()}

    def __getitem__(self, product: str) -> Model:
        for found in self._stations.values():
            if found.product == product and found.active is not None:
                return found.active
        raise KeyError(product)

    def active(self, line: str, station: str, product: str) -> Model | None:
        """Return what scores a station's frames of a product now, None when there is none.

        Frames of another product than the station's own are scored by the plant file's artifact, where it is loaded
        because another station inspects that product with it.
        """
        found = self._stations.get((line, station))
        if found is not None and found.product == product:
            return found.active
        others = (other for other in self._stations.values() if other.product == product and other.is_plants)
        return next((other.active for other in others if other.active is not None), None)

    def shadow(self, line: str, station: str) -> Model | None:
        """Return what scores the same frames without acting, None when there is none."""
        found = self._stations.get((line, station))
        return None if found is None else found.shadow

    def score(self, work: Sequence[tuple[Model, Prepared]]) -> list[Inspection]:
        """Score images of any models, each with what its own model's inspector prepared; each backbone runs once.

        Returns one Inspection per image, in order.
        """
        return self.judge(work, self.embed(work))

    def embed(self, work: Sequence[tuple[Model, Prepared]]) -> list[Tensor]:
        """Run the networks, the first half of `score`: each image's features."""
        return embed_prepared(_inspected(work))

    def judge(self, work: Sequence[tuple[Model, Prepared]], features: Sequence[Tensor]) -> list[Inspection]:
        """Judge by the features, the second half of `score`: one batch may be in each, none two in the same."""
        return judge_embedded(_inspected(work), features)

    def opened(self, place: Place, wanted: ModelSlots | None) -> StationModels:
        """Open what a station should be scored by, and say what it will be: a slot that fails keeps what it has.

        Nothing changes before `put`. Blocks for seconds where an artifact was not used before.
        """
        before = self._stations[place]
        product = wanted.product if wanted is not None else self._plant.line(place[0]).station(place[1]).product
        if product != before.product:
            before = StationModels(product)
        in_use = {key for found in self._stations.values() for key in found.keys}
        faults: list[str] = []
        refused: list[str] = []

        def tried(name: str, old: Model | None, open_model: Callable[[], Model]) -> Model | None:
            try:
                return open_model()
            except Exception as error:  # noqa: BLE001 - the boundary: no fault of an artifact may stop the scorer
                ours = isinstance(error, NeverblinkError)
                if isinstance(error, QualificationError):
                    refused.append(name)
                    self._measured.unqualified.add(1, {"line": place[0], "station": place[1]})
                if not ours:
                    self._log.error(f"a model of {'/'.join(place)} cannot be opened", exc_info=error)
                faults.append(f"{name}: {error if ours else repr(error)}")
                return old

        slot = None if wanted is None else wanted.active
        since = None if slot is None or wanted is None else wanted.at
        active = tried("active", before.active, lambda: self._acting(product, slot, since, before.active, in_use))
        earlier = None if wanted is None else wanted.previous
        if refused and active is None and earlier is not None and earlier.product == product:
            # A start has nothing to keep: what scored before the change that must not act goes on.
            then = None if earlier.active is None else earlier.at
            active = tried("before", None, lambda: self._acting(product, earlier.active, then, None, in_use))
        shadow_slot = None if wanted is None else wanted.shadow
        shadow = None
        if shadow_slot is not None:
            beside = in_use | ({active.key} if active is not None else set())
            shadow = tried(
                "shadow",
                before.shadow,
                lambda: self._loader.of_slot(self._plant.product(product), shadow_slot, beside),
            )
        return StationModels(product, active, shadow, wanted, tuple(faults))

    def _acting(
        self, product: str, slot: Slot | None, since: datetime | None, scores: Model | None, in_use: Collection[Key]
    ) -> Model:
        """Open what shall act on a product: a slot's model, chosen at the instant `since`, None: the plant file's.

        What `scores` already, at this threshold, is no change: nobody asks for a report again. Raises VisionError,
        NoRoomError, QualificationError.
        """
        described = self._plant.product(product)
        if self._admission.demands(product):
            if slot is None:
                manifest, digest = read_manifest(self._plant.artifact_folder(described))
                name, edited = f"{manifest.name} {manifest.version}", None
            else:
                digest, edited = slot.artifact.digest, slot.threshold
                name = f"{slot.artifact.name} {slot.artifact.version}"
            if scores is None or (scores.artifact.digest, scores.edited) != (digest, edited):
                acting_since = (since or _ALWAYS) if scores is None else None
                self._admission.check(product, digest, name, edited, acting_since=acting_since)
        if slot is None:
            return self._loader.of_plant(described, in_use)
        return self._loader.of_slot(described, slot, in_use)

    def put(self, place: Place, found: StationModels) -> None:
        """Let a station's next frames be scored by what was opened; frames on their way keep their model."""
        before = self._stations[place]
        self._stations = {**self._stations, place: found}
        self._tell_swap(place, "active", before.active, found.active)
        self._tell_swap(place, "shadow", before.shadow, found.shadow)
        goes_on = "has no model" if found.active is None else f"goes on with {_named(found.active)}"
        for fault in found.faults:
            self._measured.faults.add(1, {"line": place[0], "station": place[1]})
            if fault not in before.faults:
                self._log.error(f"{'/'.join(place)} {goes_on}: {fault}", extra={"fields": _fields(place, found)})
        if before.faults and not found.faults:
            self._log.info(
                f"{'/'.join(place)} has the models that it should have", extra={"fields": _fields(place, found)}
            )

    def _tell_swap(self, place: Place, name: SlotName, old: Model | None, new: Model | None) -> None:
        if _identity(old) == _identity(new):
            return
        self._measured.swaps.add(1, {"line": place[0], "station": place[1], "slot": name})
        what = "no model" if new is None else _named(new)
        words = {"active": f"is scored by {what}", "shadow": f"is scored in shadow by {what}"}
        fields: dict[str, object] = {"line": place[0], "station": place[1], "slot": name}
        for which, model in (("old", old), ("new", new)):
            if model is not None:
                fields[f"{which}_digest"], fields[f"{which}_threshold"] = model.artifact.digest, model.threshold
        self._log.info(f"{'/'.join(place)} {words[name]}", extra={"fields": fields})


def _inspected(work: Sequence[tuple[Model, Prepared]]) -> list[tuple[Inspector, Prepared]]:
    return [(model.inspector, prepared) for model, prepared in work]


def _named(model: Model) -> str:
    return f"{model.artifact.name} {model.artifact.version}"


def _identity(model: Model | None) -> tuple[Key, float] | None:
    return None if model is None else (model.key, model.threshold)


def _fields(place: Place, found: StationModels) -> dict[str, object]:
    by = None if found.wanted is None else found.wanted.by
    scored_by = None if found.active is None else found.active.artifact.digest
    return {"line": place[0], "station": place[1], "asked_by": by, "scored_by": scored_by, "faults": found.faults}
