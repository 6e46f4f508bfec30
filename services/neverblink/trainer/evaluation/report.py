"""An evaluation as one HTML file that needs nothing else, and the same figures as JSON beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from neverblink.reports.charts import Bar, Tick, histogram, points, round_top
from neverblink.reports.galleries import HEAT_SAYS, LABEL_COLOUR, data_url, heat, name_of, small
from neverblink.reports.pages import Written, check_place, template, write_page
from neverblink.trainer.evaluation.defect_figures import DefectEvaluation
from neverblink.trainer.evaluation.defect_section import defect_section
from neverblink.trainer.evaluation.figures import Evaluation, Example
from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT
from neverblink.trainer.promises.advice import NO_ADVICE, Advice
from neverblink.trainer.promises.promise_chart import promise_chart
from neverblink.vision.decode import read_image
from neverblink.vision.evenly import places_over
from neverblink.vision.likeness import Likeness
from neverblink.vision.overlay import outlined

_TEMPLATE = "evaluation.html.jinja"

_CURVE_POINTS = 400
_BINS = 44

_FEW = 4
"""With fewer wrong verdicts than this, the closest right ones are shown too."""

_DOUBT = 0.05
"""A promise is doubted when so many false rejects were less likely than this."""


def write_report(
    evaluation: Evaluation,
    path: Path,
    *,
    subject: str,
    defects: DefectEvaluation | None = None,
    advice: Advice = NO_ADVICE,
    likeness: Likeness | None = None,
    notes: Sequence[str] = (),
) -> Written:
    """Write `path` (HTML) and the same figures as JSON beside it; `subject` names the images.

    `likeness` says whether the good parts are like the calibration's, `notes` what else is to be known.

    The page refers to nothing outside itself: charts are inline SVG, at most 24 pairs of pictures, and 24 triples
    of known defects, are inline JPEG of at most 320 px. Raises ReportError, ImageError when a picture can no longer
    be read.
    """
    check_place(path)
    html = render(evaluation, subject=subject, defects=defects, advice=advice, likeness=likeness, notes=notes)
    known = {} if defects is None else {"known_defects": defects.as_dict()}
    return write_page(path, html, {"images_from": subject} | evaluation.as_dict() | known)


def render(
    evaluation: Evaluation,
    *,
    subject: str,
    defects: DefectEvaluation | None = None,
    advice: Advice = NO_ADVICE,
    likeness: Likeness | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the page, with a section on known `defects` where they were evaluated, and `advice` where there is any.

    Every name that comes from a file or a folder is escaped.
    """
    missed = _shown(evaluation.lowest_defects)
    alarms = _shown(evaluation.highest_good)
    return template(_TEMPLATE).render(
        found=evaluation,
        subject=subject,
        backbone=evaluation.manifest.backbone,
        calibration=evaluation.calibration,
        doubted=evaluation.chance_of_false_rejects < _DOUBT,
        unlike=None if likeness is None else likeness.warning(),
        notes=notes,
        bank_mb=4 * evaluation.manifest.vectors * evaluation.manifest.dimension / 1e6,
        pro_limit=PRO_LIMIT,
        advice=advice,
        costs=evaluation.promises,
        costs_chart=promise_chart(evaluation.promises),
        heat_says=HEAT_SAYS,
        best_ratio=evaluation.best_f1.threshold / evaluation.threshold,
        histogram=_histogram(evaluation),
        roc=_roc(evaluation),
        precision_recall=_precision_recall(evaluation),
        galleries=(
            ("Missed defects", "missed", [_picture(example, evaluation) for example in missed]),
            ("False alarms", "rejected", [_picture(example, evaluation) for example in alarms]),
        ),
        defects=None if defects is None else defect_section(defects, evaluation.heat, evaluation.depth),
    )


# Pictures


@dataclass(frozen=True, slots=True)
class _Picture:
    name: str
    label: str
    of_threshold: float
    wrong: bool
    by_region: bool
    image: str
    heat: str


