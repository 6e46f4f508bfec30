"""Changing which models score running lines: published on the models topic, where scorers follow it.

Nothing is printed here, and what a person should know comes back with the result.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from neverblink.events import ArtifactRef, ModelSlots, Slot
from neverblink.kafka import EventProducer, LatestEvents, ensure_topics
from neverblink.model_registry import changes
from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.model_registry.changes import ModelsError, Stamp, Target, Which
from neverblink.model_registry.golden_gate import GoldenGate, Judge, Qualifying
from neverblink.plant import Plant
from neverblink.vision.artifact import load_artifact, read_manifest
from neverblink.vision.artifact_manifest import ArtifactError, Manifest

CLIENT = "neverblink-models"
"""How the registry is known to the broker."""

_READ_WITHIN_S = 30.0

_AGAIN = 5
"""Times that the state is read anew because a model had to be judged meanwhile: each time by what others changed."""

_Change = Callable[[ModelSlots | None, Target, list[ModelSlots]], ModelSlots]
"""From a station's state, the station and the topic's history to its next state."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The state of each station that was changed, as it was published, and what a person should know about it."""

    events: tuple[ModelSlots, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Checked:
    """An artifact that was verified, and where scorers find it."""

    manifest: Manifest
    slot: Slot


# Changes


async def activate(
    plant: Plant,
    which: Which,
    artifact: str,
    threshold: float | None,
    stamp: Stamp,
    *,
    force: bool = False,
    judge: Judge | None = None,
) -> Changed:
    """Make an artifact score the stations' frames; one that its retraining or golden set refused, only by `force`.

    It is named by a folder, by a name below storage.artifacts or by a URL in the store; one that lies where scorers
    do not look is copied to the store. Where the product has a golden set, `judge` lets the model judge it first;
    without one a report must be there. Raises ModelsError, VisionError, PlantError, GoldenError, QualificationError or
    KafkaError.
    """
    chosen = which.of(plant)
    checked = await asyncio.to_thread(_checked, plant, artifact, chosen, threshold)
    stamp = changes.allowed(checked.slot, _refusal(checked.manifest), stamp, force=force)
    return await _publish(
        plant,
        chosen,
        lambda before, target, _: changes.activated(before, target, checked.slot, stamp),
        checked,
        Qualifying(GoldenGate(plant), stamp, force, judge),
    )


async def shadow(plant: Plant, which: Which, artifact: str | None, threshold: float | None, stamp: Stamp) -> Changed:
    """Let an artifact, named as for `activate`, score the same frames without acting; None ends that.

    Raises ModelsError, VisionError, PlantError or KafkaError.
    """
    chosen = which.of(plant)
    checked = None if artifact is None else await asyncio.to_thread(_checked, plant, artifact, chosen, threshold)
    slot = None if checked is None else checked.slot
    return await _publish(
        plant, chosen, lambda before, target, _: changes.shadowed(before, target, slot, stamp), checked
    )


async def edit_threshold(
    plant: Plant,
    which: Which,
    threshold: float | None,
    stamp: Stamp,
    *,
    force: bool = False,
    judge: Judge | None = None,
) -> Changed:
    """Edit the threshold of what scores; None is the artifact's own again. Judged, and raises, as `activate` does."""

    def change(before: ModelSlots | None, target: Target, _: list[ModelSlots]) -> ModelSlots:
        return changes.with_threshold(before, target, plants_slot(plant, target.product), threshold, stamp)

    return await _publish(plant, which.of(plant), change, qualifying=Qualifying(GoldenGate(plant), stamp, force, judge))


async def promote(
    plant: Plant, which: Which, stamp: Stamp, *, force: bool = False, judge: Judge | None = None
) -> Changed:
    """Make the model in shadow score; one that its retraining refused, only by `force`.

    Judged, and raises, as `activate` does.
    """
    store = ArtifactStore(plant.storage)

    def change(before: ModelSlots | None, target: Target, _: list[ModelSlots]) -> ModelSlots:
        event = changes.promoted(before, target, stamp)
        slot = event.active
        assert slot is not None
        manifest, _digest = _manifest_at(store, slot.location)
        allowed = changes.allowed(slot, _refusal(manifest), stamp, force=force)
        return event.model_copy(update={"why": allowed.why})

    return await _publish(plant, which.of(plant), change, qualifying=Qualifying(GoldenGate(plant), stamp, force, judge))


async def roll_back(
    plant: Plant, which: Which, stamp: Stamp, *, force: bool = False, judge: Judge | None = None
) -> Changed:
    """Restore what was before the last change. Judged, and raises, as `activate` does."""
    return await _publish(
        plant,
        which.of(plant),
        lambda before, target, history: changes.rolled_back(before, target, history, stamp),
        qualifying=Qualifying(GoldenGate(plant), stamp, force, judge),
    )


# What the topic and the plant file say


async def history_of(plant: Plant) -> list[ModelSlots]:
    """Return what the topic still holds, each station's events in order; what was deleted is left out.

    Raises KafkaError.
    """
    await ensure_topics(plant.kafka, ("models",))
    async with LatestEvents(plant.kafka, ModelSlots, client_id=CLIENT) as events:
        found: dict[str, list[ModelSlots]] = {}
        for key, event in await events.to_the_end(_READ_WITHIN_S):
            if event is None:
                found.pop(key, None)
            else:
                found.setdefault(key, []).append(event)
    return [event for station in found.values() for event in station]


def plants_slot(plant: Plant, product: str) -> Slot:
    """Return the plant file's artifact of a product as a slot. Raises ModelsError, ArtifactError."""
    folder = plant.artifact_folder(plant.product(product))
    manifest, digest = read_manifest(folder)
    location = ArtifactStore(plant.storage).location_of(folder)
    if location is None:
        raise ModelsError(f"the plant file's artifact {folder} lies where scorers fetch nothing: move it there first")
    return Slot(artifact=reference_of(manifest, digest), location=location)


def reference_of(manifest: Manifest, digest: str) -> ArtifactRef:
    """Return how events name an artifact."""
    return ArtifactRef(name=manifest.name, version=manifest.version, digest=digest)


# Publishing


async def _publish(
    plant: Plant,
    chosen: Sequence[Target],
    change: _Change,
    checked: _Checked | None = None,
    qualifying: Qualifying | None = None,
) -> Changed:
    """Publish the next state of each station: all are worked out, and judged, before the first is sent."""
    events: list[ModelSlots] = []
    notes: list[str] = []
    for _ in range(_AGAIN):
        history = await history_of(plant)
        # Artifacts may lie in a store, and judging takes its time: the loop does not wait for it.
        events, notes = await asyncio.to_thread(_worked_out, plant, chosen, change, history, checked, qualifying)
        if qualifying is None or not qualifying.judged_anew:
            break
        # The topic may have gone on meanwhile; what was judged is known now.
        qualifying.judged_anew = False
    async with EventProducer(plant.kafka, source=f"/{plant.site}/models", client_id=CLIENT) as producer:
        for event in events:
            await producer.send(event)
    return Changed(tuple(events), tuple(notes))


def _worked_out(
    plant: Plant,
    chosen: Sequence[Target],
    change: _Change,
    history: list[ModelSlots],
    checked: _Checked | None,
    qualifying: Qualifying | None,
) -> tuple[list[ModelSlots], list[str]]:
    """Return each station's next state and what a person should know; what fails its golden set is refused."""
    state = {event.key: event for event in history}
    notes = [] if checked is None else _other_backbones(plant, chosen, state, checked)
    events = [change(state.get(target.key), target, history) for target in chosen]
    if qualifying is None:
        return events, notes
    judged = [
        qualifying.passed(event, event.active or plants_slot(plant, event.product))
        if qualifying.gate.covers(event.product)
        else event
        for event in events
    ]
    return judged, [*notes, *qualifying.notes]


def _other_backbones(
    plant: Plant, chosen: Sequence[Target], state: dict[str, ModelSlots], checked: _Checked
) -> list[str]:
    """Say where the network is another one than that of what scores: both must then fit into a scorer's memory."""
    store = ArtifactStore(plant.storage)
    notes: dict[str, str] = {}
    for target in chosen:
        slot = changes.active_of(state.get(target.key), target)
        # What scores now may lie where only scorers reach it: then nothing is said.
        with contextlib.suppress(ArtifactError):
            if slot is None:
                manifest, _ = read_manifest(plant.artifact_folder(plant.product(target.product)))
            else:
                manifest, _ = _manifest_at(store, slot.location)
            name = manifest.backbone.model
            if manifest.backbone.key != checked.manifest.backbone.key and name not in notes:
                notes[name] = (
                    f"{target.key} is scored with {name}, this model needs {checked.manifest.backbone.model} of its"
                    " own: scorers hold both networks meanwhile, and open the new one for some seconds"
                )
    return list(notes.values())


# Artifacts


def _checked(plant: Plant, named: str, chosen: Sequence[Target], threshold: float | None) -> _Checked:
    """Verify an artifact, and copy it to the store where scorers could not find it."""
    store = ArtifactStore(plant.storage)
    if "://" in named:
        manifest, digest, location = *_manifest_at(store, named), named
        _fits(manifest, chosen)
    else:
        folder = Path(named) if Path(named).is_dir() else plant.storage.artifacts / named
        artifact = load_artifact(folder)
        manifest, digest = artifact.manifest, artifact.digest
        _fits(manifest, chosen)
        location = store.location_of(folder) or store.put(folder, artifact)
    return _Checked(manifest, Slot(artifact=reference_of(manifest, digest), location=location, threshold=threshold))


def _fits(manifest: Manifest, chosen: Sequence[Target]) -> None:
    others = [target for target in chosen if target.product != manifest.product]
    if others:
        raise ModelsError(
            f"{manifest.name} {manifest.version} is a model of product {manifest.product}, and"
            f" {', '.join(f'{target.key} inspects {target.product}' for target in others)}"
        )


def _manifest_at(store: ArtifactStore, location: str) -> tuple[Manifest, str]:
    with tempfile.TemporaryDirectory(prefix="neverblink-models-") as place:
        return store.manifest(location, Path(place))


def _refusal(manifest: Manifest) -> str | None:
    """Return why a model's retraining refused it, None when it did not, or the model comes from none."""
    return None if manifest.retraining is None else manifest.retraining.refused
