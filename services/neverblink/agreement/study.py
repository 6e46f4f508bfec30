"""What a study is: parts, appraisers, rounds, and the order in which each is asked. Frozen models of two files.

`study.json` and the pictures are all that asking needs; what the parts are known to be stands in `reference.json`,
which can stay with whoever runs the study.
"""

import random
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from neverblink.errors import NeverblinkError, reason_of
from neverblink.storage.whole_file import write_whole

STUDY_FILE, REFERENCE_FILE, PICTURES, ANSWERS, MACHINES = (
    "study.json", "reference.json", "pictures", "answers", "machines"
)  # fmt: skip
MOST_PARTS, MOST_APPRAISERS, MOST_ROUNDS = 500, 20, 10
_MAX_BYTES = 8 * 1024 * 1024

Answer = Literal["good", "defective"]


class AgreementError(NeverblinkError, ValueError):
    """A study that cannot be made, asked or reported; the message says what is wrong and what to do."""


AppraiserName = Annotated[str, Field(pattern=r"^\w([\w.\- ]{0,38}[\w.\-])?$", description="Also a file's name.")]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class StudyPart(_Kept):
    """A part as it is asked for: a blind name, and the picture found by the SHA-256 of its bytes."""

    id: str = Field(pattern=r"^p\d{3}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    content_type: str | None = Field(default=None, max_length=100)
    depth: int | None = Field(default=None, ge=1, le=16)


class Terms(_Kept):
    """Who judges, how often, and the seed by which parts are drawn and shuffled."""

    name: str = Field(min_length=1, max_length=100)
    seed: int
    rounds: int = Field(ge=1, le=MOST_ROUNDS)
    appraisers: tuple[AppraiserName, ...] = Field(min_length=1, max_length=MOST_APPRAISERS)

    @field_validator("appraisers")
    @classmethod
    def _of_different_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = _twice([name.casefold() for name in names])
        if twice is not None:
            raise ValueError(f"there are two of the name {twice}")
        return names

    @classmethod
    def of(cls, **values: object) -> "Terms":
        """Return the terms. Raises AgreementError."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            fault = error.errors()[0]
            if fault["type"] == "string_pattern_mismatch":
                raise AgreementError(
                    f"{str(fault['input'])[:60]!r} is no name: write letters, digits, spaces and - . _, at most 40"
                ) from error
            raise AgreementError(f"{fault['loc'][0]}: {reason_of(fault)}") from error


class Study(Terms):
    """The plan of a study: terms, and the parts under their blind names."""

    version: Literal[1] = 1
    made: datetime
    parts: tuple[StudyPart, ...] = Field(min_length=2, max_length=MOST_PARTS)

    @field_validator("parts")
    @classmethod
    def _of_different_pictures(cls, parts: tuple[StudyPart, ...]) -> tuple[StudyPart, ...]:
        twice = _twice([one.id for one in parts]) or _twice([one.sha256 for one in parts])
        if twice is not None:
            raise ValueError(f"there are two of {twice}")
        return parts

    def order(self, appraiser: str, round_: int) -> list[StudyPart]:
        """Return the parts as this appraiser is asked for them in a round, 1 first: shuffled, each time anew.

        The same study gives the same order whenever it is asked; no round begins with the part that ended the last.
        """
        found: list[StudyPart] = []
        for number in range(1, round_ + 1):
            last = found[-1:]
            found = list(self.parts)
            random.Random(f"{self.seed}\n{appraiser}\n{number}").shuffle(found)
            if found[:1] == last:
                found.append(found.pop(0))
        return found


class PartReference(_Kept):
    """What a part is known to be, by whom, and where it comes from. `near` is of parts near the threshold."""

    answer: Answer
    defect_type: str | None = None
    near: bool = False
    source: str
    known_by: tuple[str, ...] = ()
    line: str | None = None
    station: str | None = None
    part: str | None = None
    verdict: str | None = None
    captured: datetime | None = None
    decision: str | None = None
    reason: str | None = None
    ratio: float | None = None
    artifact: str | None = None


class References(_Kept):
    """What is known of a study's parts, by blind name."""

    version: Literal[1] = 1
    product: str | None = None
    chosen: str = ""
    parts: dict[str, PartReference]


Model = TypeVar("Model", bound=BaseModel)


def write_study(folder: Path, study: Study, references: References) -> None:
    """Write both files; the pictures are there already. Raises UnwritableError."""
    write_whole(folder / REFERENCE_FILE, _json(references))
    write_whole(folder / STUDY_FILE, _json(study))


def read_study(folder: Path) -> Study:
    """Return the plan in a study's folder. Raises AgreementError."""
    return read_kept(folder / STUDY_FILE, Study, "neverblink msa new makes one")


def read_references(folder: Path, study: Study) -> References:
    """Return what is known of a study's parts. Raises AgreementError."""
    found = read_kept(folder / REFERENCE_FILE, References, "whoever runs the study has it")
    missing = [part.id for part in study.parts if part.id not in found.parts]
    if missing:
        raise AgreementError(
            f"{folder / REFERENCE_FILE} says nothing of {', '.join(missing[:5])}: it is of another study"
        )
    return found


def read_kept(path: Path, model: type[Model], advice: str) -> Model:
    """Return what a JSON file of a study holds. Raises AgreementError."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise AgreementError(f"{path} cannot be read: {error.strerror}; {advice}") from error
    if len(text) > _MAX_BYTES:
        raise AgreementError(f"{path} is larger than {_MAX_BYTES} bytes: it is no file of a study")
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise AgreementError(f"{path}{', ' if place else ''}{place}: {reason_of(fault)}") from error


def appraiser_of(study: Study, name: str) -> str:
    """Return the appraiser of that name, however it is capitalised. Raises AgreementError."""
    found = next((one for one in study.appraisers if one.casefold() == name.strip().casefold()), None)
    if found is None:
        raise AgreementError(
            f"{name[:60]!r} is no appraiser of this study: its appraisers are {', '.join(study.appraisers)}"
        )
    return found


def _twice(names: list[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"