def _shown(examples: tuple[Example, ...]) -> list[Example]:
    """Return the wrong ones, and when they are few the nearest right ones, so that there is always a look."""
    wrong = sum(example.image.wrong for example in examples)
    return list(examples[: max(wrong, _FEW)])


def _picture(example: Example, evaluation: Evaluation) -> _Picture:
    path = example.image.path
    full = read_image(path, depth=evaluation.depth)
    labelled = image = small(full)
    marks = None if example.marks is None else example.marks.marks(*full.shape[:2])
    if marks is not None:
        labelled = outlined(image, marks, LABEL_COLOUR)
    return _Picture(
        name=name_of(path),
        label=example.image.defect or "good",
        of_threshold=example.image.score / evaluation.threshold,
        wrong=example.image.wrong,
        by_region=example.image.reason == "defect",
        image=data_url(labelled),
        heat=data_url(
            heat(
                image,
                example.anomaly_map,
                evaluation.heat,
                anomalous=example.image.score > evaluation.threshold,
            )
        ),
    )


# Charts: numbers here, ink in the template


@dataclass(frozen=True, slots=True)
class _Histogram:
    bars: list[Bar]
    width: float
    threshold: float
    unsure_from: float | None
    across: list[Tick]
    good_up: list[Tick]
    defective_up: list[Tick]


@dataclass(frozen=True, slots=True)
class _Curve:
    """A curve in the unit square as SVG points of a 100 × 100 box, and where the threshold puts us on it."""

    points: str
    operating: tuple[float, float] | None


def _histogram(evaluation: Evaluation) -> _Histogram:
    scores = np.array([image.score for image in evaluation.scored]) / evaluation.threshold
    defective = np.array([image.defect is not None for image in evaluation.scored])
    low, high = min(float(scores.min()), 1.0), max(float(scores.max()), 1.0)
    step = max((high - low) / _BINS, 1e-6)
    below, above = int(np.ceil((1 - low) / step)) + 1, int(np.ceil((high - 1) / step)) + 1
    edges = 1 + step * np.arange(-below, above + 1)
    chart = histogram(scores[~defective], scores[defective], edges, below)
    unsure_from = evaluation.calibration.unsure_from
    good, bad = (round_top(count) for count in chart.tallest)
    return _Histogram(
        bars=chart.bars(
            (good, bad),
            lambda index: (
                f"{edges[index]:.2f} to {edges[index + 1]:.2f}: {chart.up[index]} good, {chart.down[index]} defective"
            ),
        ),
        width=chart.width,
        threshold=chart.threshold,
        unsure_from=None if unsure_from is None else max(0.0, chart.along(unsure_from / evaluation.threshold)),
        across=chart.ticks(9, "g"),
        good_up=[Tick(value / good, f"{value:g}") for value in (good / 2, good)],
        defective_up=[Tick(value / bad, f"{value:g}") for value in (bad / 2, bad)],
    )


def _roc(evaluation: Evaluation) -> _Curve:
    alarms, found, _ = roc_curve(*_labels_and_scores(evaluation))
    return _Curve(_thinned(alarms, found), (evaluation.false_reject_rate, evaluation.found))


def _precision_recall(evaluation: Evaluation) -> _Curve:
    precision, recall, _ = precision_recall_curve(*_labels_and_scores(evaluation))
    here = evaluation.precision
    return _Curve(_thinned(recall, precision), None if here is None else (evaluation.found, here))


def _labels_and_scores(evaluation: Evaluation) -> tuple[list[bool], list[float]]:
    return (
        [image.defect is not None for image in evaluation.scored],
        [image.score for image in evaluation.scored],
    )


def _thinned(across: np.ndarray, up: np.ndarray) -> str:
    chosen = places_over(len(across), _CURVE_POINTS)
    return points(across[chosen], up[chosen])
