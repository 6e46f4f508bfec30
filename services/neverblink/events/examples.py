"""One realistic example of every event: the story of one part on one line."""

import hashlib
from base64 import b64decode
from datetime import UTC, datetime, timedelta

from neverblink.events.actuation import Actuation, Outcome
from neverblink.events.alarm import RAISED, Alarm
from neverblink.events.challenge import Challenge
from neverblink.events.claim import Claim
from neverblink.events.context import Context, ContextChange, ContextValues
from neverblink.events.dead_letter import DeadLetter
from neverblink.events.drift import AlertStage, Distribution, DriftAlert, DriftReport, DriftState
from neverblink.events.envelope import Event
from neverblink.events.evidence import Evidence
from neverblink.events.frame import Frame
from neverblink.events.hold import HELD, PEOPLE, Hold
from neverblink.events.identity import (
    actuation_id,
    alarm_id,
    alarm_stage_id,
    challenge_id,
    claim_id,
    context_id,
    derived_id,
    evidence_id,
    hold_id,
    shadow_verdict_id,
    verdict_id,
)
from neverblink.events.model_slots import ModelSlots, PreviousSlots, QualificationRef, Slot
from neverblink.events.parts import (
    ArtifactRef,
    BoundingBox,
    CalibratedScores,
    Decision,
    Defect,
    Identity,
    Quality,
    Times,
    Tracking,
)
from neverblink.events.replay import Replay
from neverblink.events.review import Judgement, Review
from neverblink.events.service_report import Amiss, CertificateEnd, DiskSpace, ServiceReport
from neverblink.events.verdict import ShadowVerdict, Verdict

TRACE = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}

_CAPTURED = datetime(2026, 3, 2, 6, 14, 9, 250000, tzinfo=UTC)
_DEADLINE = _CAPTURED + timedelta(milliseconds=1730)
_FRAME = "019cad5d-4232-7c4b-9a50-5d1f0e2b7a31"
_VERDICT = verdict_id(_FRAME)
_PART, _TRACKING = "3-48211", Tracking(epoch=3, number=48211)


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


_ACTIVE = ArtifactRef(name="pcb", version="3", digest=_digest("pcb-3"))
_CHALLENGER = ArtifactRef(name="pcb", version="4", digest=_digest("pcb-4"))
_IDENTITY = Identity(
    order="4711", lot="L42", serial="SN-0048211", recipe="pcb-fine", carrier="tray-17", attributes={"press": "3"}
)
_LOT = Identity(order="4711", lot="L42", recipe="pcb-fine")
_QUALITY = Quality(brightness=0.41, contrast=0.17, sharpness=182.5, saturation=0.002)

# One grey pixel: an image in 67 bytes.
_PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")


def examples() -> tuple[Event, ...]:
    """Return one example of every event, the same ones every time."""
    return (
        _frame(),
        _verdict(),
        _shadow_verdict(),
        _evidence(),
        _actuation(),
        _review(),
        _claim(),
        _drift_report(),
        _model_slots(),
        _context(),
        _context_change(),
        _challenge(),
        _alarm(),
        _hold(),
        _replay(),
        _service_report(),
        _dead_letter(),
    )


def _after(milliseconds: float) -> datetime:
    return _CAPTURED + timedelta(milliseconds=milliseconds)


def _times(scored_ms: float, emitted_ms: float) -> Times:
    return Times(
        captured=_CAPTURED,
        published=_after(9.4),
        received=_after(21.8),
        batched=_after(26.1),
        scored=_after(scored_ms),
        emitted=_after(emitted_ms),
    )


def _frame() -> Frame:
    return Frame(
        id=_FRAME,
        content_type="image/png",
        body=_PNG,
        line="line-1",
        station="top",
        product="pcb",
        part=_PART,
        seq=48211,
        captured=_CAPTURED,
        published=_after(9.4),
        deadline=_DEADLINE,
        epoch=_TRACKING.epoch,
        number=_TRACKING.number,
        sha256=hashlib.sha256(_PNG).hexdigest(),
        size=len(_PNG),
        identity=_IDENTITY,
        holdoutshare=0.01,
        **_QUALITY.model_dump(),
    )


def _verdict() -> Verdict:
    scratch = Defect(
        type="scratch",
        taxonomy="surface",
        bbox=BoundingBox(x=312, y=118, width=64, height=21),
        area_px=655,
        area_mm2=4.19,
        confidence=0.97,
        peak=4.02,
        source="classifier",
        seen_by=("unet", "patchcore"),
    )
    return Verdict(
        id=_VERDICT,
        frame_id=_FRAME,
        line="line-1",
        station="top",
        product="pcb",
        part=_PART,
        seq=48211,
        tracking=_TRACKING,
        decision=Decision.REJECT,
        reason="anomaly",
        detail="one region is unlike every good part",
        score=4.02,
        threshold=2.75,
        ratio=1.4618,
        artifact=_ACTIVE,
        calibrated=CalibratedScores(count=299, quantiles=(0.4314, 0.4921, 0.5406, 0.5983, 0.6917)),
        defects=(scratch,),
        quality=_QUALITY,
        times=_times(118.7, 120.3),
        deadline=_DEADLINE,
        holdout_share=0.01,
        identity=_IDENTITY,
        frame_partition=17,
        frame_offset=90397,
        evidence=(evidence_id(_FRAME, "overlay"),),
    )


