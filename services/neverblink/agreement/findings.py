"""What a study's figures come to, in sentences: who judges well, who must be trained, what the parts cannot show."""

from collections.abc import Collection
from dataclasses import dataclass

from neverblink.agreement.figures import AppraiserFigures, StudyFigures
from neverblink.agreement.limits import KAPPA, MISS_RATE, Grade, is_shown, parts_to_show, worst
from neverblink.reports.figures import percent, share

_MIXED = 0.1
"""From this share of parts that one person judged both ways on, that is what the person is told first."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The worst grade of anybody, and what follows: what is wrong, what is in doubt, and what holds."""

    grade: Grade | None
    wrong: tuple[str, ...]
    doubts: tuple[str, ...]
    good: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return all of them, the worst first."""
        return self.wrong + self.doubts + self.good


def findings_of(figures: StudyFigures, machines: Collection[str], doubts_before: Collection[str] = ()) -> Findings:
    """Return what a study's figures come to; `doubts_before` are those that its plan gives already."""
    wrong, doubts, good = [], list(doubts_before), []
    for one in figures.appraisers:
        if one.grade is Grade.UNACCEPTABLE:
            wrong.append(_trained(one))
        elif one.grade is Grade.MARGINAL:
            doubts.append(f"{one.name} is marginal: {_why(one, Grade.MARGINAL)}")
        elif one.grade is Grade.ACCEPTABLE:
            good.append(f"{one.name} is acceptable by the manual's limits")
    doubts += _about_the_parts(figures)
    doubts += [
        f"{one.one} and {one.other} hardly agree beyond chance (kappa {one.kappa.value:.2f}): agree on what is a"
        " defect, with the parts below in hand, and ask again"
        for one in figures.pairs
        if one.kappa.value is not None and one.kappa.value < KAPPA[1] and not {one.one, one.other} & set(machines)
    ]
    return Findings(worst(*(one.grade for one in figures.appraisers)), tuple(wrong), tuple(doubts), tuple(good))


def _trained(one: AppraiserFigures) -> str:
    why = _why(one, Grade.UNACCEPTABLE)
    if one.is_machine:
        return f"{one.name} is unacceptable: {why}; look at its threshold and its known defects"
    advice = "show the parts that were missed"
    if one.alike is not None and one.alike.share is not None and 1 - one.alike.share >= _MIXED:
        mixed = f"{one.alike.total - one.alike.count} of {one.alike.total}"
        advice = f"{mixed} parts were judged both ways: light, time and the wording of the limit come first"
    return f"{one.name} must be trained: {why}; {advice}"


def _why(one: AppraiserFigures, grade: Grade) -> str:
    told = []
    effective, misses, alarms = one.grades
    if misses is grade:
        types = sorted((kind for kind in one.types if kind.missed), key=lambda kind: -kind.missed / kind.decisions)
        named = ", ".join(f"{kind.defect_type} {kind.missed} of {kind.decisions}" for kind in types[:3])
        told.append(f"{share(one.misses.share)} of decisions about defective parts called them good ({named})")
    if alarms is grade:
        told.append(f"{share(one.false_alarms.share)} of decisions about good parts called them defective")
    if effective is grade:
        told.append(f"{one.effectiveness.count} of {one.effectiveness.total} parts were judged right every time")
    return "; ".join(told)


def _about_the_parts(figures: StudyFigures) -> list[str]:
    found = []
    reference = sum(one.all_wrong for one in figures.parts)
    if reference and any(one.answers for one in figures.parts):
        found.append(
            f"Everybody is against the reference about {_parts(reference)}: perhaps it is the reference that is wrong"
        )
    unshown = [
        one.name
        for one in figures.appraisers
        if one.grades[1] is Grade.ACCEPTABLE and not is_shown(one.misses, MISS_RATE[0])
    ]
    if unshown:
        verb = "misses" if len(unshown) == 1 else "miss"
        found.append(
            f"That {', '.join(unshown)} {verb} at most {percent(MISS_RATE[0])} is not shown by"
            f" {_parts(figures.defective, 'defective ')}: it takes {parts_to_show(MISS_RATE[0])} without one miss"
        )
    return found


def _parts(count: int, kind: str = "") -> str:
    return f"{count} {kind}part{'' if count == 1 else 's'}"
