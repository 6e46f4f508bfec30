"""Inspecting what is at rest as a job: settings in, progress, result out. It prints nothing."""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from neverblink.decisions.rules import rules_of
from neverblink.job_life.progress import Progress
from neverblink.model_registry.changes import Which
from neverblink.model_registry.registry import reference_of
from neverblink.model_registry.what_scores import edited_thresholds
from neverblink.plant import Plant, load_plant
from neverblink.storage.frame_objects import ObjectStore
from neverblink.trainer.datasets.inputs import FolderInputs, Inputs, InspectionError
from neverblink.trainer.datasets.topic_frames import TopicFrames
from neverblink.trainer.offline_inspection.inspection import OfflineInspection
from neverblink.trainer.offline_inspection.job_result import InspectResult, ShownPicture
from neverblink.trainer.offline_inspection.judge import Place
from neverblink.trainer.offline_inspection.known_decisions import Known, known_from_file, known_from_verdicts
from neverblink.trainer.offline_inspection.report import write_inspection_report
from neverblink.trainer.offline_inspection.results import Results
from neverblink.trainer.offline_inspection.settings import InspectJob, Severity
from neverblink.trainer.offline_inspection.showing_pictures import shown_pictures
from neverblink.trainer.offline_inspection.terms import InspectSettings, LotSettings, SecondPass
from neverblink.vision.artifact import Artifact, read_manifest
from neverblink.vision.likeness import likeness


@dataclass(frozen=True, slots=True)
class Inspected:
    """All that was found, where it lies, and whether it had been done before."""

    results: Results
    subject: str
    second: Artifact | None
    against: str | None
    rows: Path
    report: Path
    done_before: bool
    notes: tuple[str, ...] = ()
    artifact: str = ""
    pictures: tuple[ShownPicture, ...] = ()

    @property
    def good(self) -> bool:
        """Say whether the lot is accepted, where there is one, and any image has a score."""
        lot = self.results.lot
        return self.results.unscored < self.results.images and (lot is None or lot.accepted)

    def counts(self) -> dict[str, object]:
        """Return all counts as plain values, for JSON."""
        return self.results.as_dict() | {"result": str(self.rows), "report": str(self.report)}

    def result(self) -> InspectResult:
        """Return what a program is told."""
        found, lot = self.results, self.results.lot
        return InspectResult(
            subject=self.subject,
            images=found.images,
            passed=found.passed,
            unsure=found.unsure,
            rejected=found.rejected,
            unscored=found.unscored,
            accepted=None if lot is None else lot.accepted,
            done_before=self.done_before,
            rows=self.rows,
            report=self.report,
            counts=self.counts(),
            artifact=self.artifact,
            pictures=self.pictures,
            notes=self.notes,
        )


def run_inspect(job: InspectJob, progress: Progress = lambda *_: None) -> Inspected:
    """Inspect a folder or a span of the frames' topic, and write the report.

    Raises VisionError, PlantError, ModelsError, KafkaError.
    """
    plant = None if job.plant is None else load_plant(job.plant)
    manifest, digest = read_manifest(job.artifact)
    for one in (manifest, *([] if job.second is None else [read_manifest(job.second)[0]])):
        if job.product not in (None, one.product):
            raise InspectionError(
                f"{one.name} {one.version} is a model of product {one.product}, and the images show {job.product}: name"
                " an artifact of that product"
            )
    product = job.product or manifest.product
    stations = _stations(job, plant, product)
    settings = _terms(job)
    if plant is not None:
        settings = _by_plant(settings, plant, product, stations)
        if job.threshold == "in-force":
            chosen = Which(stations=stations).of(plant)
            reference = reference_of(manifest, digest)
            settings = replace(settings, thresholds=asyncio.run(edited_thresholds(plant, chosen, reference)))
    known, settings = _known(job, settings, plant, stations)
    depth = job.depth or settings.rules.depth or manifest.depth
    with _inputs(job, plant, product, stations, depth) as inputs:
        inspection = OfflineInspection(inputs, settings, folder=job.out, known=known)
        done = inspection.result.is_file() and inspection.report.is_file()
        results = inspection.run(progress)
        if not done:
            write_inspection_report(inspection, results, progress)
        return Inspected(
            results,
            inspection.subject,
            inspection.second,
            settings.against,
            inspection.result,
            inspection.report,
            done,
            (*_notes(inputs), *_unlike(results, inspection.artifact)),
            inspection.artifact.digest,
            _shown(job, inspection, stations, depth, progress),
        )


