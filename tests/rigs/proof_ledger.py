"""A line whose truth is known, as the events that a ledger hears of it: verdicts, holdouts, answers of people."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from neverblink.events import (
    ArtifactRef,
    BoundingBox,
    Decision,
    Defect,
    Event,
    Judgement,
    Review,
    Times,
    Tracking,
    Verdict,
)
from neverblink.events.identity import derived_id, verdict_id
from neverblink.events.parts import Identity

FIRST_MODEL = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)
TYPES = ("scratch", "dent", "stain", "missing-part", "bridge")


@dataclass(frozen=True, slots=True)
class ShownPart:
    """One part of the line. `answer` is what people say of it, None while nobody has; `truth` what it is."""

    number: int
    triggered: datetime
    defective: bool
    decision: Decision
    unsure: bool = False
    holdout: bool = False
    share: float | None = 0.05
    reference: str | None = None
    answer: Judgement | None = None
    defect: str | None = None
    line: str = "line-1"
    product: str = "pcb"
    lot: str = "lot-1"
    model: ArtifactRef = FIRST_MODEL

    def events(self) -> Iterator[Event]:
        """Yield its verdict, and what people said."""
        frame = f"{self.line}-{self.number}"
        defect = (
            Defect(type=self.defect, bbox=BoundingBox(x=1, y=2, width=3, height=4), area_px=12) if self.defect else None
        )
        scored = self.decision is not Decision.UNSCORED
        verdict = Verdict(
            id=verdict_id(frame), frame_id=frame, line=self.line, station="top", product=self.product,
            part=f"1-{self.number}", seq=self.number, tracking=Tracking(epoch=1, number=self.number),
            decision=self.decision, score=1.0 if scored else None,
            threshold=2.0 if scored else None, ratio=0.5 if scored else None, artifact=self.model if scored else None,
            reason={Decision.REJECT: "anomaly", Decision.UNSCORED: "decode-failed"}.get(self.decision),
            times=Times(captured=self.triggered), deadline=self.triggered + timedelta(seconds=2), unsure=self.unsure,
            holdout=self.holdout, holdout_share=self.share, challenge=self.reference is not None,
            reference=self.reference, identity=Identity(lot=self.lot), defects=() if defect is None else (defect,),
        )  # fmt: skip
        yield verdict
        if self.answer is not None:
            yield Review(
                id=derived_id("review", verdict.id), verdict=verdict.id, frame_id=frame, line=self.line, station="top",
                product=self.product, part=verdict.part, judgement=self.answer, reviewer="ann",
                defect_type=self.defect if self.answer is Judgement.DEFECT else None,
                at=self.triggered + timedelta(minutes=30),
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """How the line runs for a while: shares of its parts, or of the defective and the drawn ones."""

    defective: float = 0.02
    found: float = 0.9
    false_rejects: float = 0.008
    unsure: float = 0.004
    held_out: float = 0.05
    answered: float = 0.95
    model: ArtifactRef = FIRST_MODEL


def parts_of(
    running: Running, count: int, begin: datetime, every: timedelta, *, seed: int = 1, first: int = 0
) -> list[ShownPart]:
    """Return parts as a line makes them, one after the other; of 800 one is a reference part."""
    draw = random.Random(seed)
    return [_part(draw, running, first + place, begin + place * every) for place in range(count)]


def _part(draw: random.Random, running: Running, number: int, at: datetime) -> ShownPart:
    reference = f"R{draw.randrange(3)}" if draw.random() < 1 / 800 else None
    defective = reference is not None or draw.random() < running.defective
    rejected = draw.random() < (running.found if defective else running.false_rejects)
    decision = Decision.REJECT if rejected else Decision.UNSCORED if draw.random() < 0.002 else Decision.PASS
    doubted = 0.2 if defective else running.unsure
    unsure = decision is Decision.PASS and draw.random() < doubted
    holdout = draw.random() < running.held_out
    drawn = holdout or unsure or decision is Decision.REJECT
    truth = Judgement.DEFECT if defective else Judgement.NORMAL
    answer = Judgement.INCONCLUSIVE if draw.random() < 0.02 else truth
    answered = drawn and reference is None and draw.random() < running.answered
    kinds = draw.choices(TYPES, (9, 5, 3, 2, 1))[0] if rejected else None
    return ShownPart(
        number, at, defective, decision, unsure, holdout, running.held_out, reference, answer if answered else None,
        kinds, model=running.model, lot=f"lot-{number // 400}",
    )  # fmt: skip


def events_of(parts: Sequence[ShownPart]) -> list[Event]:
    """Return all their events, part after part."""
    return [event for part in parts for event in part.events()]
