"""The recipe that a search takes, as the file that `neverblink fit --settings` reads."""

import os
from pathlib import Path
from typing import Final

import yaml

from neverblink.storage.whole_file import UnwritableError, write_whole
from neverblink.trainer.fitting.settings import FitJob, FitSettings, ModelSettings
from neverblink.trainer.tuning.errors import TuneError
from neverblink.trainer.tuning.settings import TuneJob
from neverblink.vision.named_regions.spec import RegionsFile

REGIONS: Final = "regions.yaml"
"""Where the named regions go, beside the settings."""


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
    regions = None
    if isinstance(taken.regions, RegionsFile):
        values[keys["regions"]] = REGIONS
        regions = _text(_placed(taken.regions, path))
    try:
        if regions is not None:
            write_whole(path.with_name(REGIONS), regions)
        write_whole(path, f"# {says}\n".encode() + _text(values))
    except UnwritableError as error:
        raise TuneError(str(error)) from error
    # What a fit would refuse must not be found out by the person who starts it.
    FitJob.read(path, {})


def _placed(regions: RegionsFile, path: Path) -> dict[str, object]:
    """Return named regions as a file beside the settings has them: its folders of examples are relative to it."""
    placed = [
        one.model_copy(update={"examples": {state: Path(_beside(at, path)) for state, at in one.examples.items()}})
        for one in regions.regions
    ]
    return regions.model_copy(update={"regions": tuple(placed)}).model_dump(mode="json", exclude_defaults=True)


def _text(values: dict[str, object]) -> bytes:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True).encode()


def _beside(place: Path, file: Path) -> str:
    return os.path.relpath(place.resolve(), file.parent.resolve())
