"""What a report's page shows of known defects: figures by type, the confusion matrix, and the worst pictures."""

from dataclasses import dataclass
from typing import NamedTuple

from neverblink.reports.galleries import LABEL_COLOUR, HeatScale, data_url, heat, name_of, small
from neverblink.trainer.evaluation.defect_figures import FEW, Confusion, DefectEvaluation, DefectExample
from neverblink.trainer.evaluation.region_matching import OVERLAP
from neverblink.vision.decode import read_image
from neverblink.vision.findings import Finding
from neverblink.vision.overlay import OUTLINE, outlined, overlay

_MOST_FAULTS = 3
_PROBABLE = 0.5
"""The probability at which the heat of a U-Net's picture is half way up, whatever its classes' thresholds."""


class _Cell(NamedTuple):
    """`share` of the row's total shades the cell; `text` is empty where nothing can be counted."""

    text: str
    share: float
    right: bool


class _MatrixRow(NamedTuple):
    """What was labelled, how many regions or findings that were, and what they were called."""

    title: str
    total: int
    cells: list[_Cell]


class _DrawnBox(NamedTuple):
    """A finding's box with its name, in hundredths of the picture's longer side."""

    x: float
    y: float
    width: float
    height: float
    name: str


@dataclass(frozen=True, slots=True)
class _Picture:
    """The image with labels and findings, the anomaly map over it, and the U-Net's probability over it."""

    name: str
    faults: list[str]
    verdict: str
    score_ratio: float
    image: str
    heat: str
    probability: str | None
    width: float
    height: float
    boxes: list[_DrawnBox]


@dataclass(frozen=True, slots=True)
class DefectSection:
    """All that the page's part on known defects needs."""

    found: DefectEvaluation
    columns: tuple[str, ...]
    matrix: list[_MatrixRow]
    misses: list[_Picture]
    alarms: list[_Picture]
    few: int
    overlap: float
    label_colour: str
    model_colour: str


def defect_section(found: DefectEvaluation, scale: HeatScale, depth: int | None = None) -> DefectSection:
    """Return what the page shows; `depth` is that of 16-bit pictures.

    Raises ImageError, DatasetError when a picture can no longer be read.
    """
    return DefectSection(
        found=found,
        columns=found.confusion.columns,
        matrix=_matrix(found.confusion),
        misses=[_picture(example, _misses(example), scale, depth) for example in found.misses],
        alarms=[_picture(example, _alarms(example), scale, depth) for example in found.false_alarms],
        few=FEW,
        overlap=OVERLAP,
        label_colour=_css(LABEL_COLOUR),
        model_colour=_css(OUTLINE),
    )


def _matrix(confusion: Confusion) -> list[_MatrixRow]:
    rows: list[_MatrixRow] = []
    for row, (title, counts) in enumerate(zip(confusion.rows, confusion.counts, strict=True)):
        total = sum(counts)
        last = row == len(confusion.types)
        cells = [
            # Nothing labelled and nothing found is everywhere: it has no number.
            _Cell(
                "" if last and column == len(counts) - 1 else str(count),
                count / max(total, 1),
                confusion.right(row, column),
            )
            for column, count in enumerate(counts)
        ]
        rows.append(_MatrixRow(title, total, cells))
    return rows


def _misses(example: DefectExample) -> list[str]:
    return [
        f"{region.type}, {region.area_px} px: " + ("not found" if called is None else f"called {called}")
        for region, called in example.missed
    ]


def _alarms(example: DefectExample) -> list[str]:
    return [f"{_said(finding)}, {finding.area_px} px, where nothing is labelled" for finding in example.alarms]


def _said(finding: Finding) -> str:
    return finding.type if finding.confidence is None else f"{finding.type} {finding.confidence:.2f}"


def _picture(example: DefectExample, faults: list[str], scale: HeatScale, depth: int | None) -> _Picture:
    path = example.image.path
    full = read_image(path, depth=depth)
    height, width = full.shape[:2]
    longer = max(height, width)
    drawn = image = small(full)
    # The label is drawn last: it is the thinner truth of the two.
    if example.marked is not None:
        drawn = outlined(drawn, example.marked)
    for mask in example.image.masks(height, width).values():
        drawn = outlined(drawn, mask, LABEL_COLOUR)
    more = len(faults) - _MOST_FAULTS
    return _Picture(
        name=name_of(path),
        faults=faults[:_MOST_FAULTS] + ([f"and {more} more"] if more > 0 else []),
        verdict="rejected" if example.rejected else "unsure" if example.unsure else "passed",
        score_ratio=example.score_ratio,
        image=data_url(drawn),
        heat=data_url(heat(image, example.anomaly_map, scale, anomalous=example.score_ratio > 1)),
        probability=None if example.probability is None else data_url(overlay(image, example.probability, _PROBABLE)),
        width=100 * width / longer,
        height=100 * height / longer,
        boxes=[_box(finding, longer) for finding in example.findings],
    )


def _box(finding: Finding, longer: int) -> _DrawnBox:
    x, y, width, height = (
        round(100 * value / longer, 2) for value in (finding.x, finding.y, finding.width, finding.height)
    )
    return _DrawnBox(x, y, width, height, _said(finding))


def _css(colour: tuple[int, int, int]) -> str:
    return "#" + bytes(colour).hex()
