"""What was changed of a station's models, one entry a change, the newest first: of the ledger and of the topic."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from neverblink.events import ModelSlots, Slot
from neverblink.records.questions.models.changes import KeptChange

Kind = Literal["model", "threshold", "shadow", "unshadow", "promoted", "same"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A change: what scored before and what since, what is in shadow since. `kinds` say what differs.

    `before` None: nothing is known of it; `active` or `was` None: the plant file's artifact.
    """

    id: str
    at: datetime
    by: str
    why: str | None
    kinds: tuple[Kind, ...]
    active: Slot | None
    shadow: Slot | None
    was: Slot | None
    is_first: bool


def history(kept: Iterable[KeptChange], heard: Iterable[ModelSlots]) -> tuple[Entry, ...]:
    """Return all changes that either knows of, the newest first."""
    known = {one.id: one for one in kept}
    for event in heard:
        known.setdefault(
            event.id,
            KeptChange(event.id, event.product, event.active, event.shadow, event.by, event.why, event.at),
        )
    ordered = sorted(known.values(), key=lambda one: (one.at, one.id))
    found: list[Entry] = []
    before: KeptChange | None = None
    for one in ordered:
        found.append(
            Entry(
                one.id, one.at, one.by, one.why, _kinds(before, one), one.active, one.shadow,
                None if before is None else before.active, before is None,
            )
        )  # fmt: skip
        before = one
    return tuple(reversed(found))


def _kinds(before: KeptChange | None, now: KeptChange) -> tuple[Kind, ...]:
    found: list[Kind] = []
    was_active, was_shadow = (None, None) if before is None else (before.active, before.shadow)
    if _digest(was_active) != _digest(now.active):
        promoted = _digest(now.active) is not None and _digest(now.active) == _digest(was_shadow)
        found.append("promoted" if promoted else "model")
    elif _threshold(was_active) != _threshold(now.active):
        found.append("threshold")
    if _digest(was_shadow) != _digest(now.shadow) and "promoted" not in found:
        found.append("unshadow" if now.shadow is None else "shadow")
    return tuple(found) or ("same",)


def _digest(slot: Slot | None) -> str | None:
    return None if slot is None else slot.artifact.digest


def _threshold(slot: Slot | None) -> float | None:
    return None if slot is None else slot.threshold
