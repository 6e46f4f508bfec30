"""A day and more of a plant with two lines, as the events that its records, its topics and its console know of it.

Everything ends at an instant of the caller's; the same seed gives the same day.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from neverblink import __version__
from neverblink.events import (
    Actuation,
    Alarm,
    ArtifactRef,
    BoundingBox,
    Decision,
    Defect,
    DriftAlert,
    DriftReport,
    Event,
    GateAction,
    Identity,
    Judgement,
    Outcome,
    Quality,
    RegionScore,
    Review,
    ShadowVerdict,
    Times,
    Tracking,
    Verdict,
)
from neverblink.events.alarm import CLEARED, RAISED
from neverblink.events.drift import AlertStage, Distribution, DriftState
from neverblink.events.identity import (
    actuation_id,
    alarm_id,
    alarm_stage_id,
    derived_id,
    shadow_verdict_id,
    verdict_id,
)
from neverblink.events.service_report import Amiss, CertificateEnd, DiskSpace, ServiceReport

PRODUCTS = {"line-1": "pcb", "line-2": "disc"}
STATIONS = {"line-1": ("top", "side"), "line-2": ("top",)}
SIDE = 352
"""Pixels of each picture's sides."""

TYPES = {
    "pcb": (("solder_bridge", "assembly", 6), ("missing_component", "assembly", 4), ("scratch", "surface", 3),
            ("hair", "foreign-object", 2), ("chipped_edge", "structural", 1)),
    "disc": (("scratch", "surface", 6), ("stain", "surface", 4), ("dent", "surface", 2),
             ("swarf", "foreign-object", 1)),
}  # fmt: skip
"""Each product's defects: type, taxonomy, and how often it is found."""

EPOCH = 7
DRAWN = 3
"""Pictures of each defect: parts share them, by their numbers."""

MIDDLE = BoundingBox(x=146, y=156, width=60, height=40)
"""Where a good part that is rejected looks odd."""

Boxes = Mapping[tuple[str, str, int], BoundingBox]
"""Where a defect lies, by product, type and which of its pictures it is."""

_DEADLINE_MS = 1730
_MS = timedelta(milliseconds=1)
_PEOPLE = ("ann", "ben", "eve")


@dataclass(frozen=True, slots=True)
class Model:
    """What scores a product since an instant: the artifact, and its threshold."""

    artifact: ArtifactRef
    threshold: float
    since: datetime


@dataclass(frozen=True, slots=True)
class Shape:
    """How much there is: so many hours of a part each `every_s` on both lines, the last minutes faster."""

    hours: float = 26.0
    every_s: float = 45.0
    last_minutes: float = 6.0
    last_every_s: float = 4.0
    seed: int = 20


@dataclass(frozen=True, slots=True)
class SeededPart:
    """One part with all its events; `found` is the type of the defect that rejected it."""

    verdicts: tuple[Verdict, ...]
    acts: tuple[Actuation, ...]
    review: Review | None
    found: str | None
    holds_picture: bool

    @property
    def events(self) -> tuple[Event, ...]:
        """Return them in the order of time."""
        return (*self.verdicts, *self.acts, *(() if self.review is None else (self.review,)))


def parts_of(
    shape: Shape, end: datetime, models: Mapping[str, Sequence[Model]], boxes: Boxes | None = None
) -> list[SeededPart]:
    """Return the parts of both lines in the order of time; `models` are those of each product, the first first.

    `boxes` are where the defects lie in the pictures that will be kept.
    """
    draw = random.Random(shape.seed)
    begin = end - timedelta(hours=shape.hours)
    found = []
    for line in PRODUCTS:
        number, at = 100_000, begin + timedelta(seconds=draw.uniform(0, 10))
        while at < end - timedelta(seconds=3):
            number += 1
            found.append(_part(draw, line, number, at, end, models[PRODUCTS[line]], boxes or {}))
            fast = end - at < timedelta(minutes=shape.last_minutes)
            at += timedelta(seconds=(shape.last_every_s if fast else shape.every_s) * draw.uniform(0.96, 1.04))
    return sorted(found, key=lambda one: one.verdicts[0].times.captured)


