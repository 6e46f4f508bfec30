"""What the scorer measures, by OpenTelemetry's names and units."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

from neverblink import telemetry
from neverblink.events import Times
from neverblink.scorer.backlog import Backlog

# A frame is on its way for tenths of a second to seconds; the library's own bounds are those of milliseconds.
_BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0)
_SCORES = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Instruments:
    """The scorer's instruments; what is said of a part carries the attributes `line` and `station`."""

    verdicts: Counter
    to_verdict: Histogram
    step: Histogram
    slack: Histogram
    overdue: Histogram
    score: Histogram
    defects: Counter
    evidence_lost: Counter
    identities_lost: Counter
    given_up: Counter
    left_out: Counter
    batch_size: Histogram
    batch_time: Histogram
    swaps: Counter
    faults: Counter
    unqualified: Counter
    hedged: Counter
    answered: Counter

    def record_way(self, times: Times, deadline: datetime, labels: Mapping[str, str]) -> None:
        """Record each step of a frame's way to its verdict, and what was left of its time then.

        Clocks of two hosts may differ; a step that would be negative counts as 0.
        """
        reached = [
            ("fetch", times.published, times.received),
            ("wait", times.received, times.batched),
            ("score", times.batched, times.scored),
            ("tell", times.scored, times.emitted),
        ]
        for step, began, ended in reached:
            if began is not None and ended is not None:
                self.step.record(max(0.0, (ended - began).total_seconds()), {**labels, "step": step})
        if times.emitted is not None:
            left_s = (deadline - times.emitted).total_seconds()
            telemetry.record_time_left(left_s, self.slack, self.overdue, labels)


class _Ways(NamedTuple):
    to_verdict: Histogram
    step: Histogram
    slack: Histogram
    overdue: Histogram
    score: Histogram


def _ways(meter: Meter) -> _Ways:
    return _Ways(
        to_verdict=meter.create_histogram(
            "neverblink.scorer.captured_to_verdict",
            unit="s",
            description="From the trigger to the verdict.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        ),
        step=meter.create_histogram(
            "neverblink.scorer.step",
            unit="s",
            description="One step of a frame's way: fetched, waiting for its batch, scored, told.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        ),
        slack=meter.create_histogram(
            "neverblink.scorer.slack",
            unit="s",
            description="Time left before the deadline when the verdict was made; 0 for a frame that was late.",
            explicit_bucket_boundaries_advisory=(0.0, *_BOUNDS),
        ),
        overdue=meter.create_histogram(
            "neverblink.scorer.overdue",
            unit="s",
            description="How long after its deadline the verdict of a late frame was made.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        ),
        score=meter.create_histogram(
            "neverblink.scorer.score",
            unit="1",
            description="Scores in parts of their threshold.",
            explicit_bucket_boundaries_advisory=_SCORES,
        ),
    )


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("scorer")
    ways = _ways(meter)
    return Instruments(
        **ways._asdict(),
        verdicts=meter.create_counter(
            "neverblink.scorer.verdicts", unit="{verdict}", description="Verdicts sent, by decision."
        ),
        defects=meter.create_counter(
            "neverblink.scorer.defects", unit="{defect}", description="Defects that verdicts name, by type."
        ),
        evidence_lost=meter.create_counter(
            "neverblink.scorer.evidence_lost",
            unit="{frame}",
            description="Frames that have a verdict, and whose evidence could not be drawn or sent.",
        ),
        identities_lost=meter.create_counter(
            "neverblink.scorer.identities_lost",
            unit="{frame}",
            description="Frames whose identity could not be read: they are judged without.",
        ),
        given_up=meter.create_counter(
            "neverblink.scorer.given_up",
            unit="{record}",
            description="Records with neither verdict nor dead letter: the PLC's own default protects the part.",
        ),
        left_out=meter.create_counter(
            "neverblink.scorer.not_scored_spare",
            unit="{frame}",
            description="Late frames and shadow models' frames that were not scored, because there was no room.",
        ),
        batch_size=meter.create_histogram(
            "neverblink.scorer.batch_size",
            unit="{frame}",
            description="Frames that were computed together.",
            explicit_bucket_boundaries_advisory=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64),
        ),
        batch_time=meter.create_histogram(
            "neverblink.scorer.batch_time",
            unit="s",
            description="What one batch took to compute.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        ),
        swaps=meter.create_counter(
            "neverblink.scorer.model_swaps", unit="{swap}", description="Changes of what scores a station, by slot."
        ),
        faults=meter.create_counter(
            "neverblink.scorer.model_faults", unit="{fault}", description="Models that could not be opened."
        ),
        unqualified=meter.create_counter(
            "neverblink.scorer.models_unqualified",
            unit="{model}",
            description="Models that were asked for and do not act: no report says that they pass the golden set.",
        ),
        hedged=meter.create_counter(
            "neverblink.scorer.hedged",
            unit="{frame}",
            description="Frames of silent scorers that this one took on, by what came of it.",
        ),
        answered=meter.create_counter(
            "neverblink.scorer.already_answered",
            unit="{frame}",
            description="Frames that were not scored or told again, because they had their verdict.",
        ),
    )


def observe_models(faults: Callable[[], Mapping[tuple[str, str], int]], held_bytes: Callable[[], int]) -> None:
    """Have whoever collects ask how many slots of each (line, station) are in fault, and what all models hold."""

    def slots_in_fault(_: CallbackOptions) -> Iterator[Observation]:
        for (line, station), count in faults().items():
            yield Observation(count, {"line": line, "station": station})

    def memory(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(held_bytes())

    meter = telemetry.meter("scorer")
    meter.create_observable_gauge(
        "neverblink.scorer.slots_in_fault",
        [slots_in_fault],
        unit="{slot}",
        description="Slots of a station whose wanted model is not what scores.",
    )
    meter.create_observable_gauge(
        "neverblink.scorer.model_memory", [memory], unit="By", description="What the loaded models hold in memory."
    )


def observe_decoded(held_bytes: Callable[[], int]) -> None:
    """Have whoever collects ask what the images in hand hold in memory."""

    def decoded(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(held_bytes())

    telemetry.meter("scorer").create_observable_gauge(
        "neverblink.scorer.decoded_bytes", [decoded], unit="By", description="What the images in hand hold in memory."
    )


def observe_backlog(backlog: Backlog, waiting: Callable[[], int]) -> None:
    """Have whoever collects ask how much is waiting for the engine, in hand and on the topic, and how urgent it is.

    While nothing is in hand there is no time left to tell.
    """

    def waiting_now(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(waiting())

    def in_hand_now(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(backlog.in_hand)

    def lag_now(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(backlog.lag)

    def slack_now(_: CallbackOptions) -> Iterator[Observation]:
        if (left_s := backlog.least_slack()) is not None:
            yield Observation(left_s)

    meter = telemetry.meter("scorer")
    meter.create_observable_gauge(
        "neverblink.scorer.waiting", [waiting_now], unit="{frame}", description="Frames that wait for their batch."
    )
    meter.create_observable_gauge(
        "neverblink.scorer.in_hand",
        [in_hand_now],
        unit="{frame}",
        description="Frames that were fetched and have no acknowledged verdict yet.",
    )
    meter.create_observable_gauge(
        "neverblink.scorer.lag",
        [lag_now],
        unit="{frame}",
        description="Frames on its partitions without an acknowledged verdict, those in hand included.",
    )
    meter.create_observable_gauge(
        "neverblink.scorer.least_slack",
        [slack_now],
        unit="s",
        description="Time left before the deadline of the most urgent frame in hand; negative: it is late already.",
    )
