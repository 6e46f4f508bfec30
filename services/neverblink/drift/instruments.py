"""What the drift service measures, by OpenTelemetry's names and units."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Counter, Observation
from opentelemetry.metrics import _Gauge as Gauge

from neverblink import telemetry
from neverblink.events import DriftState


@dataclass(frozen=True, slots=True)
class Instruments:
    """The drift service's instruments."""

    verdicts: Counter
    late: Counter
    duplicates: Counter
    skipped: Counter
    lag: Gauge
    lag_time: Gauge
    alerts: Counter
    webhook_sent: Counter
    webhook_dropped: Counter


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("drift")
    return Instruments(
        verdicts=meter.create_counter("neverblink.drift.verdicts", unit="{verdict}", description="Counted."),
        late=meter.create_counter("neverblink.drift.late", unit="{verdict}", description="Window closed."),
        duplicates=meter.create_counter(
            "neverblink.drift.duplicates", unit="{verdict}", description="About a frame that had its verdict."
        ),
        skipped=meter.create_counter("neverblink.drift.skipped", unit="{record}", description="Never arrived."),
        lag=meter.create_gauge(
            "neverblink.drift.lag", unit="{verdict}", description="On its partitions and not counted yet."
        ),
        lag_time=meter.create_gauge(
            "neverblink.drift.lag.time", unit="s", description="Age of the oldest verdict that is not counted yet."
        ),
        alerts=meter.create_counter(
            "neverblink.drift.alerts", unit="{alert}", description="Raised, escalated and cleared."
        ),
        webhook_sent=meter.create_counter("neverblink.drift.webhook.sent", unit="{alert}", description="Accepted."),
        webhook_dropped=meter.create_counter(
            "neverblink.drift.webhook.dropped", unit="{alert}", description="Not sent."
        ),
    )


def observe_states(states: Callable[[], Iterable[tuple[str, str, DriftState]]]) -> None:
    """Have whoever collects ask for line, station and state of every station that is watched."""

    def states_now(_: CallbackOptions) -> Iterator[Observation]:
        for line, station, state in states():
            yield Observation(list(DriftState).index(state), {"line": line, "station": station})

    telemetry.meter("drift").create_observable_gauge(
        "neverblink.drift.state",
        [states_now],
        description="What is said of a station: 0 learning, 1 steady, 2 watch, 3 act.",
    )
