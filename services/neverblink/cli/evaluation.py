"""Jobs that judge models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson
from rich.table import Column, Table

from neverblink.cli.advice import costs_table, tell
from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.job_life.terminal import shown
from neverblink.trainer.evaluation.results import ComparedConfiguration, CompareResult, EvaluateResult
from neverblink.trainer.evaluation.settings import CompareJob, EvaluateJob

if TYPE_CHECKING:
    from neverblink.trainer.evaluation.defect_figures import Confusion, DefectEvaluation, DefectType
    from neverblink.trainer.evaluation.figures import Evaluation
    from neverblink.trainer.evaluation.jobs import Evaluated


def _evaluate(job: EvaluateJob, teller: Teller) -> "Evaluated":
    from neverblink.trainer.evaluation.jobs import run_evaluate

    return run_evaluate(job, teller.progress)


def _show_evaluate(job: EvaluateJob, done: "Evaluated", screen: Screen) -> None:
    for note in done.notes:
        screen.say(note)
    if done.report is not None:
        screen.say(f"report: {done.report.html}, figures: {done.report.json}")
    if screen.as_json:
        screen.json(orjson.dumps(done.figures()))
        return
    screen.tables(_figures(done.evaluation, f"{job.artifact.name} on {job.images.name}"), _classes(done.evaluation))
    if done.defects is not None:
        screen.tables(*_defect_tables(done.defects))
    screen.tables(costs_table(done.evaluation.promises))
    tell(done.advice, screen)


command(
    "evaluate",
    Job(
        settings=EvaluateJob, result=EvaluateResult, work=_evaluate, show=_show_evaluate,
        told=lambda job, done: done.result(job.artifact), title=lambda job: job.artifact.name,
        as_json="Print JSON, every image's score in it.",
    ),
    short="Judge a model on labelled images: what it finds and what it misses.",
    text="""Judge a model on labelled images: ranking, localisation, and what its threshold finds and misses.

    The folder has `test/good`, one `test/DEFECT` per kind of defect, and masks in
    `ground_truth/DEFECT/NAME_mask.png` where there are any. The report is one file that opens without a network.

    `neverblink evaluate pcb --artifact artifacts/pcb --report pcb.html`

    `neverblink evaluate pcb --artifact artifacts/pcb-hybrid --plant plant.yaml`
    """,
)  # fmt: skip


def _compare(job: CompareJob, teller: Teller) -> CompareResult:
    from neverblink.trainer.evaluation.jobs import run_compare

    return run_compare(job, teller.progress)


def _show_compare(job: CompareJob, done: CompareResult, screen: Screen) -> None:
    rows = done.configurations
    if screen.as_json:
        screen.json(orjson.dumps([row.model_dump(mode="json") for row in rows]))
        return
    screen.tables(_comparison(rows, f"{len(rows)} configurations on {job.images.name}"))
    for row in rows:
        if row.fault is not None:
            screen.console.print(shown(f"{row.label} failed: {row.fault}"), style="red", soft_wrap=True)
    screen.say(f"figures: {done.figures_file}")


def _example_list() -> str:
    from neverblink.trainer.evaluation.compare import example

    return example()


command(
    "compare",
    Job(
        settings=CompareJob, result=CompareResult, work=_compare, show=_show_compare, told=lambda _, done: done,
        good=lambda done: all(row.fault is None for row in done.configurations),
        as_json="Print JSON instead of the table.",
        example=("Print a list to start from and stop.", _example_list),
    ),
    text="""Fit and judge several configurations on the same images, in one table.

    Each item of the list says what differs from the defaults of `neverblink fit`. A model that is already in
    the folder, from the same images and settings, is not fitted again. Exit code 1: one of them failed.

    `neverblink compare --example > candidates.yaml`

    `neverblink compare pcb --config candidates.yaml`
    """,
)  # fmt: skip


def _figures(result: "Evaluation", title: str) -> Table:
    from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT

    table = Table("figure", Column("value", overflow="fold"), title=shown(title))
    latency, unsure = result.latency, result.unsure
    good, defective = result.decided
    low, high = result.auroc_interval
    table.add_row("image AUROC", f"{result.image_auroc:.4f} (95 % sure: {low:.3f} to {high:.3f})")
    table.add_row("average precision", f"{result.average_precision:.4f}")
    table.add_row("pixel AUROC", _or_dash(result.pixels.auroc))
    table.add_row(f"AU-PRO up to {PRO_LIMIT:.0%}", _or_dash(result.pixels.au_pro))
    table.add_row("false rejects", f"{result.false_rejects} of {good} ({result.false_reject_rate:.1%})")
    table.add_row("missed defects", f"{result.missed} of {defective} ({1 - result.found:.1%})")
    table.add_row("precision, F1", f"{_or_dash(result.precision)}, {result.f1:.4f}")
    best = result.best_f1
    table.add_row(
        "best F1, chosen on this test", f"{best.f1:.4f} at {best.threshold / result.threshold:.2f} of the threshold"
    )
    if result.hybrid:
        alone = result.by_region_alone
        table.add_row("rejected by a region alone", f"{alone[0]} good, {alone[1]} defective")
    table.add_row("decided by", shown(result.rules))
    table.add_row("promise", shown(result.promise))
    if result.calibration.unsure_from is not None:
        table.add_row("unsure", f"{unsure[0]} good, {unsure[1]} defective")
    table.add_row("timed", shown(latency.models))
    table.add_row(f"one image ({result.engine})", f"{latency.p50_ms:.1f} ms, p99 {latency.p99_ms:.1f} ms")
    table.add_row(f"in batches of {latency.batch}", f"{latency.images_per_s:.1f} images/s")
    pixels = result.pixels
    if pixels.empty_masks or pixels.without_mask:
        table.add_row("left out of pixel figures", f"{pixels.empty_masks} empty masks, {pixels.without_mask} without")
    return table


def _classes(result: "Evaluation") -> Table:
    table = Table("defect", "images", "missed", "recall", "AUROC", "pixel AUROC", "AU-PRO")
    for kind in result.classes:
        table.add_row(
            shown(kind.name),
            str(kind.images),
            str(kind.missed),
            _figure(kind.recall),
            f"{kind.auroc:.4f}",
            _or_dash(kind.pixel_auroc),
            _or_dash(kind.au_pro),
        )
    return table


def _comparison(rows: Sequence[ComparedConfiguration], title: str) -> Table:
    names = ("AUROC", "pixel AUROC", "AU-PRO", "recall", "false rejects", "promised", "ms/image", "bank MB", "fit s")
    table = Table("configuration", *(Column(name, justify="right") for name in names), title=shown(title))
    for row in rows:
        if row.fault is not None:
            table.add_row(shown(row.label), *("–" for _ in names))
            continue
        table.add_row(
            shown(row.label),
            _or_dash(row.image_auroc),
            _or_dash(row.pixel_auroc),
            _or_dash(row.au_pro),
            f"{row.recall:.1%}",
            f"{row.false_rejects} of {row.good}",
            f"≤ {100 * (row.promised_false_reject or 0):.3g} %",
            f"{row.p50_ms:.1f}",
            f"{row.bank_mb:.1f}",
            f"{row.fit_seconds:.1f}{' (kept)' if row.fitted_before else ''}",
        )
    return table


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _defect_tables(evaluation: "DefectEvaluation") -> list[Table]:
    """Return what becomes of each type, where it is found and how well it is outlined, and the confusion matrix."""
    return [_defect_types(evaluation), _defect_places(evaluation), _confusion(evaluation.confusion)]


def _defect_types(evaluation: "DefectEvaluation") -> Table:
    names = ("images", "rejected", "unsure", "called so", "precision", "recall", "F1", "average precision")
    table = _titled(f"known defects, by image, decided by {shown(evaluation.decided_by)}", "defect", names)
    for found in evaluation.types:
        counts = found.by_image
        table.add_row(
            _defect_name(found),
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


def _defect_places(evaluation: "DefectEvaluation") -> Table:
    from neverblink.trainer.evaluation.pixel_ranking import PRO_LIMIT

    pro = f"AU-PRO {PRO_LIMIT:.0%}"
    names = ("regions", "found", "and named", "precision", "Dice", "IoU", "pixel AP", pro, f"{pro}, PatchCore", "area")
    table = _titled("known defects, by region and pixel", "defect", names)
    if evaluation.one_channel:
        table.caption = (
            "The U-Net has one channel for all defects: Dice and IoU are of the images that show the type, without the"
            " pixels of other types."
        )
    for found in evaluation.types:
        regions, pixels, area = found.by_region, found.pixels, found.area
        table.add_row(
            _defect_name(found),
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


def _confusion(confusion: "Confusion") -> Table:
    table = _titled("labelled regions and what they were called", "labelled", confusion.columns)
    for index, (title, counts) in enumerate(zip(confusion.rows, confusion.counts, strict=True)):
        if index == len(confusion.types):
            table.add_section()
        table.add_row(
            shown(title),
            *(
                f"[bold]{count}[/bold]" if confusion.right(index, column) and count else str(count or "·")
                for column, count in enumerate(counts)
            ),
        )
    return table


def _titled(title: str, first: str, names: tuple[str, ...]) -> Table:
    return Table(first, *(Column(shown(name), justify="right") for name in names), title=title)


def _defect_name(found: "DefectType") -> str:
    marks = (["few"] if found.few else []) + ([] if found.named else ["no name for it"])
    return shown(f"{found.name} ({', '.join(marks)})" if marks else found.name)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
