"""The recipe that a search takes, as the file that `neverblink fit --settings` reads."""

import os
from pathlib import Path

import yaml

from neverblink.storage.whole_file import UnwritableError, write_whole
from neverblink.trainer.fitting.settings import FitJob, FitSettings, ModelSettings
from neverblink.trainer.tuning.errors import TuneError
from neverblink.trainer.tuning.settings import TuneJob


def write_settings(path: Path, job: TuneJob, taken: FitSettings, says: str) -> None:
    """Write what a fit is asked to do; places in it are relative to the file. Raises TuneError."""
    values: dict[str, object] = {"images": _beside(job.images, path), "product": job.name}
    for name in ("skip_unusable", "exclude"):
        if value := getattr(job, name):
            values[name] = list(value) if isinstance(value, tuple) else value
    plain = taken.model_dump(mode="json", exclude_defaults=True)
    keys = {name: key for key, name in zip(ModelSettings.keys(), ModelSettings.model_fields, strict=True)}
    for name in ModelSettings.model_fields:
        if name not in plain:
            continue
        value = getattr(taken, name)
        values[keys[name]] = _beside(value, path) if isinstance(value, Path) else plain[name]
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    try:
        write_whole(path, f"# {says}\n{text}".encode())
    except UnwritableError as error:
        raise TuneError(str(error)) from error
    # What a fit would refuse must not be found out by the person who starts it.
    FitJob.read(path, {})


def _beside(place: Path, file: Path) -> str:
    return os.path.relpath(place.resolve(), file.parent.resolve())
