"""What is measured of every service, by OpenTelemetry's names and units."""

from collections.abc import Iterator

from opentelemetry.metrics import CallbackOptions, Counter, Observation

from neverblink import __version__, telemetry
from neverblink.service_life.health.state import State


def restarts(service: str) -> Counter:
    """Make the counter of a service's tasks that ended unasked, on that service's meter."""
    return telemetry.meter(service).create_counter(
        "neverblink.service.restarts",
        unit="{restart}",
        description="Tasks that ended without having been told to, and were begun again.",
    )


def observe_service(state: State) -> None:
    """Have whoever collects ask whether this process's loop turns, whether it is ready, and which version it is."""

    def is_ready(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(int(state.is_ready), {"service": state.service})

    def beat(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(state.last_beat, {"service": state.service})

    def version(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, {"service": state.service, "version": __version__})

    def amiss(_: CallbackOptions) -> Iterator[Observation]:
        for work in state.amiss:
            yield Observation(1, {"service": state.service, "work": work})

    meter = telemetry.meter("service_life")
    meter.create_observable_gauge(
        "neverblink.service.ready", [is_ready], description="1 while a service does all of its work, else 0."
    )
    meter.create_observable_gauge(
        "neverblink.service.beat",
        [beat],
        unit="s",
        description="When the loop of a service last turned, in seconds since 1970; it turns every five seconds.",
    )
    meter.create_observable_gauge(
        "neverblink.service.version", [version], description="1, with the version that runs as an attribute."
    )
    meter.create_observable_gauge(
        "neverblink.service.amiss", [amiss], description="1 for each part of its work that a service does not do now."
    )
