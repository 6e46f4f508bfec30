"""What is measured of every service, by OpenTelemetry's names and units."""

from opentelemetry.metrics import Counter

from neverblink import telemetry


def restarts(service: str) -> Counter:
    """Make the counter of a service's tasks that ended unasked, on that service's meter."""
    return telemetry.meter(service).create_counter(
        "neverblink.service.restarts",
        unit="{restart}",
        description="Tasks that ended without having been told to, and were begun again.",
    )
