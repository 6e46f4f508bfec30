"""Several configurations on the same images, fitted, judged and put side by side."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from neverblink import __version__
from neverblink.errors import reason_of
from neverblink.job_life.progress import Progress
from neverblink.job_life.settings import SettingsError, explained, unknown
from neverblink.job_life.yaml_file import read_yaml
from neverblink.storage.whole_file import write_whole
from neverblink.trainer.datasets.images import DatasetError, image_folder, labelled_images
from neverblink.trainer.evaluation.evaluate import Clock, evaluate
from neverblink.trainer.evaluation.figures import Evaluation
from neverblink.trainer.evaluation.results import ComparedConfiguration
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings, ModelSettings, settings_from
from neverblink.vision.artifact import load_artifact
from neverblink.vision.artifact_manifest import ArtifactError
from neverblink.vision.errors import VisionError

RESULTS = "comparison.json"

_MAX_LABEL = 80
_LABEL = "label"
_NOT_COMPARED: Final = frozenset({"scratch"})
_FILES: Final = frozenset({"weights", "region", "regions"})

_EXAMPLE = """\
# Each item is one configuration: what `neverblink fit` takes, as far as it differs from the defaults.
- label: default
- label: finer
  size: 320
- label: large bank
  ratio: 0.1

# Every key, its default where it has one, and what it means:
#   label: its name in the table
"""


class CompareError(VisionError):
    """A list of configurations that cannot be understood; the message says where and why."""


def example() -> str:
    """Return a list to start from, with every key that an item may have as a comment."""
    return _EXAMPLE + explained(ModelSettings, without=_NOT_COMPARED)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A name for the table, and what is fitted."""

    label: str
    settings: FitSettings


def read_configurations(path: Path, product: str) -> list[Configuration]:
    """Read a YAML list of what differs from the defaults of `FitSettings`, each with an optional `label`.

    Files are looked for beside the list. Raises CompareError.
    """
    items = read_yaml(path, "list of configurations", CompareError)
    if not isinstance(items, list) or not items:
        raise CompareError(f"{path} must hold a list of configurations, each starting with `- label: NAME`")
    found = [
        _configuration(item, product, path.parent, f"{path}, configuration {number}")
        for number, item in enumerate(items, start=1)
    ]
    labels = [one.label for one in found]
    for label in labels:
        if labels.count(label) > 1:
            raise CompareError(f"{path} has two configurations named {label!r}; give each its own label")
    return found


def compare(
    images: Path,
    configurations: Sequence[Configuration],
    folder: Path,
    progress: Callable[[str], Progress] = lambda _: lambda *_: None,
    *,
    clock: Clock = time.perf_counter,
) -> list[ComparedConfiguration]:
    """Fit and judge each configuration on the MVTec layout `images`; models are kept in `folder` for next time.

    A model is taken from `folder` when its images, settings, weights and our version are the same. The
    results also go to `folder`/comparison.json after each configuration. A configuration that fails has a row
    that says why, the others go on. Raises VisionError when images or folder cannot be used at all.
    """
    tested = labelled_images(images)
    # As `fit` does: where pictures are grouped, those in folders below count too.
    found = {deep: _listed(images, deep=deep) for deep in {one.settings.group_by is not None for one in configurations}}
    if all(isinstance(listed, DatasetError) for listed in found.values()):
        raise next(listed for listed in found.values() if isinstance(listed, DatasetError))
    rows: list[ComparedConfiguration] = []
    _save(folder / RESULTS, b"[]")
    for one in configurations:
        report = progress(one.label)
        try:
            training = found[one.settings.group_by is not None]
            if isinstance(training, DatasetError):
                raise training
            place, seconds, before = _fitted(training, one.settings, folder, report, clock)
            rows.append(_row(one.label, place, seconds, before, evaluate(tested, place, one.settings.weights, report)))
        except ValidationError as error:
            fault = error.errors()[0]
            rows.append(ComparedConfiguration(label=one.label, fault=f"{reason_of(fault)} (it is {fault['input']})"))
        except VisionError as error:
            rows.append(ComparedConfiguration(label=one.label, fault=str(error)))
        _save(folder / RESULTS, orjson.dumps([row.model_dump(mode="json") for row in rows], option=orjson.OPT_INDENT_2))
    return rows


