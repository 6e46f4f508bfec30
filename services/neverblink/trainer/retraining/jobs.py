"""The jobs that learn from confirmed parts: settings in, progress, result out. They print nothing."""

import asyncio
import getpass
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from neverblink.decisions.rules import rules_of
from neverblink.errors import NeverblinkError
from neverblink.job_life.progress import Progress
from neverblink.model_registry import registry
from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.model_registry.changes import ModelsError, Stamp, Target, Which
from neverblink.model_registry.golden_set import GoldenError
from neverblink.model_registry.qualifications import QualificationError
from neverblink.model_registry.what_scores import described, scoring_slot
from neverblink.plant import Plant, load_plant
from neverblink.qualification.jobs import asked_by, qualified
from neverblink.reports.pages import Written, check_place
from neverblink.trainer.datasets.confirmed_images import confirmed_images, known_parts
from neverblink.trainer.retraining.report import write_retraining_report
from neverblink.trainer.retraining.results import KeepReviewedResult, RetrainResult
from neverblink.trainer.retraining.retrain import Evidence, Retrained, RetrainSettings, retrain
from neverblink.trainer.retraining.reviewed_images import bring_reviewed
from neverblink.trainer.retraining.settings import KeepReviewedJob, RetrainJob
from neverblink.trainer.retraining.training_window import WindowSettings


class KeepReviewedEndedError(NeverblinkError):
    """A command that has been replaced; the message says by what."""


