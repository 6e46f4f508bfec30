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
            "neverblink.console.requests",
            unit="s",
            description="From a request to the end of its answer, by status.",
            explicit_bucket_boundaries_advisory=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        ),
        sign_ins=meter.create_counter(
            "neverblink.console.sign_ins", unit="{try}", description="Tries to sign in, by outcome."
        ),
        viewers=meter.create_gauge(
            "neverblink.console.viewers", unit="{page}", description="Pages that follow the line live."
        ),
    )


@dataclass(frozen=True, slots=True)
class AlarmInstruments:
    """What alarms do, and whether those who do not look at a page were told."""

    alarms: Counter
    webhook_sent: Counter
    webhook_dropped: Counter
    mail_sent: Counter
    mail_dropped: Counter


def alarm_instruments() -> AlarmInstruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("console")
    return AlarmInstruments(
        alarms=meter.create_counter("neverblink.console.alarms", unit="{step}", description="Steps of alarms."),
        webhook_sent=meter.create_counter(
            "neverblink.console.webhook.sent", unit="{step}", description="Steps of alarms that the webhook accepted."
        ),
        webhook_dropped=meter.create_counter(
            "neverblink.console.webhook.dropped", unit="{step}", description="Steps of alarms that were not posted."
        ),
        mail_sent=meter.create_counter(
            "neverblink.console.mail.sent", unit="{mail}", description="Mails that the server accepted."
        ),
        mail_dropped=meter.create_counter(
            "neverblink.console.mail.dropped", unit="{mail}", description="Mails that were not sent."
        ),
    )
