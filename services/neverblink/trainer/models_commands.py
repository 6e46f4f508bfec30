"""`neverblink models`: which model scores which station, and changing that on a running line."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neverblink.events import ArtifactRef, EventError, ModelSlots, Slot, Verdict
from neverblink.kafka import EventConsumer, EventProducer, LatestEvents, ensure_topics
from neverblink.model_registry import changes as model_changes
from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.model_registry.changes import ModelsError, Stamp, Target, targets
from neverblink.plant import Plant
from neverblink.vision.artifact import load_artifact, read_manifest
from neverblink.vision.artifact_manifest import ArtifactError, Manifest

_READ_WITHIN_S = 30.0
_VERDICTS_WITHIN_S = 15.0
_CLIENT = "neverblink-models"

Change = Callable[[ModelSlots | None, Target, list[ModelSlots]], ModelSlots]
"""From a station's state, the station and the topic's history to its next state."""


@dataclass(frozen=True, slots=True)
class Which:
    """The stations that a command is about: of these lines, these (LINE/STATION), of this product, where given."""

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


@dataclass(frozen=True, slots=True)
class _Checked:
    """An artifact that was verified, and where scorers find it."""

    manifest: Manifest
    slot: Slot


# Changes


def run_activate(
    plant: Plant,
    which: Which,
    artifact: str,
    threshold: float | None,
    stamp: Stamp,
    console: Console,
    *,
    force: bool = False,
) -> None:
    """Make an artifact score the stations' frames; one that its retraining refused, only by `force`.

    Raises ModelsError, VisionError or KafkaError.
    """
    chosen = which.of(plant)
    checked = _checked(plant, artifact, chosen, threshold)
    stamp = model_changes.allowed(checked.slot, _refusal(checked.manifest), stamp, force=force)
    _publish(
        plant, chosen, lambda before, target, _: model_changes.activated(before, target, checked.slot, stamp), console,
        checked,
    )  # fmt: skip


def run_shadow(
    plant: Plant, which: Which, artifact: str | None, threshold: float | None, stamp: Stamp, console: Console
) -> None:
    """Let an artifact score the same frames without acting; None ends that."""
    chosen = which.of(plant)
    checked = None if artifact is None else _checked(plant, artifact, chosen, threshold)
    slot = None if checked is None else checked.slot
    _publish(
        plant, chosen, lambda before, target, _: model_changes.shadowed(before, target, slot, stamp), console, checked
    )


def run_threshold(plant: Plant, which: Which, threshold: float | None, stamp: Stamp, console: Console) -> None:
    """Edit the threshold of what scores; None is the artifact's own again."""

    def change(before: ModelSlots | None, target: Target, _: list[ModelSlots]) -> ModelSlots:
        return model_changes.with_threshold(before, target, _plants_slot(plant, target.product), threshold, stamp)

    _publish(plant, which.of(plant), change, console)


def run_promote(plant: Plant, which: Which, stamp: Stamp, console: Console, *, force: bool = False) -> None:
    """Make the model in shadow score; one that its retraining refused, only by `force`."""
    store = ArtifactStore(plant.storage)

    def change(before: ModelSlots | None, target: Target, _: list[ModelSlots]) -> ModelSlots:
        event = model_changes.promoted(before, target, stamp)
        slot = event.active
        assert slot is not None
        manifest, _digest = _manifest_at(store, slot.location)
        allowed = model_changes.allowed(slot, _refusal(manifest), stamp, force=force)
        return event.model_copy(update={"why": allowed.why})

    _publish(plant, which.of(plant), change, console)


def run_rollback(plant: Plant, which: Which, stamp: Stamp, console: Console) -> None:
    """Restore what was before the last change."""
    _publish(
        plant,
        which.of(plant),
        lambda before, target, history: model_changes.rolled_back(before, target, history, stamp),
        console,
    )


def scoring_slot(plant: Plant, chosen: Sequence[Target]) -> Slot:
    """Return what scores these stations now: one model for all of them. Raises ModelsError, ArtifactError, KafkaError.

    A threshold that was edited at some of the stations alone is another model here.
    """

    async def read() -> list[ModelSlots]:
        await ensure_topics(plant.kafka, ("models",))
        return await _history(plant)

    state = {event.key: event for event in asyncio.run(read())}
    found: dict[str, Slot] = {}
    for target in chosen:
        event = state.get(target.key)
        slot = None if event is None or event.product != target.product else event.active
        found[target.key] = slot or _plants_slot(plant, target.product)
    slots = list(found.values())
    if any(slot != slots[0] for slot in slots):
        said = ", ".join(f"{key} by {_named(slot)}" for key, slot in found.items())
        raise ModelsError(f"the stations are scored by different models ({said}): name fewer, or the champion's folder")
    return slots[0]


