"""What the ledger measures, by OpenTelemetry's names and units."""

from dataclasses import dataclass

from opentelemetry.metrics import Counter

from neverblink import telemetry


@dataclass(frozen=True, slots=True)
class Instruments:
    """The ledger's instruments."""

    kept: Counter


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("ledger")
    return Instruments(
        kept=meter.create_counter("neverblink.ledger.kept", unit="{event}", description="New events."),
    )