def _part(
    draw: random.Random, line: str, number: int, at: datetime, end: datetime, models: Sequence[Model], boxes: Boxes
) -> SeededPart:
    product = PRODUCTS[line]
    model = [one for one in models if one.since <= at][-1]
    ago = (end - at) / timedelta(hours=1)
    # An afternoon's bad solder bath: line-1 rejects more for two hours.
    defective = draw.random() < (0.11 if line == "line-1" and 7 < ago < 9 else 0.035)
    kind = draw.choices(TYPES[product], [one[2] for one in TYPES[product]])[0] if defective else None
    place = draw.choice(STATIONS[line]) if defective else None
    drawn = draw.random()
    box = None if kind is None else boxes.get((product, kind[0], number % DRAWN))
    verdicts = []
    for position, station in enumerate(STATIONS[line]):
        captured = at + timedelta(milliseconds=240 * position)
        own = kind if station == place else None
        verdicts.append(_verdict(draw, line, station, number, captured, at, model, own, drawn, box))
    decision = max((one.decision for one in verdicts), key=("pass", "unscored", "reject").index)
    holdout = verdicts[0].holdout
    wanted = decision is not Decision.PASS or holdout or any(one.unsure for one in verdicts)
    review = _review(draw, verdicts, decision, kind, end) if wanted else None
    found = None if kind is None else kind[0]
    return SeededPart(tuple(verdicts), tuple(_acts(draw, line, number, at, decision, verdicts)), review, found, wanted)


def _verdict(
    draw: random.Random,
    line: str,
    station: str,
    number: int,
    captured: datetime,
    triggered: datetime,
    model: Model,
    kind: tuple[str, str, int] | None,
    drawn: float,
    where: BoundingBox | None,
) -> Verdict:
    frame = derived_id("seeded-frame", line, station, number, captured.isoformat())
    late = drawn < 0.002
    blurred = 0.002 <= drawn < 0.004 and station == "top"
    good = draw.uniform(1.01, 1.15) if draw.random() < 0.006 else min(draw.lognormvariate(-0.62, 0.14), 0.99)
    ratio = 1.03 + draw.lognormvariate(-0.9, 0.7) if kind else good
    decision = Decision.UNSCORED if late or blurred else Decision.REJECT if ratio > 1 else Decision.PASS
    scored = captured + timedelta(milliseconds=draw.gauss(92, 9))
    defects: tuple[Defect, ...] = ()
    if decision is Decision.REJECT:
        name, taxonomy = (kind[0], kind[1]) if kind else ("anomaly", None)
        box = where if kind and where else MIDDLE
        defects = (
            Defect(
                type=name, taxonomy=taxonomy, bbox=box, area_px=box.width * box.height // 2, area_mm2=None,
                confidence=round(draw.uniform(0.71, 0.99), 2) if kind else None, peak=ratio * 1.4,
                source="classifier" if kind else "patchcore", seen_by=("patchcore",),
            ),
        )  # fmt: skip
    regions = _regions(number, ratio, model, kind) if line == "line-1" and decision is not Decision.UNSCORED else ()
    if regions and defects:
        worst = max(regions, key=lambda one: one.ratio)
        defects = (defects[0].model_copy(update={"region": worst.name}),)
    light = 0.452 - (0.03 if line == "line-2" else 0.0)
    return Verdict(
        id=verdict_id(frame), frame_id=frame, line=line, station=station, product=PRODUCTS[line],
        part=f"{EPOCH}-{number}", seq=number, tracking=Tracking(epoch=EPOCH, number=number), decision=decision,
        reason="late" if late else "blurred" if blurred else "defect" if kind else "anomaly" if defects else None,
        score=None if decision is Decision.UNSCORED else ratio * model.threshold,
        threshold=None if decision is Decision.UNSCORED else model.threshold,
        ratio=None if decision is Decision.UNSCORED else ratio,
        artifact=None if decision is Decision.UNSCORED else model.artifact, defects=defects, regions=regions,
        quality=Quality(
            brightness=draw.gauss(light, 0.004), contrast=0.17, sharpness=draw.gauss(180, 6), saturation=0.002
        ),
        times=Times(
            captured=captured, published=captured + 4 * _MS, received=captured + 9 * _MS, batched=captured + 14 * _MS,
            scored=scored, emitted=scored + 3 * _MS,
        ),
        deadline=triggered + timedelta(milliseconds=_DEADLINE_MS), late=late,
        unsure=decision is Decision.PASS and ratio > 0.8, holdout=0.3 < drawn < 0.33, holdout_share=0.03,
        identity=_identity(line, number),
    )  # fmt: skip


