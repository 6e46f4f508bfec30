"""Parts as a plant makes them, with a plain account of each, and the events that a ledger hears of them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from neverblink.events import (
    Actuation,
    ArtifactRef,
    BoundingBox,
    Decision,
    Defect,
    Event,
    GateAction,
    Judgement,
    Outcome,
    RegionScore,
    Review,
    Times,
    Tracking,
    Verdict,
)
from neverblink.events.identity import actuation_id, derived_id, verdict_id
from neverblink.events.parts import Identity

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one station decided."""

    station: str
    decision: Decision = Decision.PASS
    reason: str | None = None
    defects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MadePart:
    """What became of one part."""

    line: str
    number: int
    product: str
    triggered: datetime
    seen: tuple[Seen, ...]
    order: str
    lot: str
    serial: str
    carrier: str
    gate: GateAction = GateAction.PASSED
    judgement: Judgement | None = None
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def decision(self) -> Decision:
        """Return the worst of the stations."""
        order = (Decision.REJECT, Decision.UNSCORED, Decision.PASS)
        return min((one.decision for one in self.seen), key=order.index)

    @property
    def reason(self) -> str | None:
        """Return why."""
        return next(one.reason for one in self.seen if one.decision is self.decision)

    @property
    def defects(self) -> tuple[str, ...]:
        """Return the types of its defects, of all stations."""
        return tuple(word for one in self.seen for word in one.defects)


def made_parts(count: int, seed: int = 1, begin: datetime = NOON, every_s: float = 97.0) -> list[MadePart]:
    """Return parts of two lines over hours, as a random source decides: line-1 has two stations."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        line = draw.choice(("line-1", "line-2"))
        stations = ("top", "side") if line == "line-1" else ("top",)
        seen = tuple(_seen(draw, station) for station in stations)
        worst = any(one.decision is not Decision.PASS for one in seen)
        found.append(
            MadePart(
                line=line,
                number=number,
                product=draw.choice(("pcb", "disc")),
                triggered=begin + timedelta(seconds=number * every_s),
                seen=seen,
                order=f"order-{number // 40}",
                lot=f"lot-{number // 15}",
                serial=f"SN-{number:06d}",
                carrier=f"carrier-{number % 7}",
                gate=GateAction.REJECTED if worst else draw.choice((GateAction.PASSED,) * 9 + (GateAction.FAIL_SAFE,)),
                judgement=draw.choice((None, None, *Judgement)),
                attributes={"tool": str(number % 3)},
            )
        )
    return found


def _seen(draw: random.Random, station: str) -> Seen:
    decision = draw.choices(list(Decision), (8, 2, 1))[0]
    if decision is Decision.REJECT:
        kinds = draw.sample(("scratch", "dent", "stain"), draw.randint(1, 2))
        return Seen(station, decision, draw.choice(("anomaly", "defect")), tuple(kinds))
    return Seen(station, decision, "late" if decision is Decision.UNSCORED else None)


def events_of(part: MadePart) -> Iterator[Event]:
    """Yield what is heard of a part: verdicts, told, gate, and a review of its first verdict."""
    identity = Identity(
        order=part.order, lot=part.lot, serial=part.serial, carrier=part.carrier, attributes=part.attributes
    )
    tracking = Tracking(epoch=1, number=part.number)
    verdicts = [_verdict(part, place, identity, tracking) for place in range(len(part.seen))]
    yield from verdicts
    told = {"line": part.line, "part": f"1-{part.number}", "tracking": tracking, "identity": identity}
    yield Actuation(
        id=actuation_id(part.line, 1, part.number, "told"), stage="told", decision=part.decision,
        outcome=Outcome.CONFIRMED, at=part.triggered + timedelta(milliseconds=400), slack_ms=1600.0,
        trigger_to_told_ms=400.0, **told,
    )  # fmt: skip
    yield Actuation(
        id=actuation_id(part.line, 1, part.number, "gate"), stage="gate", gate=part.gate,
        at=part.triggered + timedelta(seconds=2), **told,
    )  # fmt: skip
    if part.judgement is not None:
        first = verdicts[0]
        yield Review(
            id=derived_id("review", first.id), verdict=first.id, frame_id=first.frame_id, line=part.line,
            station=first.station, product=part.product, part=first.part, judgement=part.judgement, reviewer="ann",
            at=part.triggered + timedelta(minutes=5),
        )  # fmt: skip


def all_events(parts: Sequence[MadePart], seed: int = 1) -> list[Event]:
    """Return the events of all parts in no order, as topics that lag by different times give them."""
    events = [event for part in parts for event in events_of(part)]
    random.Random(seed).shuffle(events)
    return events


def _verdict(part: MadePart, place: int, identity: Identity, tracking: Tracking) -> Verdict:
    seen, captured = part.seen[place], part.triggered + timedelta(milliseconds=100 * place)
    frame = f"{part.line}-{seen.station}-{part.number}"
    scored = seen.decision is not Decision.UNSCORED
    regions = (
        RegionScore(name="label", kind="judged", score=1.0, threshold=2.0, ratio=0.5),
        RegionScore(name="screw", kind="presence", score=0.4, threshold=2.0, ratio=0.2, state="present"),
    )
    return Verdict(
        id=verdict_id(frame), frame_id=frame, line=part.line, station=seen.station, product=part.product,
        part=f"1-{part.number}", seq=part.number, tracking=tracking, decision=seen.decision, reason=seen.reason,
        score=1.0 if scored else None, threshold=2.0 if scored else None, ratio=0.5 if scored else None,
        artifact=ARTIFACT if scored else None, times=Times(captured=captured),
        deadline=part.triggered + timedelta(seconds=2), late=not scored, identity=identity,
        defects=tuple(
            Defect(type=word, bbox=BoundingBox(x=1, y=2, width=3, height=4), area_px=12, region="label")
            for word in seen.defects
        ),
        regions=regions if scored else (),
    )  # fmt: skip
