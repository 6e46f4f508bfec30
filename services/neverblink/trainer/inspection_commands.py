"""`neverblink inspect`: what to inspect, how far it is, what came of it."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neverblink.decisions.rules import rules_of
from neverblink.job_life.terminal import progress_bar, say
from neverblink.plant import Plant, load_plant
from neverblink.storage.frame_objects import ObjectStore
from neverblink.trainer.datasets.inputs import FolderInputs, Inputs, InspectionError
from neverblink.trainer.datasets.topic_frames import TopicFrames
from neverblink.trainer.offline_inspection.inspection import OfflineInspection
from neverblink.trainer.offline_inspection.known_decisions import Known, known_from_file, known_from_verdicts
from neverblink.trainer.offline_inspection.lot_sampling import CONSUMER_RISK, LotDecision
from neverblink.trainer.offline_inspection.report import write_inspection_report
from neverblink.trainer.offline_inspection.results import Results
from neverblink.trainer.offline_inspection.settings import InspectSettings
from neverblink.vision.artifact import load_artifact, read_manifest

VERDICTS = "verdicts"
"""What `--against` calls the plant's own decisions."""


@dataclass(frozen=True, slots=True)
class Span:
    """Frames that were published from `since` to `until`; None: to where the topic ends when it is first read."""

    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class What:
    """What is inspected: the images of a folder, or a plant's frames of a span.

    `stations` are LINE/STATION and `lines` names; none are all those of the product. `against` is `verdicts` or an
    earlier inspection's Parquet file.
    """

    source: Path | Span
    plant: Path | None = None
    product: str | None = None
    lines: Sequence[str] = ()
    stations: Sequence[str] = ()
    against: str | None = None


def run_inspect(what: What, settings: InspectSettings, out: Path | None, as_json: bool, console: Console) -> bool:
    """Inspect, write the report, and print what came of it; True when the result is good.

    It is bad when the lot is not accepted, or no image has a score. Raises VisionError, PlantError, KafkaError.
    """
    # Nothing but the JSON goes to standard output, so that it can be piped.
    shown = Console(stderr=True) if as_json else console
    plant = None if what.plant is None else load_plant(what.plant)
    product = what.product or load_artifact(settings.artifact).product
    stations = _stations(what, plant, product)
    if plant is not None:
        settings = _by_plant(settings, plant, product, stations)
    known, settings = _known(what, settings, plant, stations)
    with _inputs(what, settings, plant, product, stations) as inputs:
        inspection = OfflineInspection(inputs, settings, folder=out, known=known)
        done = inspection.result.is_file() and inspection.report.is_file()
        try:
            with progress_bar(shown, inspection.artifact.name) as progress:
                results = inspection.run(progress)
                if not done:
                    write_inspection_report(inspection, results, progress)
        except KeyboardInterrupt:
            say(shown, "stopped: the same command goes on from here")
            raise
    if as_json:
        places = {"result": str(inspection.result), "report": str(inspection.report)}
        console.print_json(orjson.dumps(results.as_dict() | places).decode())
    else:
        _tell(results, inspection, console, done=done)
    lot = results.lot
    return results.unscored < results.images and (lot is None or lot.accepted)


def _stations(what: What, plant: Plant | None, product: str) -> list[str]:
    """Return the stations (LINE/STATION) that images come from; none for a folder of which it is not known."""
    if isinstance(what.source, Path):
        if len(what.stations) > 1 or what.lines:
            raise InspectionError("a folder's images come from one station: name it with one --station, without --line")
        return list(what.stations)
    if plant is None:
        raise InspectionError("frames are read from a plant's Kafka: name its file with --plant")
    for line in what.lines:
        plant.line(line)
    for station in what.stations:
        line, _, name = station.partition("/")
        plant.line(line).station(name)
    found = [
        place
        for line, station in plant.stations()
        if (place := f"{line.name}/{station.name}")
        and (place in what.stations if what.stations else station.product == product)
        and (not what.lines or line.name in what.lines)
    ]
    if not found:
        raise InspectionError(f"no such station inspects product {product}; name it with --product or --station")
    return found


