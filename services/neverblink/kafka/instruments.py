"""What is measured of events on their way, by OpenTelemetry's names and units."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

from opentelemetry.metrics import CallbackOptions, Counter, Observation

from neverblink import telemetry
from neverblink.events.service_report import CertificateEnd, DiskSpace


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


def reconnects() -> Counter:
    """Make the counter of clients that had given up and were replaced."""
    return telemetry.meter("kafka").create_counter(
        "neverblink.kafka.reconnects", unit="{client}", description="Clients that had given up, and were replaced."
    )


def observe_belongings(
    service: str,
    disks: Callable[[], Iterable[DiskSpace]],
    certificates: Callable[[], Iterable[CertificateEnd]],
) -> None:
    """Have whoever collects ask for the space on a service's disks, and for the days of its certificates."""
    about = {"service": service}

    def free(_: CallbackOptions) -> Iterator[Observation]:
        for disk in disks():
            yield Observation(disk.free_bytes, {**about, "folder": disk.folder})

    def size(_: CallbackOptions) -> Iterator[Observation]:
        for disk in disks():
            yield Observation(disk.total_bytes, {**about, "folder": disk.folder})

    def left(_: CallbackOptions) -> Iterator[Observation]:
        now = datetime.now(UTC)
        for one in certificates():
            yield Observation((one.ends - now).total_seconds() / 86400, {**about, "whose": one.what})

    meter = telemetry.meter("kafka")
    meter.create_observable_gauge(
        "neverblink.service.disk_free", [free], unit="By", description="Free on a disk that a service writes to."
    )
    meter.create_observable_gauge(
        "neverblink.service.disk_size", [size], unit="By", description="Size of a disk that a service writes to."
    )
    meter.create_observable_gauge(
        "neverblink.service.certificate_left",
        [left],
        unit="d",
        description="Days until a certificate of a service expires; negative: it has.",
    )