@dataclass(frozen=True, slots=True)
class Challenged:
    """The challenger and its trial; what the reviews brought; the report; what the registry said of the shadow; and in
    a sentence what came of the product's golden set, None where it has none.
    """

    done: Retrained
    out: Path
    report: Written
    kept: KeepReviewedResult | None
    shadow: registry.Changed | None
    golden: str | None = None

    @property
    def in_shadow(self) -> tuple[str, ...]:
        """Return the state of the stations where the challenger is in shadow, as people read it."""
        return () if self.shadow is None else tuple(map(described, self.shadow.events))

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a person should know about the golden set and the shadow."""
        return (*(() if self.golden is None else (self.golden,)), *(() if self.shadow is None else self.shadow.notes))

    def figures(self) -> dict[str, object]:
        """Return the trial as plain values, for JSON."""
        return self.done.trial.as_dict() | {"artifact": str(self.out), "report": str(self.report.html)}

    def result(self) -> RetrainResult:
        """Return what a program is told."""
        champion, trial = self.done.champion, self.done.trial
        return RetrainResult.of(
            self.done.artifact,
            self.out,
            champion=champion.version,
            champion_digest=champion.digest,
            promotable=self.done.promotable,
            refused=trial.refusal,
            doubts=trial.doubts,
            learnt=self.done.learnt,
            report=self.report.html,
            kept=self.kept,
            shadow=self.in_shadow,
            notes=self.notes,
            figures=self.figures(),
        )


def run_retrain(job: RetrainJob, progress: Progress = lambda *_: None) -> Challenged:
    """Make a challenger, try it against the champion, write the report, and put it in shadow where that is asked for.

    Raises VisionError, PlantError, ModelsError, KafkaError, LedgerError, EvidenceStoreError.
    """
    place = check_place(job.page).html
    plant = None if job.plant is None else load_plant(job.plant)
    stamp = _stamp(job) if job.shadow else None
    which = Which(job.line, job.station, job.product)
    chosen: tuple[Target, ...] = ()
    if plant is not None and (job.champion is None or job.reviews or job.shadow):
        chosen = which.of(plant)
    window = _window(job)
    kept = None
    if plant is not None and job.reviews:
        since = (window.until or datetime.now(UTC)) - timedelta(days=window.days)
        found = bring_reviewed(plant, chosen, job.normals, since=since, progress=progress)
        kept = KeepReviewedResult(folder=job.normals, **asdict(found))
    with _champion(job, plant, chosen) as (champion, threshold, product):
        settings = _settings(job, window)
        if plant is not None:
            name = product or (chosen[0].product if chosen else plant.products[0].name)
            settings = _by_plant(settings, plant, name, chosen, threshold)
        done = retrain(champion, job.out, _evidence(job, [target.key for target in chosen]), settings, progress)
        written = write_retraining_report(done, place)
    golden = None if plant is None else _golden(plant, done, job.out, progress)
    changed = None
    if stamp is not None and plant is not None and done.promotable:
        why = stamp.why or f"retrained on {done.learnt} confirmed normals, report {written.html.name}"
        changed = asyncio.run(registry.shadow(plant, which, str(job.out), None, replace(stamp, why=why)))
    return Challenged(done, job.out, written, kept, changed, golden)


def _golden(plant: Plant, done: Retrained, out: Path, progress: Progress) -> str | None:
    """Let the challenger judge its product's golden set: who promotes it then finds the report.

    What is wrong with the set is a sentence too: it must not cost the work that is done.
    """
    artifact = done.artifact
    if artifact.product not in plant.proof.golden.sets:
        return None
    try:
        found = qualified(plant, out, asked_by(), progress)
    except (GoldenError, QualificationError) as error:
        return f"the golden set of {artifact.product} was not judged: {error}"
    if found.refused is None:
        return f"it passes the golden set of {artifact.product}: {found.judged.page}"
    return f"it fails the golden set of {artifact.product}, so no promotion of it will be let through: {found.refused}"


def run_keep_reviewed(job: KeepReviewedJob, progress: Progress = lambda *_: None) -> KeepReviewedResult:
    """Say what has replaced this job. Raises KeepReviewedEndedError."""
    raise KeepReviewedEndedError(
        "keep-reviewed has ended: the ledger keeps the pictures itself (records.evidence in the plant file), and"
        f" `neverblink retrain {job.folder} -p {job.plant} --reviews …` brings what people judged into the folder. A"
        " folder that was kept before goes on working; take keep-reviewed out of your schedule"
    )


def _stamp(job: RetrainJob) -> Stamp:
    try:
        return Stamp(job.by or getpass.getuser(), job.why, datetime.now(UTC))
    except (KeyError, OSError) as error:
        raise ModelsError("this machine does not know who you are: name yourself with --by") from error


def _window(job: RetrainJob) -> WindowSettings:
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    return WindowSettings(
        days=7 * job.weeks,
        until=job.until,
        most=job.most,
        hold_out=job.hold_out,
        by=job.hold_out_by,
        seed=job.seed,
        shifts=job.shifts,
        zone=zone,
        least=job.least,
        least_held_out=job.least_held_out,
    )


def _settings(job: RetrainJob, window: WindowSettings) -> RetrainSettings:
    return RetrainSettings(
        window,
        correct=job.correct,
        share=job.share,
        false_reject=job.false_reject,
        version=job.model_version,
        skip_unusable=job.skip_unusable,
        tolerate_old_misses=job.tolerate_old_misses,
        weights=job.weights,
        device=job.device,
        memory_gib=job.memory_gib,
    )


def _by_plant(
    settings: RetrainSettings, plant: Plant, product: str, chosen: Sequence[Target], threshold: float | None
) -> RetrainSettings:
    """Return the settings with a plant's shifts, the product's rules and weights, and the champion's threshold."""
    shifts = plant.drift
    return replace(
        settings,
        window=replace(settings.window, shifts=shifts.shifts_begin_h, zone=ZoneInfo(shifts.time_zone)),
        rules=rules_of(plant, product, chosen[0].key if chosen else None),
        weights=settings.weights or plant.product(product).weights,
        champion_threshold=threshold,
    )


@contextmanager
def _champion(
    job: RetrainJob, plant: Plant | None, chosen: Sequence[Target]
) -> Iterator[tuple[Path, float | None, str | None]]:
    """Yield the champion's folder, the threshold it was edited to, and its product where the stations tell it."""
    if job.champion is not None:
        yield job.champion, None, chosen[0].product if chosen else None
        return
    assert plant is not None
    slot = asyncio.run(scoring_slot(plant, chosen))
    with tempfile.TemporaryDirectory(prefix="neverblink-champion-") as place:
        store = ArtifactStore(plant.storage)
        manifest, _ = store.manifest(slot.location, Path(place), digest=slot.artifact.digest)
        store.files(slot.location, manifest, Path(place))
        yield Path(place), slot.threshold, manifest.product


def _evidence(job: RetrainJob, stations: Sequence[str]) -> Evidence:
    confirmed = confirmed_images(job.normals, stations)
    defects = [part for folder in job.defects for part in known_parts(folder)]
    challenge = [part for folder in job.challenge for part in known_parts(folder)]
    return Evidence(
        confirmed.normals, defects=[*confirmed.defects, *defects], challenge=[*confirmed.challenge, *challenge]
    )
