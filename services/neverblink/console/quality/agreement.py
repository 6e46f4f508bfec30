"""People and the machine side by side: how often they agreed, and the studies in which both were asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.orm import Session

from neverblink.records.questions.figures import Figures, figures
from neverblink.records.questions.proof.answer import Proof, proof_of
from neverblink.records.questions.rollup_filter import RollupFilter

MOST_STATIONS: Final = 24
MOST_STUDIES: Final = 50
MOST_BYTES: Final = 64 * 1024 * 1024
REPORT: Final = "report.html"
_FIGURES: Final = "report.json"
_MOST_FIGURES: Final = 4 * 1024 * 1024
_LONG: Final = 100


@dataclass(frozen=True, slots=True)
class Sides:
    """Answered parts by what the machine decided and what people found; in none where one of both has not decided."""

    line: str
    station: str | None
    passed_good: int
    passed_bad: int
    rejected_good: int
    rejected_bad: int

    @property
    def answered(self) -> int:
        """Return how many there are."""
        return self.passed_good + self.passed_bad + self.rejected_good + self.rejected_bad

    @property
    def alike(self) -> int:
        """Return about how many both said the same."""
        return self.passed_good + self.rejected_bad


@dataclass(frozen=True, slots=True)
class Agreement:
    """What people and the machine said: estimated for all parts, and counted by station for what was answered."""

    proof: Proof
    whole: Sides
    stations: tuple[Sides, ...]


@dataclass(frozen=True, slots=True)
class StudyMade:
    """A study that has a report: `folder` names it in addresses; `kappa` between people, None where there is none."""

    folder: str
    name: str
    made: str
    parts: int
    rounds: int
    people: int
    grade: str
    kappa: float | None


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Parts(_Read):
    good: int
    defective: int


class _Appraiser(_Read):
    machine: bool


class _Kappa(_Read):
    value: float | None = None


class _Told(_Read):
    """What is read of a study's report."""

    study: str
    made: datetime
    parts: _Parts
    rounds: int
    grade: str
    appraisers: tuple[_Appraiser, ...]
    between: _Kappa | None = None


def agreement_of(
    session: Session, wanted: RollupFilter, line: str | None, stations: Sequence[tuple[str, str]]
) -> Agreement:
    """Return what people and the machine said of the parts that fit, and by these stations."""
    proof, whole = proof_of(session, wanted), sides_of(figures(session, wanted), line or "", None)
    found = []
    for name, station in stations[:MOST_STATIONS]:
        own = RollupFilter((name,), station, wanted.product, wanted.lot, wanted.since, wanted.until, wanted.shift)
        found.append(sides_of(figures(session, own), name, station))
    return Agreement(proof, whole, tuple(found))


def sides_of(found: Figures, line: str, station: str | None) -> Sides:
    """Return the four counts that figures hold."""
    rejected_good, rejected = found.false_rejects.count, found.false_rejects.sample
    passed_bad, passed = found.escapes.count, found.escapes.sample
    return Sides(line, station, passed - passed_bad, passed_bad, rejected_good, rejected - rejected_good)


def studies_in(folder: Path | None) -> tuple[StudyMade, ...]:
    """Return the studies below a folder that have a report, the newest first; what cannot be read is left out."""
    if folder is None:
        return ()
    try:
        places = sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink())
    except OSError:
        return ()
    found = [made for one in places[: 4 * MOST_STUDIES] if (made := _study(one)) is not None]
    return tuple(sorted(found, key=lambda one: one.made, reverse=True)[:MOST_STUDIES])


def study_report(folder: Path | None, name: str) -> bytes | None:
    """Return the report of a study by the name of its folder, None where there is none such."""
    if folder is None or name not in {one.folder for one in studies_in(folder)}:
        return None
    return _read(folder / name / REPORT, MOST_BYTES)


def _study(folder: Path) -> StudyMade | None:
    content = _read(folder / _FIGURES, _MOST_FIGURES)
    if content is None or not (folder / REPORT).is_file():
        return None
    try:
        held = _Told.model_validate_json(content)
    except ValidationError:
        return None  # no report of a study, or one of another program
    return StudyMade(
        folder=folder.name,
        name=held.study[:_LONG],
        made=f"{held.made:%Y-%m-%d %H:%M}",
        parts=held.parts.good + held.parts.defective,
        rounds=held.rounds,
        people=sum(not one.machine for one in held.appraisers),
        grade=held.grade[:_LONG],
        kappa=None if held.between is None else held.between.value,
    )


def _read(file: Path, most: int) -> bytes | None:
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > most:
            return None
        return file.read_bytes()
    except OSError:
        return None
