"""What a study has come to so far: read from its folder, for a page, a screen or another program."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from neverblink.agreement.asking.answers import Given, answers_of, decisions, standing, whole_rounds
from neverblink.agreement.asking.machine import machines_of, of_the_line
from neverblink.agreement.figures import AppraiserFigures, Judged, StudyFigures, figures_of
from neverblink.agreement.findings import Findings, findings_of
from neverblink.agreement.kappa import Kappa
from neverblink.agreement.limits import EFFECTIVENESS, FALSE_ALARM_RATE, KAPPA, MISS_RATE
from neverblink.agreement.study import AgreementError, References, Study, read_references, read_study
from neverblink.confidence.clusters import ClusteredShare


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study and its figures. `sittings` says by name when whom was asked; `left_out` what is not in the figures."""

    study: Study
    references: References
    figures: StudyFigures
    sittings: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]

    @property
    def machine_names(self) -> tuple[str, ...]:
        """Return the names of appraisers that are machines."""
        return tuple(one.name for one in self.figures.appraisers if one.is_machine)

    @property
    def findings(self) -> Findings:
        """Return what the figures come to."""
        known = [one.known_by for one in self.references.parts.values()]
        counts = {name: sum(name in names for names in known) for name in self.study.appraisers}
        doubts = [
            f"{name} said what {count} of the parts are before, and is measured by it: ask others"
            for name, count in counts.items()
            if count
        ]
        return findings_of(self.figures, self.machine_names, doubts)

    def as_dict(self) -> dict[str, object]:
        """Return all figures for another program."""
        figures, findings = self.figures, self.findings
        return {
            "study": self.study.name,
            "made": self.study.made.isoformat(),
            "parts": {"good": figures.good, "defective": figures.defective},
            "rounds": self.study.rounds,
            "grade": findings.grade,
            "findings": list(findings.sentences),
            "limits": {
                "effectiveness": EFFECTIVENESS, "miss_rate": MISS_RATE, "false_alarm_rate": FALSE_ALARM_RATE,
                "kappa": KAPPA,
            },
            "appraisers": [_appraiser(one) for one in figures.appraisers],
            "between": _kappa(figures.between),
            "pairs": [{"appraisers": [one.one, one.other], "kappa": _kappa(one.kappa)} for one in figures.pairs],
            "all_alike": _share(figures.all_alike) or None,
            "all_right": _share(figures.all_right) or None,
            "differing": self._parts([one.part for one in figures.parts if one.split]),
            "all_against_reference": self._parts([one.part for one in figures.parts if one.all_wrong]),
            "chosen": self.references.chosen,
            "left_out": list(self.left_out),
        }  # fmt: skip

    def _parts(self, places: Sequence[int]) -> list[dict[str, str]]:
        ids = [self.study.parts[place].id for place in places]
        return [{"part": one, "source": self.references.parts[one].source} for one in ids]


def result_of(folder: Path) -> StudyResult:
    """Read a study and work out its figures. Raises AgreementError: no study, or nobody has ended a round."""
    study = read_study(folder)
    references = read_references(folder, study)
    given = {name: answers_of(folder, study, name) for name in study.appraisers}
    people = [Judged(name, decisions(study, said)) for name, said in given.items() if whole_rounds(study, said)]
    line = of_the_line(study, references)
    machines = [*([] if line is None else [line]), *machines_of(folder, study)]
    if not people and not machines:
        nearest = max(len(standing(said, number)) for said in given.values() for number in range(1, study.rounds + 1))
        raise AgreementError(
            f"nobody has ended a round of {study.name} yet, and figures are of whole rounds: the nearest is one with"
            f" {len(study.parts) - nearest} answers to give"
        )
    known = [references.parts[part.id] for part in study.parts]
    figures = figures_of(
        [one.answer == "defective" for one in known], [one.defect_type for one in known], [*people, *machines]
    )
    return StudyResult(
        study,
        references,
        figures,
        tuple((name, _sitting(study, said)) for name, said in given.items()),
        tuple(_left_out(study, given)),
    )


def _left_out(study: Study, given: dict[str, list[Given]]) -> list[str]:
    found = []
    for name, said in given.items():
        begun = {one.round for one in said} - set(whole_rounds(study, said))
        for number in sorted(begun):
            count = len(standing(said, number))
            found.append(f"round {number} of {name}, of which {len(study.parts) - count} parts are not answered")
        if not said:
            found.append(f"{name}, who was not asked yet")
    return found


def _sitting(study: Study, said: list[Given]) -> str:
    if not said:
        return "not yet"
    rounds = whole_rounds(study, said)
    corrected = len(said) - len({(one.round, one.part) for one in said})
    begins, ends = _span(said)
    return (
        f"{len(rounds)} of {study.rounds} rounds, {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC,"
        f" {median(one.seconds for one in said):.1f} s a part in the middle, {corrected} answers corrected at once"
    )


def _span(said: list[Given]) -> tuple[datetime, datetime]:
    return min(one.at for one in said), max(one.at for one in said)


def _appraiser(one: AppraiserFigures) -> dict[str, Any]:
    return {
        "name": one.name,
        "machine": one.is_machine,
        "rounds": one.rounds,
        "within": {"alike": _share(one.alike), "kappa": _kappa(one.within)},
        "effectiveness": _share(one.effectiveness) | {"grade": one.grades[0]},
        "miss_rate": _share(one.misses) | {"grade": one.grades[1]},
        "false_alarm_rate": _share(one.false_alarms) | {"grade": one.grades[2]},
        "against_reference": _kappa(one.against),
        "types": [{"type": kind.defect_type, "missed": kind.missed, "decisions": kind.decisions} for kind in one.types],
        "grade": one.grade,
    }


def _share(share: ClusteredShare | None) -> dict[str, Any]:
    if share is None:
        return {}
    return {
        "count": share.count, "of": share.total, "share": share.share, "low": share.low, "high": share.high,
    }  # fmt: skip


def _kappa(kappa: Kappa | None) -> dict[str, Any] | None:
    if kappa is None:
        return None
    return {
        "value": kappa.value, "low": kappa.low, "high": kappa.high, "standard_error": kappa.standard_error,
        "agreed": kappa.agreed.share, "chance": kappa.chance,
    }  # fmt: skip