def _shown(
    job: InspectJob, inspection: OfflineInspection, stations: Sequence[str], depth: int | None, progress: Progress
) -> tuple[ShownPicture, ...]:
    """Show pictures of a folder as they were judged, where a gallery is asked for."""
    if job.gallery is None or job.images is None:
        return ()
    line, _, station = (stations[0] if stations else "").partition("/")
    settings = inspection.settings
    place = Place(settings.scales.get((line, station)), settings.thresholds.get((line, station)))
    return shown_pictures(inspection.judge, place, job.images, job.gallery, depth, progress)


def _notes(inputs: Inputs) -> tuple[str, ...]:
    """Say how many pictures of a folder are masks, which show no parts."""
    if not isinstance(inputs, FolderInputs) or not inputs.masks_left_out:
        return ()
    return (f"{inputs.masks_left_out} pictures of {inputs.subject} are masks of others and were left out",)


def _unlike(results: Results, artifact: Artifact) -> tuple[str, ...]:
    """Say when parts score higher than those that the threshold was made from, some defective ones apart."""
    found = likeness(
        artifact.manifest.calibration,
        artifact.picture_scores,
        results.scores_of(artifact.digest),
        mixed=True,
        noun="parts",
    )
    warning = found.warning()
    return () if warning is None else (warning,)


def _terms(job: InspectJob) -> InspectSettings:
    """Return what the job says itself; a plant file adds to it."""
    severity: Severity = "tightened" if job.tightened else "normal"
    return InspectSettings(
        job.artifact,
        job.weights,
        second=None if job.second is None else SecondPass(job.second, job.second_from, job.second_weights),
        lot=None if job.aql is None else LotSettings(job.aql, job.lot_size, job.level, severity, job.seed),
        device=job.device,
        engine=job.engine,
        batch=job.batch,
        save_every_s=job.save_every,
    )


def _stations(job: InspectJob, plant: Plant | None, product: str) -> list[str]:
    """Return the stations (LINE/STATION) that images come from; none for a folder of which it is not known."""
    if job.images is not None:
        if len(job.station) > 1 or job.line:
            raise InspectionError("a folder's images come from one station: name it with one --station, without --line")
        return list(job.station)
    if plant is None:
        raise InspectionError("frames are read from a plant's Kafka: name its file with --plant")
    for line in job.line:
        plant.line(line)
    for station in job.station:
        line, _, name = station.partition("/")
        plant.line(line).station(name)
    found = [
        place
        for line, station in plant.stations()
        if (place := f"{line.name}/{station.name}")
        and (place in job.station if job.station else station.product == product)
        and (not job.line or line.name in job.line)
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
    job: InspectJob, settings: InspectSettings, plant: Plant | None, stations: Sequence[str]
) -> tuple[dict[str, Known], InspectSettings]:
    if job.against is None:
        return {}, settings
    if job.against == "verdicts":
        if plant is None or job.since is None:
            raise InspectionError("verdicts are those of frames: inspect some with --kafka, or name a Parquet file")
        lines = sorted({station.partition("/")[0] for station in stations})
        known = known_from_verdicts(plant.kafka, lines, job.since)
        return known, replace(settings, against=f"the verdicts of {plant.site}")
    path = Path(job.against)
    known = known_from_file(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return known, replace(settings, against=f"{path.parent.name}/{path.name} ({digest[:12]})")


@contextmanager
def _inputs(
    job: InspectJob, plant: Plant | None, product: str, stations: Sequence[str], depth: int | None
) -> Iterator[Inputs]:
    if job.images is not None:
        station = stations[0] if stations else None
        yield FolderInputs(job.images, station=station, product=product, depth=depth)
    else:
        assert plant is not None
        assert job.since is not None
        with TopicFrames(
            plant.kafka,
            product,
            job.since,
            job.until,
            stations=stations,
            objects=ObjectStore.of(plant.storage),
            depths=plant.depths() if job.depth is None else {},
            depth=depth,
        ) as frames:
            yield frames