def _by_plant(settings: InspectSettings, plant: Plant, product: str, stations: Sequence[str]) -> InspectSettings:
    """Return the settings with the product's rules and weights of a plant file. Raises PlantError."""
    described = plant.product(product)
    return replace(
        settings,
        rules=rules_of(plant, product, stations[0] if stations else None),
        weights=settings.weights or described.weights,
        scales={place: scale for place, scale in plant.scales().items() if "/".join(place) in stations},
    )


def _known(
    what: What, settings: InspectSettings, plant: Plant | None, stations: Sequence[str]
) -> tuple[dict[str, Known], InspectSettings]:
    if what.against is None:
        return {}, settings
    if what.against == VERDICTS:
        if plant is None or isinstance(what.source, Path):
            raise InspectionError("verdicts are those of frames: inspect some with --kafka, or name a Parquet file")
        lines = sorted({station.partition("/")[0] for station in stations})
        known = known_from_verdicts(plant.kafka, lines, what.source.since)
        return known, replace(settings, against=f"the verdicts of {plant.site}")
    path = Path(what.against)
    known = known_from_file(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return known, replace(settings, against=f"{path.parent.name}/{path.name} ({digest[:12]})")


@contextmanager
def _inputs(
    what: What, settings: InspectSettings, plant: Plant | None, product: str, stations: Sequence[str]
) -> Iterator[Inputs]:
    depth = settings.depth or settings.rules.depth or read_manifest(settings.artifact)[0].depth
    if isinstance(what.source, Path):
        station = stations[0] if stations else None
        yield FolderInputs(what.source, station=station, product=product, depth=depth)
    else:
        assert plant is not None
        with TopicFrames(
            plant.kafka,
            product,
            what.source.since,
            what.source.until,
            stations=stations,
            objects=ObjectStore.of(plant.storage),
            depths=plant.depths() if settings.depth is None else {},
            depth=depth,
        ) as frames:
            yield frames


def _tell(results: Results, inspection: OfflineInspection, console: Console, *, done: bool) -> None:
    say(console, inspection.subject)
    table = Table("decision", "reason", "images")
    for cause in results.causes:
        table.add_row(cause.decision, escape(cause.reason or "–"), str(cause.images))
    console.print(table)
    if inspection.second is not None:
        say(
            console,
            f"{inspection.second.name} {inspection.second.version} judged {results.second_judged} images again and"
            f" decided {results.second_overruled} of them otherwise",
        )
    if inspection.settings.against is not None:
        counted = "".join(f"{count} {change}, " for change, count in results.changes.items() if count)
        say(console, f"against {inspection.settings.against}: {counted}{results.without_known} not known before")
    if results.lot is not None:
        _tell_lot(results.lot, console)
    if done:
        say(console, "this inspection was done before; nothing was inspected again")
    say(console, f"rows: {inspection.result}")
    say(console, f"report: {inspection.report}")


def _tell_lot(lot: LotDecision, console: Console) -> None:
    plan = lot.plan
    arrow = "" if plan.code == plan.letter else f", the table's arrow leads to {plan.letter}"
    whole = ": the whole lot" if plan.whole_lot else ""
    table = Table("sampling plan", "", title="ISO 2859-1 single sampling")
    for name, value in (
        ("inspection", f"{plan.severity}, general level {plan.level}"),
        ("AQL", f"{plan.aql:g} % nonconforming parts"),
        ("lot", f"{plan.lot} parts, code letter {plan.code}{arrow}"),
        ("sample", f"{plan.sample} parts{whole}; Ac {plan.accept}, Re {plan.reject}"),
        (
            "bad parts",
            f"{lot.nonconforming}: {lot.rejected} rejected, {lot.unscored} without a score (they count as bad)",
        ),
        ("accepted at the AQL", f"{plan.acceptance_probability(plan.aql / 100):.1%} of lots"),
        (
            f"accepted with {CONSUMER_RISK:.0%}",
            f"a process with {plan.quality_accepted_with(CONSUMER_RISK):.2%} bad parts",
        ),
    ):
        table.add_row(name, value)
    console.print(table)
    said = "accepted" if lot.accepted else "not accepted"
    console.print(f"the lot is {said}", style="green" if lot.accepted else "red", highlight=False)
