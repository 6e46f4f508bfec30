"""What the ledger measures, by OpenTelemetry's names and units."""

from dataclasses import dataclass

from opentelemetry.metrics import Counter
from opentelemetry.metrics import _Gauge as Gauge

from neverblink import telemetry


@dataclass(frozen=True, slots=True)
class Instruments:
    """The ledger's instruments."""

    kept: Counter
    lag: Gauge
    lag_time: Gauge


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("ledger")
    return Instruments(
        kept=meter.create_counter("neverblink.ledger.kept", unit="{event}", description="New events."),
        lag=meter.create_gauge("neverblink.ledger.lag", unit="{event}", description="On its topics and not kept yet."),
        lag_time=meter.create_gauge(
            "neverblink.ledger.lag.time", unit="s", description="Age of the oldest event that is not kept yet."
        ),
    )


@dataclass(frozen=True, slots=True)
class AlarmInstruments:
    """What is measured of alarms."""

    alarms: Counter
    webhook_sent: Counter
    webhook_dropped: Counter


def alarm_instruments() -> AlarmInstruments:
    """Make the instruments of alarms on this process's meter."""
    meter = telemetry.meter("ledger")
    return AlarmInstruments(
        alarms=meter.create_counter(
            "neverblink.ledger.alarms", unit="{alarm}", description="Alarms that were raised and cleared."
        ),
        webhook_sent=meter.create_counter(
            "neverblink.ledger.webhook.sent", unit="{alarm}", description="Alarms that the webhook accepted."
        ),
        webhook_dropped=meter.create_counter(
            "neverblink.ledger.webhook.dropped", unit="{alarm}", description="Alarms that were not posted."
        ),
    )


@dataclass(frozen=True, slots=True)
class EvidenceInstruments:
    """What is measured of the pictures that the ledger keeps."""

    kept: Counter
    lost: Counter
    deleted: Counter
    stored: Gauge


def evidence_instruments() -> EvidenceInstruments:
    """Make the instruments of evidence on this process's meter."""
    meter = telemetry.meter("ledger")
    return EvidenceInstruments(
        kept=meter.create_counter(
            "neverblink.ledger.evidence_kept", unit="{picture}", description="Pictures that were kept."
        ),
        lost=meter.create_counter(
            "neverblink.ledger.evidence_lost",
            unit="{picture}",
            description="Pictures that were to be kept and could not be had, by reason.",
        ),
        deleted=meter.create_counter(
            "neverblink.ledger.evidence_deleted", unit="{picture}", description="Kept pictures that grew too old."
        ),
        stored=meter.create_gauge(
            "neverblink.ledger.evidence_stored", unit="By", description="Bytes that lie in the evidence store."
        ),
    )