def _shadow_verdict() -> ShadowVerdict:
    return ShadowVerdict(
        id=shadow_verdict_id(_FRAME, _CHALLENGER.digest, "shadow-model"),
        frame_id=_FRAME,
        line="line-1",
        station="top",
        product="pcb",
        part=_PART,
        seq=48211,
        tracking=_TRACKING,
        decision=Decision.REJECT,
        reason="anomaly",
        score=3.37,
        threshold=2.6,
        ratio=1.2962,
        artifact=_CHALLENGER,
        quality=_QUALITY,
        times=_times(131.2, 133.0),
        deadline=_DEADLINE,
        holdout_share=0.01,
        identity=_IDENTITY,
        frame_partition=17,
        frame_offset=90397,
        cause="shadow-model",
    )


def _evidence() -> Evidence:
    return Evidence(
        id=evidence_id(_FRAME, "overlay"),
        content_type="image/png",
        body=_PNG,
        frame=_FRAME,
        verdict=_VERDICT,
        line="line-1",
        station="top",
        part=_PART,
        kind="overlay",
        captured=_CAPTURED,
        identity=_IDENTITY,
    )


def _actuation() -> Actuation:
    return Actuation(
        id=actuation_id("line-1", _TRACKING.epoch, _TRACKING.number, "told"),
        line="line-1",
        part=_PART,
        tracking=_TRACKING,
        stage="told",
        verdicts=(_VERDICT,),
        decision=Decision.REJECT,
        code=2,
        outcome=Outcome.CONFIRMED,
        at=_after(141.9),
        deadline=_DEADLINE,
        slack_ms=1588.1,
        trigger_to_told_ms=141.9,
        attempts=1,
        identity=_IDENTITY,
    )


def _review() -> Review:
    return Review(
        id=derived_id("review", _VERDICT, "m.okafor", 1),
        verdict=_VERDICT,
        frame_id=_FRAME,
        line="line-1",
        station="top",
        product="pcb",
        part=_PART,
        judgement=Judgement.DEFECT,
        defect_type="scratch",
        regions=(BoundingBox(x=310, y=116, width=70, height=25),),
        reviewer="m.okafor",
        comment="scratch across two tracks",
        at=_CAPTURED + timedelta(minutes=42),
        round="first",
        identity=_IDENTITY,
    )


def _claim() -> Claim:
    at = _CAPTURED + timedelta(minutes=41)
    return Claim(
        id=claim_id(_VERDICT, "m.okafor", at),
        verdict=_VERDICT,
        line="line-1",
        station="top",
        reviewer="m.okafor",
        at=at,
        until=at + timedelta(minutes=5),
    )


def _drift_report() -> DriftReport:
    opened = _CAPTURED.replace(second=0, microsecond=0)
    return DriftReport(
        id=derived_id("drift-report", "line-1", "top", "pcb", _ACTIVE.digest, opened.isoformat()),
        line="line-1",
        station="top",
        product="pcb",
        artifact=_ACTIVE.digest,
        opened=opened,
        closed=opened + timedelta(minutes=1),
        passed=57,
        rejected=2,
        unscored={"late": 1},
        pass_ratio=Distribution(count=57, mean=0.548, deviation=0.061, minimum=0.431, maximum=0.812),
        brightness=Distribution(count=57, mean=0.412, deviation=0.004, minimum=0.402, maximum=0.421),
        contrast=Distribution(count=57, mean=0.168, deviation=0.003, minimum=0.161, maximum=0.176),
        sharpness=Distribution(count=57, mean=181.4, deviation=6.2, minimum=166.0, maximum=197.3),
        saturation=Distribution(count=57, mean=0.002, deviation=0.0004, minimum=0.001, maximum=0.003),
        inference_ms=Distribution(count=59, mean=88.2, deviation=7.9, minimum=71.0, maximum=112.4),
        rejected_by_reason={"anomaly": 2},
        alerts=(_alert(opened),),
        state=DriftState.WATCH,
        expected={"pass-ratio": 0.551, "brightness": 0.447, "contrast": 0.171},
        levels={"pass-ratio": 0.2, "brightness": 1.3, "contrast": 0.4},
    )


def _alert(opened: datetime) -> DriftAlert:
    closed = opened + timedelta(minutes=1)
    return DriftAlert(
        id=derived_id("drift-alert", "line-1", "top", "brightness", closed.isoformat()),
        signal="brightness",
        stage=AlertStage.RAISED,
        severity=DriftState.WATCH,
        since=opened - timedelta(hours=54),
        raised=closed,
        at=closed,
        artifact=_ACTIVE.digest,
        expected=0.453,
        found=0.412,
        level=1.04,
        change="brightness fell 9.1 % since Sat 2026-02-28 00:14 UTC",
        cause="the light: it has become weaker or dirty, or the exposure was changed",
        next_step="check lighting, lens and exposure before retraining: a model fitted to bad light hides it",
    )


