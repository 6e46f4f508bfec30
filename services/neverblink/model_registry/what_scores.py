"""What scores which station: what was asked for, and what the last verdicts name."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from neverblink.events import ArtifactRef, EventError, ModelSlots, Slot, Verdict
from neverblink.kafka import EventConsumer, ensure_topics
from neverblink.kafka.topic_span import TopicSpan
from neverblink.model_registry.changes import ModelsError, Target, Which, active_of, targets
from neverblink.model_registry.golden_gate import GoldenGate
from neverblink.model_registry.golden_set import GoldenError, GoldenSet
from neverblink.model_registry.registry import CLIENT, history_of, plants_slot, reference_of
from neverblink.plant import Plant
from neverblink.service_life.time_limit import time_limit
from neverblink.vision.artifact import read_manifest
from neverblink.vision.artifact_manifest import ArtifactError

_VERDICTS_WITHIN_S = 15.0


@dataclass(frozen=True, slots=True)
class Row:
    """One slot of a station, as it is shown. `scores` says which digest the station's last verdict names, `golden` what
    came of the product's golden set, None where it has none.
    """

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
    golden: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


async def what_scores(plant: Plant, which: Which, *, seen_s: float, history: bool = False) -> list[Row]:
    """Return what is active and in shadow where, since when, by whom and why; all stations where none is named.

    With `history`, the changes before that the topic still holds. The verdicts of the last `seen_s` seconds say
    whether scorers score with it; 0 does not ask them. Raises ModelsError, KafkaError.
    """
    chosen = targets(plant, lines=which.lines, stations=which.stations, product=which.product)
    await ensure_topics(plant.kafka, ("models", "verdicts"))
    events = await history_of(plant)
    scored = await _last_scored(plant, seen_s) if seen_s > 0 else {}
    says = _GoldenSays(plant)
    return await asyncio.to_thread(
        lambda: [row for target in chosen for row in _rows(plant, target, events, scored, says, history=history)]
    )


async def scoring_slot(plant: Plant, chosen: Sequence[Target]) -> Slot:
    """Return what scores these stations now: one model for all of them. Raises ModelsError, ArtifactError, KafkaError.

    A threshold that was edited at some of the stations alone is another model here.
    """
    state = {event.key: event for event in await history_of(plant)}
    found: dict[str, Slot] = {}
    for target in chosen:
        active = active_of(state.get(target.key), target)
        if active is None:
            active = await asyncio.to_thread(plants_slot, plant, target.product)
        found[target.key] = active
    slots = list(found.values())
    if any(slot != slots[0] for slot in slots):
        said = ", ".join(f"{key} by {named(slot)}" for key, slot in found.items())
        raise ModelsError(f"the stations are scored by different models ({said}): name fewer, or the champion's folder")
    return slots[0]


async def edited_thresholds(
    plant: Plant, chosen: Sequence[Target], artifact: ArtifactRef
) -> dict[tuple[str, str], float]:
    """Return the thresholds that people have edited, by (line, station), where they have; `artifact` scores them all.

    Raises ModelsError where another artifact scores: its threshold says nothing about this one. ArtifactError,
    KafkaError.
    """
    state = {event.key: event for event in await history_of(plant)}
    found: dict[tuple[str, str], float] = {}
    for target in chosen:
        slot = active_of(state.get(target.key), target)
        scoring = slot.artifact if slot is not None else await asyncio.to_thread(_plants_reference, plant, target)
        if scoring.digest != artifact.digest:
            raise ModelsError(
                f"{target.key} is scored by {scoring.name} {scoring.version} ({short(scoring.digest)}), not by"
                f" {artifact.name} {artifact.version} ({short(artifact.digest)}): the threshold in force there means"
                " nothing for another model; name the one that scores, or judge by the model's own threshold"
            )
        if slot is not None and slot.threshold is not None:
            found[target.line, target.station] = slot.threshold
    return found


def described(event: ModelSlots) -> str:
    """Return a station's state as people read it."""
    return f"{event.key}: active {named(event.active)}, shadow {named(event.shadow, 'none')}"


