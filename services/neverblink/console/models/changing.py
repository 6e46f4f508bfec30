"""A change of a station's models, from what a person asks for to the event that says so; refusals in words."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args
from urllib.parse import urlencode

from neverblink import telemetry
from neverblink.console.access.said import SaidError
from neverblink.console.language import N_
from neverblink.console.models.stock import Stock, StoreAwayError
from neverblink.errors import NeverblinkError
from neverblink.events import ModelSlots, Slot
from neverblink.kafka import KafkaError
from neverblink.model_registry import changes, registry
from neverblink.model_registry.changes import ModelsError, Stamp, Target, Which
from neverblink.model_registry.golden_gate import Judged
from neverblink.model_registry.golden_set import GoldenError
from neverblink.model_registry.known_artifacts import KnownArtifact
from neverblink.model_registry.qualifications import QualificationError
from neverblink.model_registry.registry import Changed
from neverblink.plant import Plant
from neverblink.service_life import time_limit
from neverblink.vision.artifact_manifest import ArtifactError

What = Literal["activate", "shadow", "unshadow", "threshold", "promote", "rollback"]
ACT_S: Final = 40.0
"""So long a person waits for a change: the artifact is verified, and Kafka says its word."""

_CLOSE: Final = 1e-5
"""Thresholds that a page shows alike."""

_KAFKA = N_("Kafka is away or does not acknowledge. Whether anything was changed says the station's page: look first.")
_STORE = N_("The store of artifacts does not answer: try again in a moment.")
_REFUSED = N_("That was refused, and nothing is changed.")
_NOT_JUDGED = N_("The golden set has not judged it yet: let it judge first.")


class ChangeError(SaidError):
    """A change that nobody can make; the message says why."""


class UnjudgedError(NeverblinkError):
    """A model that its product's golden set must judge before it may score."""


class NotMadeError(NeverblinkError):
    """A change that was not made. `sentence` says so in the page's language, `detail` what is known of it."""

    def __init__(self, status: int, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.detail = status, sentence, detail


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person wants changed: `artifact` by its digest, and the `threshold`, None: the artifact's own."""

    what: What
    artifact: str | None = None
    threshold: float | None = None

    @classmethod
    def of(cls, what: str, artifact: str, threshold: str) -> "Wanted":
        """Return what a form or an address says. Raises ChangeError."""
        if what not in get_args(What):
            raise ChangeError("there is no such change of models")
        needs = what in {"activate", "shadow"}
        if needs and not artifact:
            raise ChangeError("choose an artifact")
        return cls(
            cast("What", what),
            artifact if needs else None,
            _number(threshold) if what in {"activate", "shadow", "threshold"} else None,
        )

    def query(self) -> str:
        """Return how an address says it."""
        found = {"what": self.what, "artifact": self.artifact, "threshold": self.threshold}
        return urlencode({name: value for name, value in found.items() if value is not None})

    @property
    def scores(self) -> bool:
        """Say whether it changes what scores."""
        return self.what not in {"shadow", "unshadow"}


def chosen(wanted: Wanted, stock: Stock, own: float | None) -> tuple[Wanted, KnownArtifact | None]:
    """Return what is wanted with the artifact that it names; its own threshold is said as None. Raises ChangeError."""
    found = None
    if wanted.artifact is not None:
        found = stock.listed.of(wanted.artifact)
        if found is None:
            raise ChangeError("there is no such artifact where scorers look")
        own = found.manifest.calibration.threshold
    same = own is not None and wanted.threshold is not None and math.isclose(wanted.threshold, own, rel_tol=_CLOSE)
    return (Wanted(wanted.what, wanted.artifact) if same else wanted), found


def proposed(
    wanted: Wanted,
    found: KnownArtifact | None,
    target: Target,
    heard: Sequence[ModelSlots],
    plants: Slot | str | None,
    stamp: Stamp,
) -> ModelSlots:
    """Return the state that a station would have. `heard` is what the topic holds of it. Raises ModelsError,
    ChangeError.
    """
    before = heard[-1] if heard else None
    slot = None if found is None else _slot(found, wanted.threshold)
    match wanted.what:
        case "activate" if slot is not None:
            return changes.activated(before, target, slot, stamp)
        case "shadow" | "unshadow":
            return changes.shadowed(before, target, slot, stamp)
        case "promote":
            return changes.promoted(before, target, stamp)
        case "rollback":
            return changes.rolled_back(before, target, heard, stamp)
        case _:
            if not isinstance(plants, Slot) and changes.active_of(before, target) is None:
                raise ChangeError("the plant file's artifact cannot be read")
            return changes.with_threshold(before, target, cast("Slot", plants), wanted.threshold, stamp)


async def made(
    plant: Plant, keys: Sequence[str], wanted: Wanted, found: KnownArtifact | None, stamp: Stamp, *, force: bool
) -> Changed:
    """Make a change at stations (`line/station`) through the registry. Raises as that does, and UnjudgedError."""
    which = Which(stations=keys)
    place = None if found is None else _place(plant, found)
    match wanted.what:
        case "activate" if place is not None:
            return await registry.activate(
                plant, which, place, wanted.threshold, stamp, force=force, judge=_not_judged_here
            )
        case "shadow" | "unshadow":
            return await registry.shadow(plant, which, place, wanted.threshold, stamp)
        case "promote":
            return await registry.promote(plant, which, stamp, force=force, judge=_not_judged_here)
        case "rollback":
            return await registry.roll_back(plant, which, stamp, force=force, judge=_not_judged_here)
        case _:
            return await registry.edit_threshold(
                plant, which, wanted.threshold, stamp, force=force, judge=_not_judged_here
            )


@asynccontextmanager
async def in_words(gettext: Callable[[str], str]) -> AsyncIterator[None]:
    """Bound what is done within, and raise NotMadeError where it is not done.

    What the registry refuses it refuses in English, as its commands do: that is the detail.
    """
    try:
        async with time_limit(ACT_S):
            yield
    except SaidError as error:
        raise NotMadeError(422, error.in_words(gettext)) from error
    except UnjudgedError as error:
        raise NotMadeError(409, gettext(_NOT_JUDGED), str(error)) from error
    except (ModelsError, ArtifactError, GoldenError, QualificationError) as error:
        raise NotMadeError(409, gettext(_REFUSED), str(error)) from error
    except StoreAwayError as error:
        raise NotMadeError(503, gettext(_STORE)) from error
    except (KafkaError, TimeoutError) as error:
        telemetry.logger("console").warning(f"models are not changed: {error or 'no word within the time'}")
        raise NotMadeError(503, gettext(_KAFKA)) from error


def _not_judged_here(product: str, slot: Slot) -> Judged:
    raise UnjudgedError(f"{slot.artifact.name} {slot.artifact.version} and the golden set of {product}")


def _slot(found: KnownArtifact, threshold: float | None) -> Slot:
    reference = registry.reference_of(found.manifest, found.digest)
    return Slot(artifact=reference, location=found.location, threshold=threshold)


def _place(plant: Plant, found: KnownArtifact) -> str:
    """Return an artifact's place so that no folder of where the console was started is taken for it."""
    if "://" in found.location or found.location.startswith("/"):
        return found.location
    return str(plant.storage.artifacts.absolute() / found.location)


def _number(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise ChangeError("a threshold is a number above 0") from error
    if not (math.isfinite(value) and 0 < value <= 1e9):
        raise ChangeError("a threshold is a number above 0")
    return value
