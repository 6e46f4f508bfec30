"""Known defects by type as tables for a terminal."""

from rich.markup import escape
from rich.table import Column, Table

from neverblink.trainer.evaluation.defect_figures import Confusion, DefectEvaluation, DefectType
from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT


def tables(evaluation: DefectEvaluation) -> list[Table]:
    """Return what becomes of each type, where it is found and how well it is outlined, and the confusion matrix."""
    return [_types(evaluation), _places(evaluation), _confusion(evaluation.confusion)]


def _types(evaluation: DefectEvaluation) -> Table:
    names = ("images", "rejected", "unsure", "called so", "precision", "recall", "F1", "average precision")
    table = _table(f"known defects, by image, decided by {escape(evaluation.decided_by)}", "defect", names)
    for found in evaluation.types:
        counts = found.by_image
        table.add_row(
            _name(found),
            str(found.images),
            _percent(found.rejected_share),
            str(found.unsure),
            "–" if counts.wrong is None else str(counts.right + counts.wrong),
            _figure(counts.precision),
            _figure(counts.recall),
            _figure(counts.f1),
            _figure(found.average_precision),
        )
    table.add_section()
    table.add_row(
        "good parts",
        str(evaluation.good),
        _percent(evaluation.false_reject_rate),
        str(evaluation.good_unsure),
        str(evaluation.good_with_findings),
        *("–" for _ in range(4)),
    )
    return table


def _places(evaluation: DefectEvaluation) -> Table:
    pro = f"AU-PRO {PRO_LIMIT:.0%}"
    names = ("regions", "found", "and named", "precision", "Dice", "IoU", "pixel AP", pro, f"{pro}, PatchCore", "area")
    table = _table("known defects, by region and pixel", "defect", names)
    if evaluation.one_channel:
        table.caption = (
            "The U-Net has one channel for all defects: Dice and IoU are of the images that show the type, without the"
            " pixels of other types."
        )
    for found in evaluation.types:
        regions, pixels, area = found.by_region, found.pixels, found.area
        table.add_row(
            _name(found),
            str(regions.labelled),
            _percent(regions.found_share),
            _percent(regions.recall),
            _figure(regions.precision),
            *(
                _figure(value)
                for value in (
                    (None,) * 4
                    if pixels is None
                    else (pixels.dice, pixels.iou, pixels.average_precision, pixels.au_pro)
                )
            ),
            _figure(found.anomaly_au_pro),
            "–" if area is None else f"× {area.median:.2f} ({area.low:.2f}–{area.high:.2f})",
        )
    return table


def _confusion(confusion: Confusion) -> Table:
    table = _table("labelled regions and what they were called", "labelled", confusion.columns)
    for index, (title, counts) in enumerate(zip(confusion.rows, confusion.counts, strict=True)):
        if index == len(confusion.types):
            table.add_section()
        table.add_row(
            escape(title),
            *(
                f"[bold]{count}[/bold]" if confusion.right(index, column) and count else str(count or "·")
                for column, count in enumerate(counts)
            ),
        )
    return table


def _table(title: str, first: str, names: tuple[str, ...]) -> Table:
    return Table(first, *(Column(escape(name), justify="right") for name in names), title=title)


def _name(found: DefectType) -> str:
    marks = (["few"] if found.few else []) + ([] if found.named else ["no name for it"])
    return escape(f"{found.name} ({', '.join(marks)})" if marks else found.name)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
