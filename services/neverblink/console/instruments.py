"""What the console measures, by OpenTelemetry's names and units."""

from dataclasses import dataclass

from opentelemetry.metrics import Counter, Histogram
from opentelemetry.metrics import _Gauge as Gauge

from neverblink import telemetry


@dataclass(frozen=True, slots=True)
class Instruments:
    """The console's instruments."""

    requests: Histogram
    sign_ins: Counter
    viewers: Gauge


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("console")
    return Instruments(
        requests=meter.create_histogram(
            "neverblink.console.requests", unit="s", description="From a request to the end of its answer, by status."
        ),
        sign_ins=meter.create_counter(
            "neverblink.console.sign_ins", unit="{try}", description="Tries to sign in, by outcome."
        ),
        viewers=meter.create_gauge(
            "neverblink.console.viewers", unit="{page}", description="Pages that follow the line live."
        ),
    )
