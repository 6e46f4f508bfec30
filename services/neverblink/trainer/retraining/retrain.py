"""A challenger from confirmed normals of the last weeks, tried against the champion; known defects must not escape."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.confirmed_images import ConfirmedImage, KnownPart
from neverblink.trainer.datasets.found_parts import with_parts
from neverblink.trainer.datasets.images import DatasetError, LabelledImage, file_digest
from neverblink.trainer.datasets.usable_pictures import Usable, usable_pictures
from neverblink.trainer.fitting.model_version import new_version
from neverblink.trainer.fitting.places import check_writable
from neverblink.trainer.fitting.update import update
from neverblink.trainer.retraining.champion_trial import Part, Trial, try_models
from neverblink.trainer.retraining.refit import refit, settings_like
from neverblink.trainer.retraining.training_window import TrainingWindow, WindowSettings, training_window
from neverblink.vision.artifact import Artifact, load_artifact, tried
from neverblink.vision.artifact_manifest import ArtifactError, Retraining
from neverblink.vision.decode import read_image
from neverblink.vision.inspection import scores_of
from neverblink.vision.inspector import Inspector, aligner_of, extractor_of, inspect
from neverblink.vision.network_names import OWN_BANK

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """What people said: normals, known defects, and the challenge parts, which are defective too."""

    normals: Sequence[ConfirmedImage]
    defects: Sequence[KnownPart] = ()
    challenge: Sequence[KnownPart] = ()


@dataclass(frozen=True, slots=True)
class RetrainSettings:
    """How a challenger is made and tried.

    `correct`: the champion's bank takes what surprises it about normals that it rejects, at most `share` of their
    patches, and nothing is fitted anew. `champion_threshold` is what a person has edited the champion's to.
    """

    window: WindowSettings = field(default_factory=WindowSettings)
    correct: bool = False
    share: float = 0.05
    false_reject: float | None = None
    version: str | None = None
    rules: ProductRules = DEFAULT_RULES
    champion_threshold: float | None = None
    tolerate_old_misses: bool = False
    weights: Path | None = None
    device: str = "cpu"
    memory_gib: float = 4.0
    skip_unusable: bool = False


@dataclass(frozen=True, slots=True)
class Retrained:
    """The challenger, what it learnt from, and how it did. `learnt` counts the normals it learnt from."""

    champion: Artifact
    artifact: Artifact
    window: TrainingWindow
    trial: Trial
    learnt: int

    @property
    def promotable(self) -> bool:
        """Say whether nothing speaks against promoting the challenger."""
        return self.trial.refusal is None


def retrain(
    champion: Path,
    out: Path,
    evidence: Evidence,
    settings: RetrainSettings | None = None,
    progress: Progress = lambda *_: None,
) -> Retrained:
    """Make a challenger of the `champion` folder's model, try both, and write it to `out` with what came of it.

    A refused challenger is written too, marked: `models promote` and `models activate` refuse it. Raises VisionError.
    """
    settings = settings or RetrainSettings()
    if out.exists():
        raise ArtifactError(f"{out} already exists; choose another folder for the challenger")
    check_writable(out)
    found = load_artifact(champion)
    version = new_version(
        found, settings.version, f"{'correct' if settings.correct else 'retrain'}-{datetime.now(UTC):%Y%m%d}"
    )
    known = frozenset(found.manifest.provenance.images)
    normals, usable = _once(evidence.normals, known, found, settings, progress)
    window = training_window(normals, settings.window, champion_knows=known)
    window = replace(window, duplicates=window.duplicates + len(evidence.normals) - len(normals))
    parts = trial_parts(window, evidence)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"the folder {out.parent} cannot be made: {error.strerror}") from error
    # Nothing lies at `out` before the trial is over: a model without its result could be promoted.
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as place:
        made = Path(place) / "challenger"
        if settings.correct:
            artifact, learnt = _corrected(champion, found, made, window, version, settings, progress)
        else:
            learn = usable.of({image.path for image in window.learn})
            artifact, learnt = _refitted(found, made, learn, parts, version, settings, progress), len(window.learn)
        trial = try_models(
            found,
            artifact,
            parts,
            rules=settings.rules,
            champion_threshold=settings.champion_threshold,
            tolerate_old_misses=settings.tolerate_old_misses,
            weights=settings.weights,
            device=settings.device,
            progress=progress,
        )
        result = Retraining(
            champion=found.digest,
            mode="correction" if settings.correct else "refit",
            learnt=learnt,
            held_out=len(window.held_out),
            refused=trial.refusal,
        )
        marked = tried(artifact, made, result)
        shutil.move(made, out)
    trial = replace(trial, challenger=replace(trial.challenger, digest=marked.digest))
    return Retrained(found, marked, window, trial, learnt)


def _once(
    normals: Sequence[ConfirmedImage],
    known: frozenset[str],
    champion: Artifact,
    settings: RetrainSettings,
    progress: Progress,
) -> tuple[list[ConfirmedImage], Usable]:
    """Return one of each group of copies, the one that the champion was fitted to where it was, and what is known of
    all files that can be used.
    """
    usable = usable_pictures(
        list(dict.fromkeys(image.path for image in normals)),
        skip_unusable=settings.skip_unusable,
        tiling=champion.manifest.tiling,
        depth=champion.manifest.depth,
        progress=progress,
    )
    kept = usable.once(lambda picture: picture.digest in known)
    return [image for image in normals if image.path in kept], usable


def trial_parts(window: TrainingWindow, evidence: Evidence) -> list[Part]:
    """Return what both models are tried on. Raises DatasetError for a part that is normal and defective at once."""
    normals = {image.digest: image.path for image in (*window.learn, *window.held_out)}
    parts = [Part(image.path, "normal") for image in window.held_out]
    seen: set[str] = set()
    for role, known in (("challenge", evidence.challenge), ("defect", evidence.defects)):
        for one in known:
            digest = file_digest(one.path)
            if digest in normals:
                raise DatasetError(
                    f"{one.path} is said to show a defect ({one.type}), and the same image is confirmed as normal in"
                    f" {normals[digest]}: one of them is wrong"
                )
            if digest not in seen:
                seen.add(digest)
                parts.append(Part(one.path, "challenge" if role == "challenge" else "defect", one.type))
    return parts


def _refitted(
    found: Artifact,
    out: Path,
    usable: Usable,
    parts: Sequence[Part],
    version: str,
    settings: RetrainSettings,
    progress: Progress,
) -> Artifact:
    fit_settings = settings_like(
        found, usable.copies.different, version=version, weights=settings.weights, device=settings.device
    )
    changes: dict[str, object] = {"memory_gib": settings.memory_gib}
    if settings.false_reject is not None:
        changes["false_reject"] = settings.false_reject
    fit_settings = fit_settings.model_copy(update=changes)
    labelled: list[LabelledImage] = []
    if fit_settings.engine in OWN_BANK and any(part.type for part in parts):
        labelled = [LabelledImage(part.path, part.type, None) for part in parts]
    return refit(found, usable, out, fit_settings, progress, labelled=labelled)


def _corrected(
    champion: Path,
    found: Artifact,
    out: Path,
    window: TrainingWindow,
    version: str,
    settings: RetrainSettings,
    progress: Progress,
) -> tuple[Artifact, int]:
    """Insert what surprises the champion about normals that it rejects; the others say what is normal."""
    known = set(found.manifest.provenance.images)
    fresh = [image.path for image in window.learn if image.digest not in known]
    paths, _ = with_parts(fresh, lambda path: path, aligner_of(found), depth=found.manifest.depth, progress=progress)
    inspector = Inspector(found, extractor_of(found, weights=settings.weights, device=settings.device))
    threshold = settings.champion_threshold or found.threshold
    wrong: list[Path] = []
    passed: list[Path] = []
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        pictures = [read_image(one, depth=found.manifest.depth) for one in batch]
        anomalies = inspect([(inspector, one) for one in pictures])
        for path, score in zip(batch, scores_of(anomalies, batch), strict=True):
            (wrong if score > threshold else passed).append(path)
        progress("looking for false rejects", len(wrong) + len(passed), len(paths))
    if not wrong:
        raise DatasetError(
            f"{found.name} {found.version} rejects none of {len(paths)} confirmed normals that it does not know: there"
            " is nothing to correct"
        )
    done = update(
        champion,
        out,
        wrong,
        version=version,
        share=settings.share,
        normals=passed,
        weights=settings.weights,
        progress=progress,
    )
    return done.artifact, len(wrong)