def _publish(
    plant: Plant, chosen: Sequence[Target], change: Change, console: Console, checked: _Checked | None = None
) -> None:
    """Publish the next state of each station: all are worked out before the first is sent."""

    async def work() -> list[ModelSlots]:
        await ensure_topics(plant.kafka, ("models",))
        history = await _history(plant)
        state = {event.key: event for event in history}
        if checked is not None:
            _warn_of_another_backbone(plant, chosen, state, checked, console)
        events = [change(state.get(target.key), target, history) for target in chosen]
        async with EventProducer(plant.kafka, source=f"/{plant.site}/models", client_id=_CLIENT) as producer:
            for event in events:
                await producer.send(event)
        return events

    for event in asyncio.run(work()):
        console.print(escape(f"{event.key}: active {_named(event.active)}, shadow {_named(event.shadow, 'none')}"))
    console.print("scorers open it while the old model scores on; `neverblink models show` says what scores")


async def _history(plant: Plant) -> list[ModelSlots]:
    """Return what the topic still holds, each station's events in order; what was deleted is left out."""
    async with LatestEvents(plant.kafka, ModelSlots, client_id=_CLIENT) as events:
        found: dict[str, list[ModelSlots]] = {}
        for key, event in await events.to_the_end(_READ_WITHIN_S):
            if event is None:
                found.pop(key, None)
            else:
                found.setdefault(key, []).append(event)
    return [event for station in found.values() for event in station]


# Artifacts


def _checked(plant: Plant, named: str, chosen: Sequence[Target], threshold: float | None) -> _Checked:
    """Verify an artifact that is named by a folder, by a name below storage.artifacts or by a URL in the store.

    One that lies where scorers do not look is copied to the store. Raises ModelsError or ArtifactError.
    """
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
    return _Checked(manifest, Slot(artifact=_reference(manifest, digest), location=location, threshold=threshold))


def _fits(manifest: Manifest, chosen: Sequence[Target]) -> None:
    others = [target for target in chosen if target.product != manifest.product]
    if others:
        raise ModelsError(
            f"{manifest.name} {manifest.version} is a model of product {manifest.product}, and"
            f" {', '.join(f'{target.key} inspects {target.product}' for target in others)}"
        )


def _plants_slot(plant: Plant, product: str) -> Slot:
    folder = plant.artifact_folder(plant.product(product))
    manifest, digest = read_manifest(folder)
    location = ArtifactStore(plant.storage).location_of(folder)
    if location is None:
        raise ModelsError(f"the plant file's artifact {folder} lies where scorers fetch nothing: move it there first")
    return Slot(artifact=_reference(manifest, digest), location=location)


def _warn_of_another_backbone(
    plant: Plant, chosen: Sequence[Target], state: dict[str, ModelSlots], checked: _Checked, console: Console
) -> None:
    """Say where the network is another one than that of what scores: both must then fit into a scorer's memory."""
    store = ArtifactStore(plant.storage)
    told: set[str] = set()
    for target in chosen:
        event = state.get(target.key)
        slot = None if event is None else event.active
        # What scores now may lie where only scorers reach it: then nothing is said.
        with contextlib.suppress(ArtifactError):
            if slot is None:
                manifest, _ = read_manifest(plant.artifact_folder(plant.product(target.product)))
            else:
                manifest, _ = _manifest_at(store, slot.location)
            name = manifest.backbone.model
            if manifest.backbone.key != checked.manifest.backbone.key and name not in told:
                told.add(name)
                console.print(
                    escape(
                        f"note: {target.key} is scored with {name}, this model needs"
                        f" {checked.manifest.backbone.model} of its own: scorers hold both networks meanwhile, and open"
                        " the new one for some seconds"
                    )
                )


def _manifest_at(store: ArtifactStore, location: str) -> tuple[Manifest, str]:
    with tempfile.TemporaryDirectory(prefix="neverblink-models-") as place:
        return store.manifest(location, Path(place))


def _refusal(manifest: Manifest) -> str | None:
    """Return why a model's retraining refused it, None when it did not, or the model comes from none."""
    return None if manifest.retraining is None else manifest.retraining.refused


def _reference(manifest: Manifest, digest: str) -> ArtifactRef:
    return ArtifactRef(name=manifest.name, version=manifest.version, digest=digest)


# What there is


