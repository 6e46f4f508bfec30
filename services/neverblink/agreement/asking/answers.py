"""What appraisers said: a file each, a line an answer, on disk before the next part is shown."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neverblink.agreement.study import ANSWERS, AgreementError, Answer, Study

if TYPE_CHECKING:
    from neverblink.agreement.kappa import Decisions  # it needs scipy, which asking does not

_MOST_BYTES = 64 * 1024 * 1024


class Given(BaseModel):
    """One answer; a later one about the same part in the same round corrects it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    round: int = Field(ge=1)
    part: str
    answer: Answer
    at: datetime
    seconds: float = Field(ge=0)


class AnswerFile:
    """The answers of one appraiser, open to go on. Use as a context: nobody else can answer in this name meanwhile."""

    def __init__(self, folder: Path, study: Study, appraiser: str) -> None:
        self.appraiser = appraiser
        self._path = _path(folder, appraiser)
        self._study = study
        self._descriptor = -1
        self.given: list[Given] = []

    def __enter__(self) -> "AnswerFile":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise AgreementError(f"{self._path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.given = _read(self._path, self._study, mend=self._descriptor)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise AgreementError(f"{self.appraiser} is being asked already: end that sitting first") from error
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def add(self, given: Given) -> None:
        """Keep an answer; it is on disk when this returns. Raises AgreementError."""
        line = given.model_dump_json().encode() + b"\n"
        before = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                os.ftruncate(self._descriptor, before)
            os.fsync(self._descriptor)
        except OSError as error:
            raise AgreementError(f"the answer is not kept: {self._path} cannot be written: {error.strerror}") from error
        if written != len(line):
            raise AgreementError(f"the answer is not kept: the disk of {self._path} is full")
        self.given.append(given)


def answers_of(folder: Path, study: Study, appraiser: str) -> list[Given]:
    """Return what an appraiser has said so far, oldest first. Raises AgreementError."""
    path = _path(folder, appraiser)
    return _read(path, study) if path.exists() else []


def standing(given: list[Given], round_: int) -> dict[str, Given]:
    """Return the answers that hold in a round, by part: the last one about each."""
    return {one.part: one for one in given if one.round == round_}


def whole_rounds(study: Study, given: list[Given]) -> list[int]:
    """Return the rounds in which every part was answered."""
    return [number for number in range(1, study.rounds + 1) if len(standing(given, number)) == len(study.parts)]


def decisions(study: Study, given: list[Given]) -> "Decisions":
    """Return (N, R) bool: what was called defective, in the study's order of parts, in each of R whole rounds."""
    columns = [
        [standing(given, number)[part.id].answer == "defective" for part in study.parts]
        for number in whole_rounds(study, given)
    ]
    return np.array(columns, dtype=np.bool_).reshape(len(columns), len(study.parts)).T


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AgreementError(f"{path} cannot be read: {error.strerror}") from error


def _read(path: Path, study: Study, mend: int | None = None) -> list[Given]:
    """Read a file of answers. A last line that a crash cut short was never acknowledged: it is left out, and with the
    descriptor `mend` taken off the file.
    """
    with _sentences(path):
        if path.stat().st_size > _MOST_BYTES:
            raise AgreementError(f"{path} is larger than {_MOST_BYTES} bytes: it holds no answers of this study")
        content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if mend is not None and whole < len(content):
        os.ftruncate(mend, whole)
    known = {part.id for part in study.parts}
    found = []
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            given = Given.model_validate_json(line)
        except ValidationError as error:
            raise AgreementError(f"{path}, line {number}, is no answer: put the file back as it was written") from error
        if given.part not in known or given.round > study.rounds:
            raise AgreementError(
                f"{path}, line {number}, is about part {given.part} in round {given.round}, which this study lacks"
            )
        found.append(given)
    return found


def _path(folder: Path, appraiser: str) -> Path:
    return folder / ANSWERS / f"{appraiser}.jsonl"
