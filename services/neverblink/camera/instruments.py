"""What the camera node measures, by OpenTelemetry's names and units."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation
from opentelemetry.metrics import _Gauge as Gauge

from neverblink import telemetry

# A part is on its way for tenths of a second to seconds; the library's own bounds are those of milliseconds.
_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Instruments:
    """A node's instruments; each record carries the attributes `line` and `station`."""

    published: Counter
    unscored: Counter
    to_publish: Histogram
    slack: Histogram
    spooled: Counter
    spool_sent: Counter
    spool_dropped: Counter
    spool_waiting: Gauge
    pictures: Counter
    pictures_lost: Counter
    pictures_damaged: Counter
    pictures_repeated: Counter
    disconnects: Counter
    picture_offset: Histogram
    picture_age: Histogram
    identity_left_out: Counter


class _Times(NamedTuple):
    to_publish: Histogram
    slack: Histogram
    picture_offset: Histogram
    picture_age: Histogram


def _times(meter: Meter) -> _Times:
    return _Times(
        to_publish=meter.create_histogram(
            "neverblink.camera.trigger_to_published",
            unit="s",
            description="From the trigger to the acknowledged frame.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        ),
        slack=meter.create_histogram(
            "neverblink.camera.slack",
            unit="s",
            description="Time left before the deadline when Kafka had the frame; 0 for one that was late.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        ),
        picture_offset=meter.create_histogram(
            "neverblink.camera.picture_offset",
            unit="s",
            description="From the trigger to the picture that its part got; negative where the picture came first.",
            explicit_bucket_boundaries_advisory=(-1.0, -0.2, -0.05, -0.02, -0.005, 0.0, *_BOUNDS),
        ),
        picture_age=meter.create_histogram(
            "neverblink.camera.picture_age",
            unit="s",
            description="From the exposure of a picture to its arrival here, as well as the camera can tell.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        ),
    )


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("camera")
    return Instruments(
        **_times(meter)._asdict(),
        published=meter.create_counter(
            "neverblink.camera.frames", unit="{frame}", description="Frames that Kafka has acknowledged."
        ),
        unscored=meter.create_counter(
            "neverblink.camera.unscored", unit="{frame}", description="Parts without a frame, by reason."
        ),
        spooled=meter.create_counter(
            "neverblink.camera.spooled", unit="{event}", description="Events kept on disk until the broker is back."
        ),
        spool_sent=meter.create_counter(
            "neverblink.camera.spool_sent", unit="{event}", description="Kept events that were sent afterwards."
        ),
        spool_dropped=meter.create_counter(
            "neverblink.camera.spool_dropped",
            unit="{event}",
            description="Events that could not be kept, and are lost.",
        ),
        spool_waiting=meter.create_gauge(
            "neverblink.camera.spool_waiting", unit="{event}", description="Kept events that wait to be sent."
        ),
        pictures=meter.create_counter(
            "neverblink.camera.pictures", unit="{picture}", description="Pictures that a live camera sent."
        ),
        pictures_lost=meter.create_counter(
            "neverblink.camera.pictures_lost",
            unit="{picture}",
            description="Pictures that the camera counted and nobody looked at.",
        ),
        pictures_damaged=meter.create_counter(
            "neverblink.camera.pictures_damaged",
            unit="{picture}",
            description="Pictures that arrived in part, or were coded on top of one that did.",
        ),
        pictures_repeated=meter.create_counter(
            "neverblink.camera.pictures_repeated",
            unit="{picture}",
            description="Old buffers that the driver delivered again.",
        ),
        disconnects=meter.create_counter(
            "neverblink.camera.disconnects", unit="{disconnect}", description="Times that a live camera went away."
        ),
        identity_left_out=meter.create_counter(
            "neverblink.camera.identity_left_out",
            unit="{part}",
            description="Parts that go without a field of their identity, because the PLC could not say it in time.",
        ),
    )


def observe_waiting(waiting: Callable[[], Iterable[tuple[str, str, int]]]) -> None:
    """Have whoever collects ask for line, station and the frames that wait there for Kafka."""

    def waiting_now(_: CallbackOptions) -> Iterator[Observation]:
        for line, station, frames in waiting():
            yield Observation(frames, {"line": line, "station": station})

    telemetry.meter("camera").create_observable_gauge(
        "neverblink.camera.waiting", [waiting_now], unit="{frame}", description="Frames that wait for Kafka."
    )