def _regions(number: int, ratio: float, model: Model, kind: tuple[str, str, int] | None) -> tuple[RegionScore, ...]:
    """Return what a board's named regions say: one of them has the verdict's score."""
    draw = random.Random(number)
    missing = kind is not None and kind[0] == "missing_component"
    first = "capacitor-3" if missing else draw.choice(("connector", "rest"))
    found = []
    for name, check in (("connector", False), ("capacitor-3", True), ("screw-2", True), ("rest", False)):
        own = ratio if name == first else min(ratio, draw.uniform(0.2, 0.75))
        state = None if not check else "absent" if own > 1 else "present"
        what = "presence" if check else "judged"
        found.append(
            RegionScore(
                name=name, kind=what, score=own * model.threshold, threshold=model.threshold, ratio=own, state=state
            )
        )
    return tuple(found)


def shadow_verdicts(parts: Sequence[SeededPart], challenger: Model, line: str, station: str) -> list[ShadowVerdict]:
    """Return what a model in shadow says of a station's parts: mostly the same, and of a few good rejects otherwise."""
    draw = random.Random(4)
    found = []
    for part in parts:
        for one in part.verdicts:
            if (one.line, one.station) != (line, station) or one.times.captured < challenger.since:
                continue
            # It lets more good parts pass, and is less sure of some defects.
            nearer = (
                1.0 if part.found else 0.9 if one.decision is Decision.REJECT else draw.choice((1.0,) * 150 + (2.1,))
            )
            ratio = None if one.ratio is None else one.ratio * nearer * draw.gauss(0.98, 0.06)
            decision = Decision.UNSCORED if ratio is None else Decision.REJECT if ratio > 1 else Decision.PASS
            reason = {Decision.PASS: None, Decision.REJECT: "anomaly", Decision.UNSCORED: one.reason}[decision]
            said = one.model_dump(include={
                "frame_id", "line", "station", "product", "part", "seq", "tracking", "quality", "times", "deadline",
                "identity",
            })  # fmt: skip
            said |= {"id": shadow_verdict_id(one.frame_id, challenger.artifact.digest, "shadow-model")}
            said |= {"cause": "shadow-model", "decision": decision, "reason": reason, "ratio": ratio}
            if ratio is not None:
                said |= {"score": ratio * challenger.threshold, "threshold": challenger.threshold}
                said |= {"artifact": challenger.artifact}
            found.append(ShadowVerdict.model_validate(said))
    return found


def _identity(line: str, number: int) -> Identity:
    letter = "P" if line == "line-1" else "D"
    return Identity(
        order=f"47{number // 900 % 100:02}", lot=f"{letter}{number // 300}", serial=f"SN-{letter}{number:07}",
        carrier=f"tray-{number % 24:02}", attributes={"press": str(number % 3 + 1)},
    )  # fmt: skip


