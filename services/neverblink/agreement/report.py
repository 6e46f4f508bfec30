"""A study as one HTML file that needs nothing else, and the same figures as JSON beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from neverblink.agreement.asking.sitting import picture_of
from neverblink.agreement.figures import AppraiserFigures, PartAnswers, StudyFigures
from neverblink.agreement.kappa import Kappa
from neverblink.agreement.limits import (
    EFFECTIVENESS,
    FALSE_ALARM_RATE,
    KAPPA,
    MISS_RATE,
    Grade,
)
from neverblink.agreement.results import StudyResult
from neverblink.agreement.study import PartReference, References
from neverblink.confidence.clusters import ClusteredShare
from neverblink.job_life.progress import Progress
from neverblink.reports.figures import between, percent, share, whole
from neverblink.reports.galleries import data_url, small
from neverblink.reports.pages import Written, template, write_page

_TEMPLATE = "agreement.html.jinja"
_SHOWN = 24


class Row(NamedTuple):
    """A rate of one appraiser: as text, what it is of, and its grade."""

    text: str
    of: str
    grade: Grade | None


class Dot(NamedTuple):
    """A rate in a panel: where it and its bounds are, as shares of the panel, and what hovering says."""

    name: str
    at: float
    low: float
    high: float
    grade: Grade | None
    says: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One rate of all appraisers over an axis from `begin` to `end`; `limits` are the manual's, along it."""

    title: str
    dots: list[Dot]
    limits: list[float]
    ticks: list[tuple[float, str]]
    acceptable_left: bool


@dataclass(frozen=True, slots=True)
class PartCard:
    """A part on which people differ: its picture, what it is known to be, and what each said in each round."""

    name: str
    image: str
    defective: bool
    says: str
    answers: list[tuple[str, tuple[bool, ...]]]


def write_study_report(result: StudyResult, folder: Path, path: Path, progress: Progress = lambda *_: None) -> Written:
    """Write `path` (HTML) and the same figures as JSON beside it. Raises ReportError, AgreementError."""
    return write_page(path, render(result, folder, progress), result.as_dict())


def render(result: StudyResult, folder: Path, progress: Progress = lambda *_: None) -> str:
    """Return the page. Every name that comes from a file is escaped."""
    figures = result.figures
    differing = sorted((one for one in figures.parts if one.split), key=lambda one: (-_evenness(one), one.part))
    against = [one for one in figures.parts if one.all_wrong]
    shown = [*against[:_SHOWN], *differing[:_SHOWN]]
    cards: dict[int, PartCard] = {}
    for done, one in enumerate(shown, 1):
        cards[one.part] = _card(result, folder, one)
        progress("reading pictures", done, len(shown))
    return template(_TEMPLATE).render(
        result=result,
        figures=figures,
        findings=result.findings,
        tiles=_tiles(result),
        rows=[(one, *_rates(one)) for one in figures.appraisers],
        panels=_panels(figures.appraisers),
        within=[(one.name, one.is_machine, *_within(one)) for one in figures.appraisers if one.alike is not None],
        pairs=_pairs(figures),
        types=_types(figures.appraisers),
        against=[cards[one.part] for one in against[:_SHOWN]],
        differing=[cards[one.part] for one in differing[:_SHOWN]],
        counts=(len(against), len(differing)),
        origins=_origins(result),
        limits=_LIMITS,
        kappa_says=kappa_text,
    )


_LIMITS = (
    ("acceptable", *(percent(limits[0]) for limits in (EFFECTIVENESS, MISS_RATE, FALSE_ALARM_RATE))),
    ("marginal", *(percent(limits[1]) for limits in (EFFECTIVENESS, MISS_RATE, FALSE_ALARM_RATE))),
)


def kappa_text(kappa: Kappa | None) -> str:
    """Return a kappa with its interval; – where there is none."""
    if kappa is None or kappa.value is None:
        return "–"
    return f"{kappa.value:.2f} ({kappa.low:.2f}–{kappa.high:.2f})".replace("-", "−")


def _evenness(part: PartAnswers) -> float:
    """Return how evenly people are divided over a part: 0.5 at most."""
    said = [one for rounds in part.answers for one in rounds]
    return min(sum(said), len(said) - sum(said)) / len(said)


def _tiles(result: StudyResult) -> list[tuple[str, str]]:
    figures = result.figures
    people = [one for one in figures.appraisers if not one.is_machine]
    right, between_all = figures.all_right, figures.between
    found = [
        (f"{figures.good + figures.defective}", f"parts: {figures.good} good, {figures.defective} defective"),
        (f"{len(people)}", f"people, {result.study.rounds} rounds each"),
    ]
    if right is not None:
        found.append(
            (share(right.share), f"of parts judged right by all, every time ({between((right.low, right.high))})")
        )
    found.append(
        ("–", "kappa between people: it takes two")
        if between_all is None or between_all.value is None
        else (f"{between_all.value:.2f}", f"kappa between people ({between_all.low:.2f}–{between_all.high:.2f})")
    )
    return found


def _rates(one: AppraiserFigures) -> tuple[Row, Row, Row, str]:
    effective, misses, alarms = one.grades
    return (
        _row(one.effectiveness, "parts", effective),
        _row(one.misses, "decisions", misses),
        _row(one.false_alarms, "decisions", alarms),
        kappa_text(one.against),
    )


