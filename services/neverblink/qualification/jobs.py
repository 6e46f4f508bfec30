"""Qualification as a job and as the gate before a change: settings in, progress, report out. It prints nothing."""

import getpass
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import torch

from neverblink.decisions.promise import promise_of
from neverblink.decisions.rules import rules_for
from neverblink.events import Slot
from neverblink.job_life.progress import Progress
from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.model_registry.golden_gate import Judge, Judged
from neverblink.model_registry.golden_set import GoldenError, GoldenPlace
from neverblink.model_registry.qualifications import JudgedPart, Qualification, QualificationError, QualificationStore
from neverblink.model_registry.registry import reference_of
from neverblink.plant import Plant, load_plant, rules_digest
from neverblink.qualification.judging import GoldenJudge, doubts
from neverblink.qualification.report import MOST_SHOWN, card_of, page_of
from neverblink.qualification.results import QualifyResult
from neverblink.qualification.settings import QualifyJob
from neverblink.reports.galleries import Card
from neverblink.reports.pages import check_place, write_page
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.inspector import extractor_of

_Engine = Literal["auto", "torch", "torch-cuda", "openvino"]


@dataclass(frozen=True, slots=True)
class Host:
    """Where a model judges: who asks, on which device, with which engine; None: as the plant's scorers do."""

    by: str
    device: str | None = None
    engine: _Engine | None = None

    def of(self, plant: Plant) -> tuple[str, _Engine, tuple[str, ...]]:
        """Return device and engine, and what a person should know where they are not those of the scorers."""
        wanted = plant.scorer.device
        device = self.device or wanted
        if self.device is None and device.startswith("cuda") and not torch.cuda.is_available():
            device = "cpu"
        engine: _Engine = self.engine or (plant.scorer.engine if device == wanted else "auto")
        if device == wanted:
            return device, engine, ()
        return device, engine, (f"judged on {device}, and scorers run on {wanted}: scores agree but for rounding",)


@dataclass(frozen=True, slots=True)
class Qualified:
    """A report that is kept, and what the plant makes of it."""

    judged: Judged
    refused: str | None
    notes: tuple[str, ...] = ()

    def result(self) -> QualifyResult:
        """Return what a program is told."""
        report = self.judged.report
        defects = sum(part.type is not None for part in report.parts)
        return QualifyResult(
            passed=self.refused is None,
            refused=self.refused,
            product=report.product,
            artifact=report.artifact.digest,
            threshold=report.threshold,
            golden=report.golden,
            good=len(report.parts) - defects,
            good_rejected=len(report.rejected_good),
            defects=defects,
            escaped=len(report.escaped),
            report=self.judged.ref.report,
            page=self.judged.page,
            figures=report.model_dump(mode="json"),
            notes=self.notes,
        )


def run_qualify(job: QualifyJob, progress: Progress = lambda *_: None) -> Qualified:
    """Let a model judge its product's golden set, and keep the report.

    Raises VisionError, PlantError, GoldenError, QualificationError.
    """
    plant = load_plant(job.plant)
    place = None if job.report is None else check_place(job.report).html
    with _artifact(plant, job.artifact) as artifact:
        product = job.product or artifact.product
        host = Host(job.by or asked_by(), job.device, job.engine)
        found, page = _qualified(plant, product, artifact, job.threshold, host, progress)
    if place is not None:
        write_page(place, page.decode(), found.judged.report.model_dump(mode="json"))
    return found


def qualified(plant: Plant, folder: Path, by: str, progress: Progress = lambda *_: None) -> Qualified:
    """Let the model of an artifact folder, at its own threshold, judge its product's golden set, and keep the report.

    Raises VisionError, PlantError, GoldenError, QualificationError.
    """
    artifact = load_artifact(folder)
    return _qualified(plant, artifact.product, artifact, None, Host(by), progress)[0]


def judge_of(plant: Plant, by: str, progress: Progress = lambda *_: None) -> Judge:
    """Return what lets a slot's model judge its product's golden set on this machine, for a change of models."""

    def judge(product: str, slot: Slot) -> Judged:
        with _fetched(plant, slot.location) as artifact:
            if artifact.digest != slot.artifact.digest:
                raise QualificationError(
                    f"at {slot.location} lies another model than {slot.artifact.name} {slot.artifact.version}"
                    f" ({slot.artifact.digest[:19]}…): its digest is {artifact.digest[:19]}…"
                )
            found, _ = _qualified(plant, product, artifact, slot.threshold, Host(by), progress)
            return found.judged

    return judge


def asked_by() -> str:
    """Return the user of this machine. Raises QualificationError where it does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise QualificationError("this machine does not know who you are: name yourself with --by") from error


def _qualified(
    plant: Plant, product: str, artifact: Artifact, edited: float | None, host: Host, progress: Progress
) -> tuple[Qualified, bytes]:
    if artifact.product != product:
        raise QualificationError(
            f"{artifact.name} {artifact.version} is a model of product {artifact.product}, not of {product}"
        )
    place = GoldenPlace.of(plant, product)
    golden = place.read()
    if not golden.parts:
        raise GoldenError(
            f"the golden set of {product} at {place.location} is empty: `neverblink golden add` puts pictures in"
        )
    device, engine, notes = host.of(plant)
    if plant.scorer.threads:
        torch.set_num_threads(plant.scorer.threads)
    extractor = extractor_of(artifact, weights=plant.product(product).weights, device=device, engine=engine)
    judge = GoldenJudge(plant, product, artifact, extractor, edited, device)
    parts: list[JudgedPart] = []
    cards: list[Card] = []
    for look in judge.looks(golden, place, progress):
        parts.append(look.part)
        if look.part.fault is not None and len(cards) < MOST_SHOWN:
            cards.append(card_of(look, artifact))
    report = Qualification(
        product=product,
        artifact=reference_of(artifact.manifest, artifact.digest),
        threshold=judge.threshold,
        edited=edited,
        rules=rules_digest(plant, product),
        golden=golden.digest,
        at=datetime.now(UTC),
        by=host.by,
        judged_on=f"{extractor.engine_name} on {device}",
        parts=tuple(parts),
    )
    refused = report.refusal(plant.proof.golden.good_rejected)
    told = (*notes, *doubts(report.parts))
    promise = promise_of(artifact.manifest, rules_for(plant.product(product)))
    page = page_of(report, refused, cards, promise, told).encode()
    ref, where = QualificationStore(plant.storage).put(report, page)
    ref = ref.model_copy(update={"passed": refused is None})
    return Qualified(Judged(report, ref, where), refused, told), page


@contextmanager
def _artifact(plant: Plant, named: str) -> Iterator[Artifact]:
    """Give a verified artifact that a person names: a folder, one of that name under storage.artifacts, or a URL."""
    folder = Path(named) if Path(named).is_dir() else plant.storage.artifacts / named
    if "://" in named:
        with _fetched(plant, named) as artifact:
            yield artifact
    else:
        yield load_artifact(folder)


@contextmanager
def _fetched(plant: Plant, location: str) -> Iterator[Artifact]:
    """Give the artifact of a slot, copied from where scorers fetch it, and from nowhere else, and verified."""
    store = ArtifactStore(plant.storage)
    with tempfile.TemporaryDirectory(prefix="neverblink-qualify-") as place:
        manifest, digest = store.manifest(location, Path(place))
        store.files(location, manifest, Path(place))
        yield load_artifact(Path(place), digest=digest)