def _acts(
    draw: random.Random, line: str, number: int, at: datetime, decision: Decision, verdicts: Sequence[Verdict]
) -> Iterator[Actuation]:
    took = draw.gauss(131, 12) + 240 * (len(verdicts) - 1)
    due = at + timedelta(milliseconds=_DEADLINE_MS)
    late = any(one.late for one in verdicts)
    took = _DEADLINE_MS + draw.uniform(5, 60) if late else took
    passed = decision is Decision.PASS
    same: dict[str, Any] = {
        "line": line, "part": f"{EPOCH}-{number}", "tracking": Tracking(epoch=EPOCH, number=number),
        "identity": _identity(line, number), "deadline": due, "verdicts": tuple(one.id for one in verdicts),
        "decision": decision, "code": 1 if passed else 2, "attempts": 1,
    }  # fmt: skip
    yield Actuation(
        id=actuation_id(line, EPOCH, number, f"told-{at.isoformat()}"), stage="told", at=at + took * _MS,
        outcome=Outcome.LATE if late else Outcome.CONFIRMED, slack_ms=_DEADLINE_MS - took, trigger_to_told_ms=took,
        **same,
    )  # fmt: skip
    stopped = draw.random() < 0.0015
    gate = (
        GateAction.FAIL_SAFE if late or (passed and stopped) else GateAction.PASSED if passed else GateAction.REJECTED
    )
    yield Actuation(
        id=actuation_id(line, EPOCH, number, f"gate-{at.isoformat()}"), stage="gate", gate=gate,
        at=at + timedelta(milliseconds=2004), **same,
    )  # fmt: skip


def _review(
    draw: random.Random,
    verdicts: Sequence[Verdict],
    decision: Decision,
    kind: tuple[str, str, int] | None,
    end: datetime,
) -> Review | None:
    about = next((one for one in verdicts if one.decision is decision and (one.unsure or not kind)), verdicts[0])
    about = next((one for one in verdicts if one.decision is Decision.REJECT), about)
    at = about.times.captured + timedelta(minutes=draw.uniform(25, 70))
    if at > end or draw.random() < 0.08:
        return None
    truly = kind is not None and draw.random() < 0.93
    undecided = draw.random() < 0.02
    judgement = Judgement.INCONCLUSIVE if undecided else Judgement.DEFECT if truly else Judgement.NORMAL
    return Review(
        id=derived_id("seeded-review", about.id), verdict=about.id, frame_id=about.frame_id, line=about.line,
        station=about.station, product=about.product, part=about.part, judgement=judgement,
        defect_type=kind[0] if kind is not None and judgement is Judgement.DEFECT else None,
        reviewer=draw.choice(_PEOPLE), at=at, identity=about.identity,
        comment="dust, wiped off" if judgement is Judgement.NORMAL and draw.random() < 0.2 else None,
    )  # fmt: skip


def drift_reports(end: datetime, hours: int, models: Mapping[str, Sequence[Model]]) -> list[DriftReport]:
    """Return a report of each station and hour; the light of line-2 falls, and says so since three hours."""
    draw = random.Random(3)
    found = []
    whole = end.replace(minute=0, second=0, microsecond=0)
    moments = [whole - timedelta(hours=back) for back in range(hours, -1, -1)]
    for opened, closed in pairwise(moments):
        ago = (whole - closed) / timedelta(hours=1)
        for line, stations in STATIONS.items():
            model = [one for one in models[PRODUCTS[line]] if one.since <= opened]
            if not model:
                continue
            fallen = max(0.0, 10 - ago) * 0.004 if line == "line-2" else 0.0
            found += [_report(draw, line, one, opened, closed, model[-1], fallen, alerts=ago == 3) for one in stations]
    return found