def _model_slots() -> ModelSlots:
    at = _CAPTURED - timedelta(days=2)
    judged = QualificationRef(report=_digest("report"), golden=_digest("golden set"), passed=True, at=at)
    return ModelSlots(
        id=derived_id("model-slots", "line-1", "top", at.isoformat()),
        line="line-1",
        station="top",
        product="pcb",
        active=Slot(artifact=_ACTIVE, location="artifacts/pcb-3", qualification=judged),
        shadow=Slot(artifact=_CHALLENGER, location="artifacts/pcb-4", threshold=2.6),
        by="r.lindqvist",
        why="retrained on four weeks of confirmed normals",
        at=at,
        previous=PreviousSlots(product="pcb", active=Slot(artifact=_ACTIVE, location="artifacts/pcb-3")),
    )


def _context() -> Context:
    at = _CAPTURED - timedelta(hours=2)
    return Context(
        id=context_id("line-1", at, "mes"),
        line="line-1",
        entries=(ContextValues(identity=_LOT, product="pcb", since=at), _next_lot()),
        at=at,
        by="mes",
    )


def _context_change() -> ContextChange:
    at = _CAPTURED - timedelta(hours=2)
    return ContextChange(id=context_id("line-1", at, "mes"), line="line-1", values=_next_lot(), at=at, by="mes")


def _next_lot() -> ContextValues:
    return ContextValues(
        identity=Identity(order="4711", lot="L43", recipe="pcb-fine"), from_part=Tracking(epoch=3, number=50000)
    )


def _challenge() -> Challenge:
    at = _CAPTURED + timedelta(minutes=5)
    return Challenge(
        id=challenge_id("line-1", "scratch-07", at, "r.lindqvist"),
        line="line-1",
        reference="scratch-07",
        by="r.lindqvist",
        at=at,
        expires=at + timedelta(minutes=10),
        epoch=3,
        number=48412,
    )


def _alarm() -> Alarm:
    came = _CAPTURED + timedelta(minutes=7)
    alarm = alarm_id("challenge-missed", "line-1", "scratch-07", came.isoformat())
    return Alarm(
        id=alarm_stage_id(alarm, RAISED),
        alarm=alarm,
        line="line-1",
        kind="challenge-missed",
        stage=RAISED,
        severity="act",
        since=came,
        at=came + timedelta(seconds=4),
        subject={"reference": "scratch-07", "part": "3-48412", "decision": "pass"},
        what="reference part scratch-07 (scratch) passed line-1 as part 3-48412",
        cause="the model, its threshold or the picture no longer shows this defect",
        next_step="stop releasing parts of line-1 unseen, and send scratch-07 again",
    )


def _hold() -> Hold:
    at = _CAPTURED + timedelta(hours=2)
    return Hold(
        id=hold_id("line-1", PEOPLE, HELD, at),
        line="line-1",
        source=PEOPLE,
        state=HELD,
        at=at,
        by="m.okafor",
        why="the blade of the gate is exchanged",
    )


def _replay() -> Replay:
    at = _CAPTURED + timedelta(hours=3)
    letter = derived_id("dead-letter", "ledger", "verdicts[4]@5120")
    return Replay(
        id=derived_id("replay", letter, "r.lindqvist", at.isoformat()),
        letter=letter,
        topic="verdicts",
        partition=4,
        offset=5120,
        recordkey="line-1",
        by="r.lindqvist",
        why="the ledger reads them since its update",
        at=at,
    )


def _service_report() -> ServiceReport:
    at, about = _CAPTURED + timedelta(hours=4), ("bridge", "cell-3", "line-1")
    return ServiceReport(
        id=derived_id("service-report", *about, at.isoformat()),
        service="bridge",
        host="cell-3",
        instance="line-1",
        lines=("line-1",),
        version="0.9.0",
        started=_CAPTURED,
        at=at,
        every_s=10.0,
        state="partly",
        amiss=(Amiss(part="line-1", why="refused: the PLC does not trust our certificate"),),
        disks=(DiskSpace(folder="/var/lib/neverblink", free_bytes=41_204_908_032, total_bytes=107_374_182_400),),
        certificates=(CertificateEnd(what="line-1 to its PLC", ends=_CAPTURED + timedelta(days=30)),),
    )


def _dead_letter() -> DeadLetter:
    return DeadLetter(
        id=derived_id("dead-letter", "scorer", "frames[17]@90412"),
        body=b"not an image",
        topic="frames",
        partition=17,
        offset=90412,
        recordkey="line-1/top",
        recordheaders='[["content-type","image/png"]]',
        service="scorer",
        why="the record has no CloudEvents header ce_specversion, ce_id, ce_source, ce_type",
        at=_after(30.5),
    )
