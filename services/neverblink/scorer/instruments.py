"""What the scorer measures, by OpenTelemetry's names and units."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation

from neverblink import telemetry


@dataclass(frozen=True, slots=True)
class Instruments:
    """The scorer's instruments; what is said of a part carries the attributes `line` and `station`."""

    verdicts: Counter
    to_verdict: Histogram
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


def instruments() -> Instruments:
    """Make the instruments on this process's meter."""
    meter = telemetry.meter("scorer")
    return Instruments(
        verdicts=meter.create_counter(
            "neverblink.scorer.verdicts", unit="{verdict}", description="Verdicts sent, by decision."
        ),
        to_verdict=meter.create_histogram(
            "neverblink.scorer.captured_to_verdict", unit="s", description="From the trigger to the verdict."
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
            "neverblink.scorer.batch_size", unit="{frame}", description="Frames that were computed together."
        ),
        batch_time=meter.create_histogram(
            "neverblink.scorer.batch_time", unit="s", description="What one batch took to compute."
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