def named(slot: Slot | None, nothing: str = "the plant file's") -> str:
    """Return a slot's model as people know it."""
    if slot is None:
        return nothing
    edited = "" if slot.threshold is None else f" at threshold {slot.threshold:.4g}"
    return f"{slot.artifact.name} {slot.artifact.version}{edited}"


def short(digest: str | None) -> str:
    """Return as much of a digest as people compare."""
    return "" if digest is None else digest.removeprefix("sha256:")[:12]


def _plants_reference(plant: Plant, target: Target) -> ArtifactRef:
    return reference_of(*read_manifest(plant.artifact_folder(plant.product(target.product))))


def _rows(
    plant: Plant,
    target: Target,
    events: Sequence[ModelSlots],
    scored: dict[str, ArtifactRef | None],
    says: "_GoldenSays",
    *,
    history: bool,
) -> list[Row]:
    own = [event for event in events if event.key == target.key]
    shown: list[ModelSlots | None] = [*own] if history and own else [own[-1] if own else None]
    rows: list[Row] = []
    for event in shown:
        active, shadow = (None, None) if event is None else (event.active, event.shadow)
        slots = [("active", active)] + ([] if shadow is None else [("shadow", shadow)])
        for name, slot in slots:
            model, digest = _plants_model(plant, target) if slot is None else _slots_model(slot)
            is_now = name == "active" and event is shown[-1]
            rows.append(
                Row(
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
                    says.of(target.product, digest, slot, now=is_now),
                )
            )
    return rows


class _GoldenSays:
    """What the golden sets say of what scores; each set is read once."""

    def __init__(self, plant: Plant) -> None:
        self._gate = GoldenGate(plant)
        self._sets: dict[str, GoldenSet] = {}

    def of(self, product: str, digest: str | None, slot: Slot | None, *, now: bool) -> str | None:
        """Say what came of a model; of one that scores `now`, by the set and the rules as they are now."""
        if digest is None or not self._gate.covers(product):
            return None
        ref = None if slot is None else slot.qualification
        then = None if ref is None else f"passed {ref.at:%Y-%m-%d}" if ref.passed else "FAILED, forced"
        if not now:
            return then
        try:
            golden = self._sets.setdefault(product, self._gate.golden(product))
        except GoldenError as error:
            return f"cannot be asked: {error}"
        question = self._gate.question(product, digest, None if slot is None else slot.threshold, golden)
        reports = self._gate.reports(digest)
        if (passing := self._gate.passing(question, reports)) is not None:
            return f"passed {passing.at:%Y-%m-%d}"
        if ref is not None and ref.passed and golden.was(ref.golden):
            return f"{then}, before the set's last changes"
        if self._gate.settings.demands(product):
            return f"NOT FOLLOWED: {self._gate.refusal(question, reports)}"
        failing = self._gate.failing(question, reports)
        return then or ("not judged" if failing is None else f"FAILS: {failing[1]}")


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
    return "scored by it" if found.digest == digest else f"SCORED BY {found.name} {found.version} {short(found.digest)}"


async def _last_scored(plant: Plant, seen_s: float) -> dict[str, ArtifactRef | None]:
    """Return which artifact the last verdict of each station names, of the last `seen_s` seconds; None: unscored."""
    found: dict[str, ArtifactRef | None] = {}
    async with EventConsumer(plant.kafka, Verdict.TOPIC, client_id=CLIENT) as consumer:
        await consumer.seek_to_time(datetime.now(UTC) - timedelta(seconds=seen_s))
        span = TopicSpan(consumer, await consumer.ends())
        # A plant whose verdicts take longer to read is told about what was read.
        with contextlib.suppress(TimeoutError):
            async with time_limit(_VERDICTS_WITHIN_S):
                while records := await span.take():
                    for record in records:
                        with contextlib.suppress(EventError):
                            verdict, _ = record.read(Verdict)
                            found[f"{verdict.line}/{verdict.station}"] = verdict.artifact
    return found
