"""An evaluation as one HTML file that needs nothing else, and the same figures as JSON beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from neverblink.trainer.evaluation.defect_figures import DefectEvaluation
from neverblink.trainer.evaluation.defect_section import defect_section
from neverblink.trainer.evaluation.figures import Evaluation, Example
from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT
from neverblink.trainer.reports.pages import Written, check_place, template, write_page
from neverblink.trainer.reports.pictures import LABEL_COLOUR, data_url, small
from neverblink.vision.decode import read_image
from neverblink.vision.overlay import outlined, overlay

_TEMPLATE = "evaluation.html.jinja"

_CURVE_POINTS = 400
_BINS = 44

_FEW = 4
"""With fewer wrong verdicts than this, the closest right ones are shown too."""

_DOUBT = 0.05
"""A promise is doubted when so many false rejects were less likely than this."""


def write_report(
    evaluation: Evaluation, path: Path, *, subject: str, defects: DefectEvaluation | None = None
) -> Written:
    """Write `path` (HTML) and the same figures as JSON beside it; `subject` names the images.

    The page refers to nothing outside itself: charts are inline SVG, at most 24 pairs of pictures, and 24 triples
    of known defects, are inline JPEG of at most 320 px. Raises ReportError, ImageError when a picture can no longer
    be read.
    """
    check_place(path)
    html = render(evaluation, subject=subject, defects=defects)
    known = {} if defects is None else {"known_defects": defects.as_dict()}
    return write_page(path, html, {"images_from": subject} | evaluation.as_dict() | known)


def render(evaluation: Evaluation, *, subject: str, defects: DefectEvaluation | None = None) -> str:
    """Return the page, with a section on known `defects` where they were evaluated.

    Every name that comes from a file or a folder is escaped.
    """
    missed = _shown(evaluation.lowest_defects)
    alarms = _shown(evaluation.highest_good)
    return template(_TEMPLATE, share=_share, figure=_figure, times=_times).render(
        found=evaluation,
        subject=subject,
        backbone=evaluation.manifest.backbone,
        calibration=evaluation.calibration,
        doubted=evaluation.chance_of_false_rejects < _DOUBT,
        bank_mb=4 * evaluation.manifest.vectors * evaluation.manifest.dimension / 1e6,
        pro_limit=PRO_LIMIT,
        histogram=_histogram(evaluation),
        roc=_roc(evaluation),
        precision_recall=_precision_recall(evaluation),
        galleries=(
            ("Missed defects", "missed", [_picture(example, evaluation) for example in missed]),
            ("False alarms", "rejected", [_picture(example, evaluation) for example in alarms]),
        ),
        defects=None if defects is None else defect_section(defects, evaluation.calibration.map_threshold),
    )


# Pictures


@dataclass(frozen=True, slots=True)
class _Picture:
    name: str
    label: str
    score: float
    of_threshold: float
    wrong: bool
    image: str
    heat: str


def _shown(examples: tuple[Example, ...]) -> list[Example]:
    """Return the wrong ones, and when they are few the nearest right ones, so that there is always a look."""
    wrong = sum(example.image.wrong for example in examples)
    return list(examples[: max(wrong, _FEW)])


def _picture(example: Example, evaluation: Evaluation) -> _Picture:
    image = small(read_image(example.image.path))
    path = example.image.path
    # A map that stays below its threshold would show nothing: then its own peak is the measure.
    measure = min(evaluation.calibration.map_threshold, float(example.anomaly_map.max()))
    labelled = image
    if example.mask is not None:
        labelled = outlined(image, read_image(example.mask)[..., 0], LABEL_COLOUR)
    return _Picture(
        name=f"{path.parent.name}/{path.name}",
        label=example.image.defect or "good",
        score=example.image.score,
        of_threshold=example.image.score / evaluation.threshold,
        wrong=example.image.wrong,
        image=data_url(labelled),
        heat=data_url(overlay(image, example.anomaly_map, measure)),
    )


# Charts: numbers here, ink in the template


class _Tick(NamedTuple):
    at: float
    text: str


class _Bar(NamedTuple):
    """From `left`, as shares of the plot; heights are shares of their half."""

    left: float
    good: float
    defective: float
    rejected: bool
    says: str


@dataclass(frozen=True, slots=True)
class _Histogram:
    bars: list[_Bar]
    width: float
    threshold: float
    unsure_from: float | None
    across: list[_Tick]
    good_up: list[_Tick]
    defective_up: list[_Tick]


@dataclass(frozen=True, slots=True)
class _Curve:
    """A curve in the unit square as SVG points of a 100 × 100 box, and where the threshold puts us on it."""

    points: str
    operating: tuple[float, float] | None


def _histogram(evaluation: Evaluation) -> _Histogram:
    """Bins are laid out from the threshold, so no bar stands on both sides of it."""
    scores = np.array([image.score for image in evaluation.scored])
    defective = np.array([image.defect is not None for image in evaluation.scored])
    threshold = evaluation.threshold
    low, high = min(float(scores.min()), threshold), max(float(scores.max()), threshold)
    step = max((high - low) / _BINS, 1e-6 * threshold)
    below, above = int(np.ceil((threshold - low) / step)) + 1, int(np.ceil((high - threshold) / step)) + 1
    edges = threshold + step * np.arange(-below, above + 1)
    # A score at the threshold passes: an edge belongs to the bin below it.
    place = np.clip(np.searchsorted(edges, scores, side="left") - 1, 0, len(edges) - 2)
    good = np.bincount(place[~defective], minlength=len(edges) - 1)
    bad = np.bincount(place[defective], minlength=len(edges) - 1)
    span = float(edges[-1] - edges[0])

    def along(value: float) -> float:
        return (value - float(edges[0])) / span

    unsure_from = evaluation.calibration.unsure_from
    tallest_good, tallest_bad = _ceiling(int(good.max())), _ceiling(int(bad.max()))
    return _Histogram(
        bars=[
            _Bar(
                along(float(edges[index])),
                good[index] / tallest_good,
                bad[index] / tallest_bad,
                rejected=index >= below,
                says=f"{edges[index]:.3g} to {edges[index + 1]:.3g}: {good[index]} good, {bad[index]} defective",
            )
            for index in np.flatnonzero(good + bad).tolist()
        ],
        width=step / span,
        threshold=along(threshold),
        unsure_from=None if unsure_from is None else max(0.0, along(unsure_from)),
        across=[_Tick(along(value), f"{value:.4g}") for value in _round_values(float(edges[0]), float(edges[-1]), 9)],
        good_up=[_Tick(value / tallest_good, f"{value:g}") for value in (tallest_good / 2, tallest_good)],
        defective_up=[_Tick(value / tallest_bad, f"{value:g}") for value in (tallest_bad / 2, tallest_bad)],
    )


def _roc(evaluation: Evaluation) -> _Curve:
    alarms, found, _ = roc_curve(*_labels_and_scores(evaluation))
    return _Curve(_points(alarms, found), (evaluation.false_reject_rate, evaluation.found))


def _precision_recall(evaluation: Evaluation) -> _Curve:
    precision, recall, _ = precision_recall_curve(*_labels_and_scores(evaluation))
    here = evaluation.precision
    return _Curve(_points(recall, precision), None if here is None else (evaluation.found, here))


def _labels_and_scores(evaluation: Evaluation) -> tuple[list[bool], list[float]]:
    return (
        [image.defect is not None for image in evaluation.scored],
        [image.score for image in evaluation.scored],
    )


def _points(across: np.ndarray, up: np.ndarray) -> str:
    chosen = np.unique(np.linspace(0, len(across) - 1, min(len(across), _CURVE_POINTS)).round().astype(int))
    return " ".join(f"{100 * across[index]:.2f},{100 - 100 * up[index]:.2f}" for index in chosen)


def _ceiling(count: int) -> int:
    """Return an even round number at or above a count, for the end of an axis."""
    magnitude = 10 ** max(0, len(str(max(count, 1))) - 1)
    return next(
        whole for whole in (int(step * magnitude) for step in (2, 4, 6, 8, 10, 20)) if whole >= count and whole % 2 == 0
    )


def _round_values(low: float, high: float, wanted: int) -> list[float]:
    """Return about `wanted` round numbers from low to high."""
    rough = (high - low) / wanted
    magnitude = 10.0 ** np.floor(np.log10(rough))
    step = next(float(factor * magnitude) for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    return [step * index for index in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


# Numbers as people read them


def _share(value: float | None) -> str:
    """Return a share as a percentage; none of them is rounded to a perfect one."""
    if value is None:
        return "–"
    text = f"{100 * value:.1f}"
    if text == "100.0" and value < 1:
        text = "99.9"
    return f"{text} %"


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return "0.9999" if 0.9999 < value < 1 else f"{value:.4f}"


def _times(value: float) -> str:
    """Return a ratio to two places, with more for what would look like none."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"
