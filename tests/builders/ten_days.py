"""Simulated days of a plant, with what is true of them: counted here from the parts themselves, by other means.

Two lines: one whose PLC begins each day at the same epoch and number (what old ledgers hold), with two stations, and
one without a PLC. Words are told and gates act for most parts; people answer, correct themselves and take words back.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from neverblink.events import (
    Actuation,
    ArtifactRef,
    BoundingBox,
    Decision,
    Defect,
    Event,
    GateAction,
    Identity,
    Outcome,
    Review,
    Times,
    Tracking,
    Verdict,
)
from neverblink.records.columns import table_of
from neverblink.records.database import Database
from neverblink.records.part_tables import RollupRow, WordRollupRow

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
DIGESTS = ("sha256:" + "a" * 64, "sha256:" + "b" * 64)

_KEY = ("hour", "shift", "line", "station", "product", "artifact_digest", "lot")

Counts = dict[tuple[Any, ...], dict[str, int]]
Words = dict[tuple[Any, ...], int]


def shift_at(moment: datetime) -> str:
    """Return early, late or night, in hours of UTC."""
    return "early" if 6 <= moment.hour < 14 else "late" if 14 <= moment.hour < 22 else "night"


@dataclass
class SimulatedPart:
    """One part, and all events of it."""

    line: str
    triggered: datetime
    lot: str | None
    verdicts: list[Verdict] = field(default_factory=list)
    told: Actuation | None = None
    gate: Actuation | None = None
    reviews: list[Review] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        """Return its events in the order in which they happen."""
        acts = [one for one in (self.told, self.gate) if one is not None]
        return [*self.verdicts, *acts, *self.reviews]


def simulated_days(seed: int, days: int, parts_a_day: int, *, named: bool = True) -> list[SimulatedPart]:
    """Return the parts of so many days, the same for the same seed; not `named` ones have no lot."""
    chance = random.Random(seed)
    found = []
    for day in range(days):
        for number in range(parts_a_day):
            # The last parts of a day are at the gate before the next day's first, even if the belt stood still.
            at = MONDAY + day * DAY + timedelta(seconds=chance.uniform(0, 64_000))
            found.append(_tracked(chance, day, number, at, named))
            if number % 3 == 0:
                found.append(_untracked(chance, day, number, at))
    return found


def _tracked(chance: random.Random, day: int, number: int, at: datetime, named: bool) -> SimulatedPart:
    lot = f"lot-{number % 3}" if named and chance.random() < 0.7 else None
    part = SimulatedPart("line-1", at, lot)
    place = Tracking(epoch=1, number=number)
    name = f"{day}-{number}"
    # Of some parts only the PLC knows: its camera was off.
    stations = ("top", "side") if chance.random() < 0.9 else ()
    # A slow part is minutes on its way: until the PLC's word is known, its two ends look like two parts.
    slow = number % 4 == 1
    for position, station in enumerate(stations):
        captured = at + timedelta(seconds=(150 if slow else 0.3) * position)
        part.verdicts.append(_verdict(chance, "line-1", station, name, captured, lot, place))
    identity = Identity(lot=lot) if lot else None
    if chance.random() < 0.9 or slow or not stations:
        part.told = Actuation(
            id=f"told-{name}", line="line-1", part=f"1/{number}", tracking=place, stage="told",
            outcome=chance.choice(list(Outcome)), at=at + timedelta(milliseconds=700), trigger_to_told_ms=700.0,
            deadline=at + timedelta(seconds=160 if slow else 2), identity=identity,
        )  # fmt: skip
    # While the belt stands still no gate acts.
    stood = timedelta(hours=chance.uniform(0.1, 6)) if number % 5 == 2 else timedelta()
    if chance.random() < 0.9:
        part.gate = Actuation(
            id=f"gate-{name}", line="line-1", tracking=place, stage="gate", gate=chance.choice(list(GateAction)),
            at=at + stood + timedelta(seconds=161 if slow else 3), incident=chance.random() < 0.1, identity=identity,
        )  # fmt: skip
    _judge(chance, part)
    return part


def _untracked(chance: random.Random, day: int, number: int, at: datetime) -> SimulatedPart:
    part = SimulatedPart("line-2", at, None)
    # The bench names its parts alike every day.
    part.verdicts.append(_verdict(chance, "line-2", "bench", f"run/{number}", at, None, None, key=f"{day}-{number}"))
    _judge(chance, part)
    return part


def _verdict(
    chance: random.Random, line: str, station: str, part: str, captured: datetime, lot: str | None,
    place: Tracking | None, key: str | None = None,
) -> Verdict:  # fmt: skip
    decision = chance.choices(list(Decision), (8, 3, 1))[0]
    scored = decision is not Decision.UNSCORED
    kinds = chance.choices(("scratch", "dent", "stain"), k=chance.randint(0, 2)) if scored else []
    box = BoundingBox(x=0, y=0, width=2, height=2)
    return Verdict(
        id=f"v-{line}-{station}-{key or part}", frame_id=f"f-{line}-{station}-{key or part}", line=line,
        station=station, product="pcb" if line == "line-1" else "disc", part=part, seq=1, tracking=place,
        decision=decision, reason={Decision.REJECT: "anomaly", Decision.UNSCORED: "late"}.get(decision),
        score=1.0 if scored else None, threshold=2.0 if scored else None, ratio=0.5 if scored else None,
        artifact=ArtifactRef(name="m", version="1", digest=chance.choice(DIGESTS)) if scored else None,
        defects=tuple(Defect(type=kind, bbox=box, area_px=4) for kind in kinds),
        times=Times(captured=captured), deadline=captured + timedelta(seconds=2), late=decision is Decision.UNSCORED,
        holdout=chance.random() < 0.1, challenge=chance.random() < 0.1,
        unsure=decision is Decision.PASS and chance.random() < 0.2, identity=Identity(lot=lot) if lot else None,
    )  # fmt: skip


def _judge(chance: random.Random, part: SimulatedPart) -> None:
    for verdict in part.verdicts:
        answers = chance.choices((0, 1, 2, 3), (6, 3, 2, 1))[0]
        for round_of in range(answers):
            withdrawn = round_of > 0 and chance.random() < 0.3
            part.reviews.append(
                Review(
                    id=f"r-{verdict.id}-{round_of}",
                    verdict=verdict.id,
                    frame_id=verdict.frame_id,
                    line=verdict.line,
                    station=verdict.station,
                    product=verdict.product,
                    part=verdict.part,
                    judgement="inconclusive" if withdrawn else chance.choice(("normal", "defect", "inconclusive")),
                    reviewer=chance.choice(("ann", "bob")),
                    withdrawn=withdrawn,
                    at=part.triggered + timedelta(hours=1, minutes=round_of),
                )
            )


def true_counts(parts: Sequence[SimulatedPart]) -> tuple[Counts, Words]:
    """Return what the rollups and the words must hold, by key."""
    counts: dict[tuple[Any, ...], Counter[str]] = {}
    words: Counter[tuple[Any, ...]] = Counter()
    for part in parts:
        hour = part.triggered.replace(minute=0, second=0, microsecond=0)
        place = (hour, shift_at(part.triggered), part.line)
        groups = [("", part.verdicts), *((one.station, [one]) for one in part.verdicts)]
        for station, verdicts in groups:
            deciding = _deciding(verdicts)
            digest = deciding.artifact.digest if deciding and deciding.artifact else ""
            product = (deciding if station else part.verdicts[0]).product if deciding else ""
            key = (*place, station, product, digest, part.lot or "")
            counts.setdefault(key, Counter()).update(_true_numbers(part, station, verdicts, deciding))
            if deciding is not None and deciding.reason is not None:
                words[*key, "reason", deciding.decision.value, deciding.reason] += 1
            for verdict in verdicts:
                for defect in verdict.defects:
                    words[*key, "defect", verdict.decision.value, defect.type] += 1
    return {key: dict(found) for key, found in counts.items()}, dict(words)


def counted(database: Database) -> tuple[Counts, Words]:
    """Return what the tables hold."""
    with database.session() as session:
        rows = session.connection().execute(select(table_of(RollupRow))).mappings().all()
        words = session.connection().execute(select(table_of(WordRollupRow))).mappings().all()
    counts = {
        tuple(row[name] for name in _KEY): {name: n for name, n in row.items() if name not in _KEY and n}
        for row in rows
    }
    return counts, {tuple(row[name] for name in (*_KEY, "kind", "decision", "word")): row["count"] for row in words}


def _deciding(verdicts: Sequence[Verdict]) -> Verdict | None:
    for wanted in (Decision.REJECT, Decision.UNSCORED, Decision.PASS):
        for verdict in verdicts:
            if verdict.decision is wanted:
                return verdict
    return None


def _true_numbers(
    part: SimulatedPart, station: str, verdicts: Sequence[Verdict], deciding: Verdict | None
) -> Counter[str]:
    said = Counter({"parts": 1})
    if deciding is not None:
        said[{"pass": "passed", "reject": "rejected", "unscored": "unscored"}[deciding.decision.value]] += 1
        said["unsure"] += deciding.decision is Decision.PASS and any(one.unsure for one in verdicts)
    said["late"] += any(one.late for one in verdicts)
    said["holdouts"] += any(one.holdout for one in verdicts)
    said["challenges"] += any(one.challenge for one in verdicts)
    if not station and part.told is not None and part.told.outcome is not None:
        said[f"told_{part.told.outcome.value}"] += 1
    if not station and part.gate is not None and part.gate.gate is not None:
        said[f"gate_{part.gate.gate.value.replace('-', '_')}"] += 1
        if deciding is not None:
            went, good = part.gate.gate is GateAction.PASSED, deciding.decision is Decision.PASS
            said["escaped"] += went and not good
            said["lost"] += good and not went
    judgements = {_judgement(part, verdict) for verdict in verdicts} - {None}
    if judgements:
        judged = next(word for word in ("defect", "inconclusive", "normal") if word in judgements)
        said["reviewed"] += 1
        said[f"judged_{judged}"] += 1
        if deciding is not None:
            said["false_rejects"] += judged == "normal" and deciding.decision is Decision.REJECT
            said["escapes"] += judged == "defect" and deciding.decision is Decision.PASS
            sure = judged != "inconclusive"
            said["passes_judged"] += sure and deciding.decision is Decision.PASS
            said["rejects_judged"] += sure and deciding.decision is Decision.REJECT
    return Counter({name: number for name, number in said.items() if number})


def _judgement(part: SimulatedPart, verdict: Verdict) -> str | None:
    latest: dict[str, Review] = {}
    for review in part.reviews:  # in the order of their instants
        if review.verdict == verdict.id:
            latest[review.reviewer] = review
    standing = sorted((one for one in latest.values() if not one.withdrawn), key=lambda one: one.at)
    return standing[-1].judgement.value if standing else None
