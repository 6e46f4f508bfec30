"""The plant file: site, Kafka, lines, stations, PLCs and products, in one YAML file that explains itself."""

from neverblink.plant.console import ConsoleSettings, LoginProvider
from neverblink.plant.example import EXAMPLE
from neverblink.plant.golden import GoldenSettings
from neverblink.plant.lines import IdentityNodes, Line, OpcUaSecurity, Plc, Timing
from neverblink.plant.listening import Listening
from neverblink.plant.loading import MAX_PLANT_BYTES, load_plant, load_sound_lines, parse_plant
from neverblink.plant.mail import MailRecipient, MailSettings
from neverblink.plant.products import DefectPolicy, DefectRule, DefectType, Product, Taxonomy
from neverblink.plant.proof import HoldoutSettings, ProofSettings
from neverblink.plant.records import EvidencePolicy, KeepDays, LedgerApi, RecordsSettings
from neverblink.plant.reviewing import Reviewer, Reviewing, SecondLook
from neverblink.plant.rules_digest import rules_digest
from neverblink.plant.section import PlantError, Section
from neverblink.plant.shifts import Shift, ShiftPlan
from neverblink.plant.site import DriftSettings, Kafka, KafkaSecurity, ScorerSettings, Storage, WebhookSettings
from neverblink.plant.stations import (
    FolderSource,
    GenicamSource,
    GigeSource,
    HardwareTrigger,
    LiveSettings,
    Payload,
    PlcTrigger,
    QualityLimits,
    RtspSource,
    SimulatedSource,
    Station,
    TimerTrigger,
    V4l2Source,
    VideoSource,
)
from neverblink.plant.whole import Plant

__all__ = [
    "EXAMPLE",
    "MAX_PLANT_BYTES",
    "ConsoleSettings",
    "DefectPolicy",
    "DefectRule",
    "DefectType",
    "DriftSettings",
    "EvidencePolicy",
    "FolderSource",
    "GenicamSource",
    "GigeSource",
    "GoldenSettings",
    "HardwareTrigger",
    "HoldoutSettings",
    "IdentityNodes",
    "Kafka",
    "KafkaSecurity",
    "KeepDays",
    "LedgerApi",
    "Line",
    "Listening",
    "LiveSettings",
    "LoginProvider",
    "MailRecipient",
    "MailSettings",
    "OpcUaSecurity",
    "Payload",
    "Plant",
    "PlantError",
    "Plc",
    "PlcTrigger",
    "Product",
    "ProofSettings",
    "QualityLimits",
    "RecordsSettings",
    "Reviewer",
    "Reviewing",
    "RtspSource",
    "ScorerSettings",
    "SecondLook",
    "Section",
    "Shift",
    "ShiftPlan",
    "SimulatedSource",
    "Station",
    "Storage",
    "Taxonomy",
    "TimerTrigger",
    "Timing",
    "V4l2Source",
    "VideoSource",
    "WebhookSettings",
    "load_plant",
    "load_sound_lines",
    "parse_plant",
    "rules_digest",
]
