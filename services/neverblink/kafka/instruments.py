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


def unreadable() -> Counter:
    """Make the counter of offsets that were passed because nothing could be read there."""
    return telemetry.meter("kafka").create_counter(
        "neverblink.kafka.unreadable_records", unit="{record}", description="Offsets passed, unreadable."
    )


def lost() -> Counter:
    """Make the counter of records that retention deleted before they were read."""
    return telemetry.meter("kafka").create_counter(
        "neverblink.kafka.lost_records", unit="{record}", description="Deleted before they were read."
    )


def moved() -> Counter:
    """Make the counter of places that were gone when they were to be read."""
    return telemetry.meter("kafka").create_counter(
        "neverblink.kafka.moved_positions", unit="{partition}", description="Places that were gone."
    )
