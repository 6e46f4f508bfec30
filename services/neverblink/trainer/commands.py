"""`neverblink fit`, `evaluate` and `artifact inspect`, with their progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

from neverblink.trainer import evaluate as evaluation
from neverblink.trainer.dataset import good_images, labelled_images
from neverblink.trainer.fit import FitSettings, Fitted, fit
from neverblink.trainer.fit import Progress as Report
from neverblink.vision.artifact import load_artifact


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Report]:
    """Show one bar per stage of a job, with what is left of it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(f"{title}: {stage}", total=total)
            progress.update(tasks[stage], completed=done, total=total)

        yield report


def run_fit(images: Path, folder: Path, settings: FitSettings, console: Console) -> Fitted:
    """Fit with a progress bar, and say what the threshold promises."""
    found = good_images(images)
    with progress_bar(console, settings.product) as report:
        fitted = fit(found, folder, settings, report)
    bank = fitted.artifact.bank
    console.print(
        f"{settings.product}: {fitted.images} images, memory bank {bank.shape[0]} × {bank.shape[1]}, "
        f"threshold {fitted.artifact.threshold:.3f}: {fitted.artifact.manifest.calibration.statement()}"
    )
    return fitted


def run_evaluate(images: Path, artifact: Path, weights: Path | None, as_json: bool, console: Console) -> None:
    """Evaluate on the test part of an MVTec layout and print the figures."""
    found = labelled_images(images)
    # Nothing but the JSON goes to standard output, so that it can be piped.
    shown = Console(stderr=True) if as_json else console
    with progress_bar(shown, artifact.name) as report:
        result = evaluation.evaluate(found, artifact, weights, report)
    if as_json:
        console.print_json(orjson.dumps(result.as_dict()).decode())
        return
    table = Table("figure", "value", title=f"{artifact.name} on {images.name}")
    table.add_row("image AUROC", f"{result.image_auroc:.4f}")
    table.add_row("average precision", f"{result.average_precision:.4f}")
    table.add_row("pixel AUROC", "no masks" if result.pixel_auroc is None else f"{result.pixel_auroc:.4f}")
    table.add_row("false rejects", f"{result.false_rejects} of {result.good}")
    table.add_row("missed defects", f"{result.missed} of {result.defective}")
    for name, recall in result.recall.items():
        table.add_row(f"recall: {name}", f"{recall:.3f}")
    console.print(table)


def inspect(folder: Path, console: Console) -> None:
    """Verify an artifact and print what it is."""
    artifact = load_artifact(folder)
    manifest = artifact.manifest
    table = Table("field", Column("value", overflow="fold"), title=str(folder))
    bank = artifact.bank
    for name, value in (
        ("name, version", f"{artifact.name} {artifact.version}"),
        ("product", artifact.product),
        ("digest", artifact.digest),
        ("backbone", f"{artifact.backbone.model}, levels {artifact.backbone.levels}"),
        ("weights", f"{artifact.backbone.weights} ({artifact.backbone.source})"),
        ("input", f"{artifact.backbone.preprocess.side} px"),
        ("memory bank", f"{bank.shape[0]} × {bank.shape[1]}, {manifest.provenance.coreset_ratio:.1%} of all patches"),
        ("threshold", f"{artifact.threshold:.4f}"),
        ("promise", manifest.calibration.statement()),
        ("training images", str(len(manifest.provenance.images))),
        ("made", f"{manifest.created:%Y-%m-%d %H:%M} UTC"),
    ):
        table.add_row(name, value)
    console.print(table)
