"""What the bridge measures, by OpenTelemetry's names and units."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.metrics import Counter, Histogram, Meter
from opentelemetry.metrics import _Gauge as Gauge

from neverblink import telemetry
from neverblink.bridge.scheduler import Told
from neverblink.events import Outcome

# A verdict's way over the wire is milliseconds; its slack is seconds.
_WRITE_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.5, 1.0, 2.0)
_SLACK_BOUNDS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Instruments:
    """The bridge's instruments; each record carries the attribute `line`, `lines` the state."""

    verdict_to_write: Histogram
    slack: Histogram
    overdue: Histogram
    write: Histogram
    told: Counter
    gate: Counter
    verdicts: Counter
    incidents: Counter
    gate_lost: Counter
    reconnects: Counter
    dropped_events: Counter
    state: Gauge
    held: Gauge
    lines: Gauge
    waiting: Gauge
    budget: Gauge
    plc_counter: Gauge
    certificate_left: Gauge

    def record_told(
        self, told: Told, deadline: float, began: float, about: Mapping[str, str], trace: Context | None = None
    ) -> None:
        """Record the times of a part that was settled; `began` is when the bridge did: what was due before is not its.

        `trace` is the part's, for an exemplar.
        """
        left_s = deadline - told.at
        if told.outcome is Outcome.CONFIRMED:
            self.verdict_to_write.record(told.at - told.order.accepted, about, trace)
        elif told.outcome is Outcome.FAILED or deadline < began:
            return
        else:
            left_s = min(0.0, left_s)
        telemetry.record_time_left(left_s, self.slack, self.overdue, about, trace)


class _Times(NamedTuple):
    verdict_to_write: Histogram
    slack: Histogram
    overdue: Histogram
    write: Histogram


def _times(meter: Meter) -> _Times:
    return _Times(
        verdict_to_write=meter.create_histogram(
            "neverblink.bridge.verdict_to_write",
            unit="s",
            description="From the verdict's arrival to the PLC's confirmation of the write.",
            explicit_bucket_boundaries_advisory=_WRITE_BOUNDS,
        ),
        slack=meter.create_histogram(
            "neverblink.bridge.slack",
            unit="s",
            description="Time left before the deadline when the PLC confirmed; 0 for a part that was late.",
            explicit_bucket_boundaries_advisory=_SLACK_BOUNDS,
        ),
        overdue=meter.create_histogram(
            "neverblink.bridge.overdue",
            unit="s",
            description="How long after its deadline a late part was settled.",
            explicit_bucket_boundaries_advisory=_SLACK_BOUNDS,
        ),
        write=meter.create_histogram(
            "neverblink.bridge.write",
            unit="s",
            description="One OPC UA write request, time-outs included.",
            explicit_bucket_boundaries_advisory=_WRITE_BOUNDS,
        ),
    )


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("bridge")
    times = _times(meter)
    return Instruments(
        verdict_to_write=times.verdict_to_write,
        slack=times.slack,
        overdue=times.overdue,
        write=times.write,
        told=meter.create_counter(
            "neverblink.bridge.told", unit="{part}", description="Parts by decision and outcome of telling the PLC."
        ),
        gate=meter.create_counter("neverblink.bridge.gate", unit="{part}", description="Parts by what the gate did."),
        verdicts=meter.create_counter(
            "neverblink.bridge.verdicts", unit="{verdict}", description="Verdicts by their effect."
        ),
        incidents=meter.create_counter(
            "neverblink.bridge.incidents", unit="{part}", description="Parts that the PLC passed without our pass."
        ),
        gate_lost=meter.create_counter(
            "neverblink.bridge.gate_lost", unit="{part}", description="Gate records overwritten before we read them."
        ),
        reconnects=meter.create_counter(
            "neverblink.bridge.connections", unit="{connection}", description="Sessions opened with PLCs."
        ),
        dropped_events=meter.create_counter(
            "neverblink.bridge.dropped_events",
            unit="{event}",
            description="Actuation events dropped because Kafka did not take them in time.",
        ),
        state=meter.create_gauge(
            "neverblink.bridge.state",
            description="0 down, 1 connecting, 2 validating, 3 ready, 4 degraded, 5 refused.",
        ),
        held=meter.create_gauge(
            "neverblink.bridge.held", description="0 released, 1 on hold, 2 bypass: by people's word or the PLC's."
        ),
        lines=meter.create_gauge(
            "neverblink.bridge.lines",
            unit="{line}",
            description="Lines by state; left-out are those that the plant file has wrong.",
        ),
        waiting=meter.create_gauge("neverblink.bridge.waiting", unit="{part}", description="Orders not told yet."),
        budget=meter.create_gauge(
            "neverblink.bridge.write_budget", unit="s", description="Time that a write must have left."
        ),
        plc_counter=meter.create_gauge(
            "neverblink.bridge.plc_counter", unit="{part}", description="The PLC's own counters, by name."
        ),
        certificate_left=meter.create_gauge(
            "neverblink.bridge.certificate_left",
            unit="d",
            description="Days until a certificate of the session expires: ours, or the plc's.",
        ),
    )