def _report(
    draw: random.Random,
    line: str,
    station: str,
    opened: datetime,
    closed: datetime,
    model: Model,
    fallen: float,
    *,
    alerts: bool,
) -> DriftReport:
    def spread(mean: float, deviation: float) -> Distribution:
        mean += draw.gauss(0, deviation / 6)
        return Distribution(
            count=77, mean=mean, deviation=deviation, minimum=mean - 3 * deviation, maximum=mean + 3 * deviation
        )

    alert = DriftAlert(
        id=derived_id("seeded-alert", line, station), signal="brightness", stage=AlertStage.RAISED,
        severity=DriftState.WATCH, since=opened - timedelta(hours=6), raised=closed, at=closed,
        artifact=model.artifact.digest, expected=0.422, found=0.422 - fallen, level=1.2,
        change=f"brightness fell 6.6 % (from 0.422 to 0.394) since {opened - timedelta(hours=6):%Y-%m-%d %H:%M}",
        cause="the light: lamps age or are dirty, or the exposure was changed",
        next_step="check lighting, lens and exposure before retraining: a model that is fitted to bad light only hides"
        " it",
    )  # fmt: skip
    told = alerts and fallen > 0
    return DriftReport(
        id=derived_id("seeded-drift", line, station, opened.isoformat()), line=line, station=station,
        product=PRODUCTS[line], artifact=model.artifact.digest, opened=opened, closed=closed, passed=77, rejected=3,
        unscored={}, pass_ratio=spread(0.55 + 2 * fallen, 0.07), brightness=spread(0.452 - fallen, 0.004),
        contrast=spread(0.17, 0.004), sharpness=spread(180, 6), saturation=spread(0.002, 0.0004),
        inference_ms=spread(78, 7), rejected_by_reason={"defect": 2, "anomaly": 1}, alerts=(alert,) if told else (),
        state=DriftState.WATCH if fallen > 0.025 else DriftState.STEADY,
        expected={
            "pass-ratio": 0.55, "brightness": 0.452, "contrast": 0.17, "sharpness": 180.0, "saturation": 0.002,
            "inference": 78.0,
        },
        levels={"pass-ratio": 20 * fallen, "brightness": 40 * fallen, "contrast": 0.1, "sharpness": 0.2},
    )  # fmt: skip


def alarms(end: datetime) -> list[Alarm]:
    """Return one alarm that was cleared long ago, and one of line-1 that is open."""
    long_ago, lately = end - timedelta(hours=15), end - timedelta(minutes=34)
    return [
        _alarm(long_ago, RAISED, long_ago, "bridge-07"),
        _alarm(long_ago, CLEARED, long_ago + timedelta(minutes=22), "bridge-07"),
        _alarm(lately, RAISED, lately, "scratch-02"),
    ]


def service_reports(end: datetime) -> list[ServiceReport]:
    """Return how the services of the plant do: one of line-2's bridges cannot reach its PLC, a disk fills up."""
    cameras = [_service(end, "camera", f"cell-{line[-1]}", line, free=0.41) for line in PRODUCTS]
    away = Amiss(part="line-2", why="the PLC takes no connection: is it switched on, and the endpoint right?")
    month = CertificateEnd(what="line-1 to its PLC", ends=end + timedelta(days=26))
    return [
        *cameras,
        _service(end, "scorer", "vision-1", "gpu-0", behind_s=0.1, free=0.55),
        _service(end, "bridge", "cell-1", "line-1", behind_s=0.0, certificates=(month,), free=0.62),
        _service(end, "bridge", "cell-2", "line-2", behind_s=0.0, state="partly", amiss=(away,), free=0.62),
        _service(end, "drift", "plant-1", "drift", behind_s=1.2, free=0.07),
        _service(end, "ledger", "plant-1", "ledger", behind_s=0.4, free=0.07),
    ]


def _service(end: datetime, service: str, host: str, instance: str, *, free: float, **more: Any) -> ServiceReport:
    whole = 512_000_000_000
    disk = DiskSpace(folder="/var/lib/neverblink", free_bytes=int(whole * free), total_bytes=whole)
    settings: dict[str, Any] = {"state": "works", "every_s": 600.0, "version": __version__, "disks": (disk,), **more}
    if instance in PRODUCTS:
        settings["lines"] = (instance,)
    return ServiceReport(
        id=derived_id("service-report", service, host, instance, end.isoformat()),
        service=service, host=host, instance=instance, started=end - timedelta(days=3), at=end, **settings,
    )  # fmt: skip


def _alarm(came: datetime, stage: str, at: datetime, reference: str) -> Alarm:
    alarm = alarm_id("challenge-missed", "line-1", reference, came.isoformat())
    return Alarm(
        id=alarm_stage_id(alarm, stage), alarm=alarm, line="line-1", kind="challenge-missed", stage=stage,
        severity="act", since=came, at=at, subject={"reference": reference, "decision": "pass"},
        what=f"reference part {reference} (a fine scratch) passed line-1 ({EPOCH}-101899, at 0.81 of the threshold)",
        cause="the model, its threshold or the picture no longer shows this defect",
        next_step=f"stop releasing parts of line-1 unseen, look at its picture, and send {reference} again",
    )  # fmt: skip
