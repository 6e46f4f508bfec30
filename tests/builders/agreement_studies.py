"""Attribute studies: published ones, figures only, and ones of pictures that say their number."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from neverblink.agreement.asking.answers import AnswerFile
from neverblink.agreement.asking.sitting import Sitting, picture_of
from neverblink.agreement.choosing import Wanted
from neverblink.agreement.figures import Judged
from neverblink.agreement.making import make_study
from neverblink.agreement.sources import FolderSource
from neverblink.agreement.study import Answer, Terms, read_study
from rigs.pictures import encoded, number_of, numbered

NOW = datetime(2026, 11, 2, 8, tzinfo=UTC)

# AIAG, Measurement Systems Analysis, 4th edition (2010), Table III-C 1: 50 parts, appraisers A, B and C, three trials
# each, then the reference; 1 accepts and 0 rejects. The parts on which all ten agree are left to _AIAG_ALIKE.
_AIAG = {
    6: "110 110 100 1", 7: "111 111 101 1", 12: "000 000 010 0", 14: "110 111 100 1", 21: "110 101 010 1",
    22: "001 010 110 0", 26: "010 000 001 0", 30: "000 001 000 0", 34: "001 001 011 0", 36: "110 111 101 1",
    43: "101 111 110 1",
}  # fmt: skip
_AIAG_REJECTED_BY_ALL = {3, 4, 5, 9, 25, 37, 39, 42, 45, 48, 50}

# The example data of the attribute agreement analysis in JASP's module for quality control (jaspQualityControl,
# tests/testthat/AAARow.csv): 15 plain bearings, three appraisers, three trials; Y says that there are black spots.
_JASP_REFERENCE = "YNYYYNYNNYNYYYY"
_JASP = {
    "EG": ("YNYYYYYNNYNYYNY", "YNYNYYYNNYNYYNY", "YNYNYYYNNYNYYNY"),
    "BL": ("YNYYYYNNNYNYYNY", "YNYNYYNNNYNYYNY", "YNYNYYNNNYNYYNY"),
    "MH": ("YYYYYYYNYYYYYNY", "YYYYYYYNNYNYYNY", "YYYYYYYYNYYYYNY"),
}


def aiag() -> tuple[list[bool], list[Judged]]:
    """Return which parts are defective, and what the three decided."""
    rows = []
    for part in range(1, 51):
        alike = "000 000 000 0" if part in _AIAG_REJECTED_BY_ALL else "111 111 111 1"
        rows.append([sign == "0" for sign in _AIAG.get(part, alike).replace(" ", "")])
    signs = np.array(rows)
    return signs[:, 9].tolist(), [Judged(name, signs[:, 3 * at : 3 * at + 3]) for at, name in enumerate("ABC")]


def jasp() -> tuple[list[bool], list[Judged]]:
    """Return which parts are defective, and what the three decided."""
    return [sign == "Y" for sign in _JASP_REFERENCE], [
        Judged(name, np.array([[sign == "Y" for sign in trial] for trial in trials]).T)
        for name, trials in _JASP.items()
    ]


def golden_folder(folder: Path, *, good: int = 6, defective: Mapping[str, int] | None = None) -> Path:
    """Write pictures that say their number: good parts from 0 on, defective ones from 100 on."""
    kinds = {"good": good} | {
        f"defect/{kind}": count for kind, count in (defective or {"scratch": 3, "dent": 3}).items()
    }
    number = 0
    for kind, count in kinds.items():
        number = number if kind == "good" else max(number, 100)
        (folder / kind).mkdir(parents=True)
        for _ in range(count):
            (folder / kind / f"part-{number}.png").write_bytes(encoded(".png", numbered(number)))
            number += 1
    return folder


def study_in(folder: Path, *, parts: int = 8, rounds: int = 2, seed: int = 0, **golden: Any) -> Path:
    """Make a study of a golden folder, half of it defective, for Anna and Ben."""
    source = FolderSource.at(golden_folder(folder / "golden", **golden))
    terms = Terms.of(name="plates", seed=seed, rounds=rounds, appraisers=("Anna", "Ben"))
    make_study(folder / "study", source, terms, Wanted(parts, 0.5, 0.0), NOW)
    return folder / "study"


def sit(study: Path, appraiser: str, says: Callable[[int, int], Answer], *, rounds: int = 1, most: int = 1000) -> None:
    """Have somebody judge: `says` is given the number in the picture and the round, `most` answers are given."""
    plan = read_study(study)
    for _ in range(rounds):
        with AnswerFile(study, plan, appraiser) as answers:
            sitting = Sitting(plan, answers, lambda: NOW, lambda: 0.0)
            for _ in range(most):
                asked = sitting.next()
                if asked is None:
                    break
                sitting.answer(says(number_of(picture_of(study, asked.part)), asked.round))


def the_truth(number: int, _: int) -> Answer:
    """Say what a picture of a golden folder shows."""
    return "defective" if number >= 100 else "good"