def _configuration(item: Any, product: str, beside: Path, where: str) -> Configuration:
    if not isinstance(item, dict) or not all(isinstance(key, str) for key in item):
        raise CompareError(f"{where} must be settings such as `size: 320`")
    known = ModelSettings.keys().keys() - _NOT_COMPARED
    for key in item.keys() - known - {_LABEL}:
        raise CompareError(f"{where}: {unknown(key, known | {_LABEL}, 'of a fit')}")
    changes = {key: value for key, value in item.items() if key != _LABEL}
    for name in _FILES & changes.keys():
        if isinstance(changes[name], str):
            changes[name] = beside / changes[name]
            if not changes[name].is_file():
                raise CompareError(f"{where}: there is no {name} file {changes[name]}")
    try:
        settings = settings_from({"product": product, "name": product} | changes)
    except SettingsError as error:
        raise CompareError(f"{where}: {error}") from error
    label = item.get(_LABEL, ", ".join(f"{key} {value}" for key, value in changes.items()) or "defaults")
    if not isinstance(label, str) or not label or len(label) > _MAX_LABEL:
        raise CompareError(f"{where}: a label is a text of 1 to {_MAX_LABEL} characters; put it in quotes")
    return Configuration(label, settings)


class _Kept(BaseModel):
    """What stands beside a kept model: how long it took, and which one it is."""

    model_config = ConfigDict(extra="forbid")

    seconds: float
    digest: str


@dataclass(frozen=True, slots=True)
class _Training:
    """The good pictures of a folder, their digests, and what their groups' paths begin below."""

    pictures: Sequence[Path]
    digests: Sequence[str]
    root: Path

    @classmethod
    def of(cls, place: Path, *, deep: bool) -> Self:
        found = image_folder(place, labelled=False, deep=deep).good
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]
        return cls(found, digests, place if place.is_dir() else place.parent)


def _listed(images: Path, *, deep: bool) -> "_Training | DatasetError":
    try:
        return _Training.of(images, deep=deep)
    except DatasetError as error:
        return error


def _fitted(
    training: _Training, settings: FitSettings, folder: Path, report: Progress, clock: Clock
) -> tuple[Path, float, bool]:
    """Return the artifact's folder, the seconds its fit took, and whether it was there before."""
    key = _key(training, settings)
    place, note = folder / key, folder / f"{key}.json"
    try:
        kept = _Kept.model_validate_json(note.read_bytes())
        load_artifact(place, digest=kept.digest)
    except (OSError, ValidationError, ArtifactError):
        # Not there, unfinished or damaged: in each case fitting makes it anew.
        began = clock()
        fitted = fit(training.pictures, place, settings, report, root=training.root)
        kept = _Kept(seconds=clock() - began, digest=fitted.artifact.digest)
        _save(note, kept.model_dump_json().encode())
        return place, kept.seconds, False
    return place, kept.seconds, True


def _key(training: _Training, settings: FitSettings) -> str:
    # `labelled` was a setting once, others are younger: models that an earlier version kept are found again.
    later = {name for name in ("group_by", "robust") if not getattr(settings, name)}
    plain: dict[str, Any] = settings.model_dump(mode="json", exclude=later) | {"labelled": []}
    for name, file in (("weights", settings.weights), ("region", settings.region)):
        if isinstance(file, Path):
            plain[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    if settings.group_by is not None:
        plain["paths"] = [path.relative_to(training.root).as_posix() for path in training.pictures]
    named = {"images": training.digests, "settings": plain, "version": __version__}
    whole = orjson.dumps(named, option=orjson.OPT_SORT_KEYS)
    return f"{settings.name}-{hashlib.sha256(whole).hexdigest()[:16]}"


def _row(label: str, place: Path, seconds: float, before: bool, found: Evaluation) -> ComparedConfiguration:
    return ComparedConfiguration(
        label=label,
        artifact=place,
        digest=found.digest,
        image_auroc=found.image_auroc,
        pixel_auroc=found.pixel_auroc,
        au_pro=found.pixels.au_pro,
        recall=found.found,
        false_rejects=found.false_rejects,
        good=found.good,
        promised_false_reject=found.calibration.false_reject,
        p50_ms=found.latency.p50_ms,
        images_per_s=found.latency.images_per_s,
        bank_mb=4 * found.manifest.vectors * found.manifest.dimension / 1e6,
        fit_seconds=seconds,
        fitted_before=before,
    )


def _save(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content + b"\n")
    except OSError as error:
        raise CompareError(f"{path} cannot be written: {error.strerror}") from error