def _row(rate: ClusteredShare, of: str, grade: Grade | None) -> Row:
    return Row(share(rate.share), f"{whole(rate.count)} of {whole(rate.total)} {of}; {_bounds(rate)}", grade)


def _bounds(rate: ClusteredShare) -> str:
    return between((rate.low, rate.high))


def _panels(appraisers: Sequence[AppraiserFigures]) -> list[Panel]:
    found = []
    for title, limits, rate, grade, high_is_good in (
        ("parts judged right every time", EFFECTIVENESS, "effectiveness", 0, True),
        ("defective called good", MISS_RATE, "misses", 1, False),
        ("good called defective", FALSE_ALARM_RATE, "false_alarms", 2, False),
    ):
        rates: list[ClusteredShare] = [getattr(one, rate) for one in appraisers]
        low = min([*(one.low for one in rates), *limits])
        high = max([*(one.high for one in rates), *limits])
        begin, end = (max(0.0, low - 0.03), 1.0) if high_is_good else (0.0, min(1.0, high + 0.03))

        def along(value: float, begin: float = begin, end: float = end) -> float:
            return (value - begin) / (end - begin)

        dots = [
            Dot(
                one.name, along(value.share or 0.0), along(value.low), along(value.high), one.grades[grade],
                f"{one.name}: {share(value.share)}, {value.count} of {value.total}, {_bounds(value)}",
            )
            for one, value in zip(appraisers, rates, strict=True)
            if value.share is not None
        ]  # fmt: skip
        step = next(one for one in (0.02, 0.05, 0.1, 0.2, 0.25) if (end - begin) / one <= 6)
        first = int(begin / step) + (begin > 0)
        ticks = [(along(step * number), f"{step * number:.0%}") for number in range(first, int(end / step + 1e-9) + 1)]
        found.append(Panel(title, dots, [along(limit) for limit in limits], ticks, not high_is_good))
    return found


def _within(one: AppraiserFigures) -> tuple[str, str, str]:
    assert one.alike is not None
    alike = one.alike
    return share(alike.share), f"{alike.count} of {alike.total} parts; {_bounds(alike)}", kappa_text(one.within)


def _pairs(figures: StudyFigures) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Return names, and a matrix of kappas by them with a class for poor and good ones; empty above its diagonal."""
    names = [one.name for one in figures.appraisers]
    known = {(one.one, one.other): one.kappa for one in figures.pairs}
    matrix = []
    for row in names[1:]:
        cells = []
        for column in names[:-1]:
            kappa = known.get((column, row))
            value = None if kappa is None else kappa.value
            kind = "" if value is None else "good" if value > KAPPA[0] else "poor" if value < KAPPA[1] else "fair"
            cells.append(("" if kappa is None else kappa_text(kappa), kind))
        matrix.append(cells)
    return names, matrix


def _types(appraisers: Sequence[AppraiserFigures]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Return rows of misses by type of defect, and the types that nobody missed; none where all are of one type."""
    names = [one.defect_type for one in appraisers[0].types] if appraisers else []
    rows, found = [], []
    for place, name in enumerate(names):
        kinds = [one.types[place] for one in appraisers]
        if any(kind.missed for kind in kinds):
            rows.append((name, [f"{kind.missed} of {kind.decisions}" for kind in kinds]))
        else:
            found.append(name)
    return (rows, found) if len(names) > 1 else ([], [])


def _card(result: StudyResult, folder: Path, one: PartAnswers) -> PartCard:
    part = result.study.parts[one.part]
    known = result.references.parts[part.id]
    people = [each.name for each in result.figures.appraisers if not each.is_machine]
    return PartCard(
        f"{part.id}, {known.source}",
        data_url(small(picture_of(folder, part))),
        one.defective,
        _known_as(known),
        list(zip(people, one.answers, strict=True)),
    )


def _near(references: References) -> str:
    known = [one for one in references.parts.values() if one.ratio is not None]
    if not known:
        return "not known: the parts come without scores"
    return f"{sum(one.near for one in known)}, within 15 % of it"


def _known_as(known: PartReference) -> str:
    what = "good" if known.answer == "good" else known.defect_type or "defective"
    by = f" by {', '.join(known.known_by)}" if known.known_by else ""
    line = f"; the line's verdict: {known.decision}" if known.decision else ""
    score = f" at {known.ratio:.2f} of the threshold" if known.ratio is not None else ""
    return f"known as {what}{by}{line}{score}"


def _origins(result: StudyResult) -> list[tuple[str, str]]:
    study, references = result.study, result.references
    known_by = sorted({name for one in references.parts.values() for name in one.known_by})
    found = [
        ("parts", references.chosen or "chosen by hand"),
        ("product", references.product or "not stated"),
        ("known by", ", ".join(known_by) or "who made the study: nothing says how the answers were found"),
        ("near the threshold", _near(references)),
        ("order", f"shuffled for each person and round by seed {study.seed}"),
        ("made", f"{study.made:%Y-%m-%d %H:%M} UTC"),
    ]
    found += [(f"asked: {name}", said) for name, said in result.sittings]
    if result.left_out:
        found.append(("left out", "; ".join(result.left_out)))
    found += [
        (
            "intervals",
            "95 % confidence; rounds are no more parts: decisions about one part count only as far as they differ",
        ),
        ("kappa", "Cohen's, of two; Fleiss', of rounds and between people; chance taken as it was seen"),
    ]
    return found
