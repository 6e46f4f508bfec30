"""Every kind of event: what is exported, documented and read by name comes from this list alone."""

from neverblink.events.actuation import Actuation
from neverblink.events.alarm import Alarm
from neverblink.events.challenge import Challenge
from neverblink.events.claim import Claim
from neverblink.events.context import Context, ContextChange
from neverblink.events.dead_letter import DeadLetter
from neverblink.events.drift import DriftReport
from neverblink.events.envelope import Event
from neverblink.events.evidence import Evidence
from neverblink.events.frame import Frame
from neverblink.events.hold import Hold
from neverblink.events.model_slots import ModelSlots
from neverblink.events.replay import Replay
from neverblink.events.review import Review
from neverblink.events.service_report import ServiceReport
from neverblink.events.verdict import ShadowVerdict, Verdict

EVENTS: tuple[type[Event], ...] = (
    Frame, Verdict, ShadowVerdict, Evidence, Actuation, Review, Claim, DriftReport, ModelSlots, Context, ContextChange,
    Challenge, Alarm, Hold, Replay, ServiceReport, DeadLetter,
)  # fmt: skip