@dataclass(frozen=True, slots=True)
class _Row:
    """One slot of a station, as it is shown. `scores` says which digest the station's last verdict names."""

    station: str
    product: str
    slot: str
    model: str
    digest: str | None
    threshold: float | None
    by: str
    at: datetime | None
    why: str | None
    scores: str | None

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def run_show(plant: Plant, which: Which, *, seen_s: float, history: bool, as_json: bool, console: Console) -> None:
    """Print what is active and in shadow where, since when, by whom and why; and what the last verdicts name."""
    chosen = targets(plant, lines=which.lines, stations=which.stations, product=which.product)

    async def read() -> tuple[list[ModelSlots], dict[str, ArtifactRef | None]]:
        await ensure_topics(plant.kafka, ("models", "verdicts"))
        return await _history(plant), await _last_scored(plant, seen_s) if seen_s > 0 else {}

    events, scored = asyncio.run(read())
    rows = [row for target in chosen for row in _rows(plant, target, events, scored, history=history)]
    if as_json:
        console.print_json(orjson.dumps([row.as_dict() for row in rows]).decode())
        return
    table = Table("station", "slot", "model", "digest", "threshold", "by", "at", "why", f"last {seen_s:g} s")
    for row in rows:
        at = "" if row.at is None else row.at.astimezone().strftime("%Y-%m-%d %H:%M")
        threshold = "its own" if row.threshold is None else f"{row.threshold:.4g}"
        cells = (row.station, row.slot, row.model, _short(row.digest), threshold, row.by, at, row.why or "")
        table.add_row(*map(escape, cells), row.scores or "")
    console.print(table)


def _rows(
    plant: Plant,
    target: Target,
    events: Sequence[ModelSlots],
    scored: dict[str, ArtifactRef | None],
    *,
    history: bool,
) -> list[_Row]:
    own = [event for event in events if event.key == target.key]
    shown: list[ModelSlots | None] = [*own] if history and own else [own[-1] if own else None]
    rows: list[_Row] = []
    for event in shown:
        active, shadow = (None, None) if event is None else (event.active, event.shadow)
        slots = [("active", active)] + ([] if shadow is None else [("shadow", shadow)])
        for name, slot in slots:
            model, digest = _plants_model(plant, target) if slot is None else _slots_model(slot)
            is_now = name == "active" and event is shown[-1]
            rows.append(
                _Row(
                    target.key,
                    target.product,
                    name,
                    model,
                    digest,
                    None if slot is None else slot.threshold,
                    "plant file" if event is None else event.by,
                    None if event is None else event.at,
                    None if event is None else event.why,
                    _scores(target, digest, scored) if is_now else None,
                )
            )
    return rows


def _slots_model(slot: Slot) -> tuple[str, str]:
    return f"{slot.artifact.name} {slot.artifact.version}", slot.artifact.digest


def _plants_model(plant: Plant, target: Target) -> tuple[str, str | None]:
    try:
        manifest, digest = read_manifest(plant.artifact_folder(plant.product(target.product)))
    except ArtifactError as error:
        return f"plant file's, which cannot be read: {error}", None
    return f"{manifest.name} {manifest.version} (plant file's)", digest


def _scores(target: Target, digest: str | None, scored: dict[str, ArtifactRef | None]) -> str | None:
    """Say whether the station's last verdict names what should score it."""
    if target.key not in scored:
        return "no verdict"
    found = scored[target.key]
    if found is None:
        return "not scored"
    return (
        "scored by it" if found.digest == digest else f"SCORED BY {found.name} {found.version} {_short(found.digest)}"
    )


async def _last_scored(plant: Plant, seen_s: float) -> dict[str, ArtifactRef | None]:
    """Return which artifact the last verdict of each station names, of the last `seen_s` seconds; None: unscored."""
    found: dict[str, ArtifactRef | None] = {}
    async with EventConsumer(plant.kafka, Verdict.TOPIC, client_id=_CLIENT) as consumer:
        await consumer.seek_to_time(datetime.now(UTC) - timedelta(seconds=seen_s))
        ends = await consumer.ends()
        # A plant whose verdicts take longer to read is told about what was read.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_VERDICTS_WITHIN_S):
                while any(at < ends[place] for place, at in (await consumer.positions()).items()):
                    for record in await consumer.poll():
                        with contextlib.suppress(EventError):
                            verdict, _ = record.read(Verdict)
                            found[f"{verdict.line}/{verdict.station}"] = verdict.artifact
    return found


def _named(slot: Slot | None, nothing: str = "the plant file's") -> str:
    if slot is None:
        return nothing
    edited = "" if slot.threshold is None else f" at threshold {slot.threshold:.4g}"
    return f"{slot.artifact.name} {slot.artifact.version}{edited}"


def _short(digest: str | None) -> str:
    return "" if digest is None else digest.removeprefix("sha256:")[:12]
