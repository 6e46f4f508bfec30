"""What travels: one module per event, the envelope, the registry of topics. Services meet only here."""

from neverblink.events.actuation import Actuation, GateAction, Outcome
from neverblink.events.alarm import Alarm
from neverblink.events.challenge import Challenge
from neverblink.events.claim import Claim
from neverblink.events.context import Context, ContextChange, ContextValues
from neverblink.events.dead_letter import DeadLetter
from neverblink.events.drift import AlertStage, Distribution, DriftAlert, DriftReport, DriftState
from neverblink.events.envelope import Envelope, Event, EventError, Message, decode, encode
from neverblink.events.evidence import Evidence
from neverblink.events.frame import Frame
from neverblink.events.hold import Hold
from neverblink.events.kinds import EVENTS
from neverblink.events.model_slots import ModelSlots, PreviousSlots, QualificationRef, Slot
from neverblink.events.parts import (
    CALIBRATED_SHARES,
    ArtifactRef,
    BoundingBox,
    CalibratedScores,
    Decision,
    Defect,
    Identity,
    Quality,
    Reason,
    RegionScore,
    Times,
    Tracking,
)
from neverblink.events.replay import Replay
from neverblink.events.review import Judgement, Review
from neverblink.events.service_report import ServiceReport
from neverblink.events.topics import TOPICS, Topic
from neverblink.events.verdict import ShadowVerdict, Verdict

__all__ = [
    "CALIBRATED_SHARES",
    "EVENTS",
    "TOPICS",
    "Actuation",
    "Alarm",
    "AlertStage",
    "ArtifactRef",
    "BoundingBox",
    "CalibratedScores",
    "Challenge",
    "Claim",
    "Context",
    "ContextChange",
    "ContextValues",
    "DeadLetter",
    "Decision",
    "Defect",
    "Distribution",
    "DriftAlert",
    "DriftReport",
    "DriftState",
    "Envelope",
    "Event",
    "EventError",
    "Evidence",
    "Frame",
    "GateAction",
    "Hold",
    "Identity",
    "Judgement",
    "Message",
    "ModelSlots",
    "Outcome",
    "PreviousSlots",
    "QualificationRef",
    "Quality",
    "Reason",
    "RegionScore",
    "Replay",
    "Review",
    "ServiceReport",
    "ShadowVerdict",
    "Slot",
    "Times",
    "Topic",
    "Tracking",
    "Verdict",
    "decode",
    "encode",
]
