"""What is measured of events on their way, by OpenTelemetry's names and units."""

from opentelemetry.metrics import Counter

from neverblink import telemetry


def acknowledged() -> Counter:
    """Make the counter of records that Kafka has taken."""
    return telemetry.meter("kafka").create_counter(
        "messaging.client.sent.messages", unit="{message}", description="Acknowledged records."
    )


def set_aside(service: str) -> Counter:
    """Make the counter of records that a service has set aside, on that service's meter."""
    return telemetry.meter(service).create_counter(
        "neverblink.dead_letters", unit="{record}", description="Records set aside as unreadable."
    )
