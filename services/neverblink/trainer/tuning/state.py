"""What a search has tried so far, in a file that is whole after every trial: a killed search goes on from it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neverblink import __version__
from neverblink.storage.whole_file import UnwritableError, write_whole
from neverblink.trainer.datasets.labelled_image import file_digest
from neverblink.trainer.fitting.named_regions import examples_of
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.tuning.errors import TuneError
from neverblink.trainer.tuning.judging import NEVER, Scores
from neverblink.trainer.tuning.schedule import Key, Rung
from neverblink.trainer.tuning.trials import Pictures
from neverblink.vision.named_regions.spec import RegionsFile

_MAX_BYTES = 256 * 1024**2

_NO_MATTER = {"scratch", "memory_gib", "false_reject"}
"""Settings that change no score: by another promise what was tried is judged anew."""


class Trial(BaseModel):
    """One recipe on some or all pictures: its scores, null where no part was found, or why it failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str = Field(description="Its changes, as canonical JSON.")
    label: str
    rung: Rung
    good: tuple[float | None, ...] = ()
    bad: tuple[float | None, ...] = ()
    ms: float = 0.0
    seconds: float = Field(description="What it took; of recipes tried together each has its share.")
    fault: str | None = None

    @property
    def key(self) -> Key:
        """Return what it is known by."""
        return Key(self.candidate, self.rung)

    @property
    def changes(self) -> dict[str, Any]:
        """Return the settings in which it differs from the default."""
        found: dict[str, Any] = orjson.loads(self.candidate)
        return found

    @property
    def scores(self) -> Scores:
        """Return its scores as numbers."""
        return Scores(_numbers(self.good), _numbers(self.bad), self.ms)


class State(BaseModel):
    """Everything that was tried, of which pictures and settings (`of`), and the seconds that it took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: str
    spent_s: float = 0.0
    trials: tuple[Trial, ...] = ()

    @classmethod
    def read(cls, path: Path, of: str, *, replace: bool) -> Self:
        """Return what a file holds of the same pictures and settings, nothing where there is none.

        Raises TuneError where it holds a search of other ones, or cannot be read.
        """
        if replace or not path.exists():
            return cls(of=of)
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise TuneError(f"{path} is larger than a search leaves behind: begin anew with --replace")
            found = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise TuneError(f"{path} cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise TuneError(f"{path} is no search of this version: begin anew with --replace") from error
        if found.of != of:
            raise TuneError(
                f"{path.parent} holds a search of other pictures or other settings: name another folder with --out, or"
                " forget it with --replace"
            )
        return found

    def with_trials(self, trials: Sequence[Trial], spent_s: float) -> Self:
        """Return the state after some more trials."""
        return self.model_copy(update={"trials": (*self.trials, *trials), "spent_s": self.spent_s + spent_s})

    def write(self, path: Path) -> None:
        """Write it, whole or not at all. Raises TuneError."""
        try:
            write_whole(path, self.model_dump_json().encode())
        except UnwritableError as error:
            raise TuneError(str(error)) from error

    @property
    def by_key(self) -> dict[Key, Trial]:
        """Return the trials by what they are known by."""
        return {trial.key: trial for trial in self.trials}


def identity(pictures: Pictures, default: FitSettings) -> str:
    """Return a digest of all that scores depend on: pictures, groups, defects, settings with their files, version."""
    settings: dict[str, object] = default.model_dump(mode="json", exclude=_NO_MATTER)
    examples: list[str] = []
    if isinstance(default.regions, RegionsFile):
        # Levels share the promise out: with regions it changes scores.
        settings["false_reject"] = default.false_reject
        examples = [file_digest(path) for path in examples_of(default.regions)]
    for name in type(default).model_fields:
        value = getattr(default, name)
        if isinstance(value, Path) and value.is_file():
            settings[name] = file_digest(value)
    about: Mapping[str, object] = {
        "good": [one.digest for one in pictures.good.usable.pictures],
        "groups": pictures.good.groups.group.tolist(),
        "defects": [[file_digest(one.path), one.kind, one.drawn, list(one.seed)] for one in pictures.defects],
        "settings": settings,
        "examples": examples,
        "version": __version__,
    }
    return hashlib.sha256(orjson.dumps(about, option=orjson.OPT_SORT_KEYS)).hexdigest()


def plain(values: npt.NDArray[np.float64]) -> tuple[float | None, ...]:
    """Return scores as a file holds them."""
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def _numbers(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([NEVER if value is None else value for value in values], dtype=np.float64)
