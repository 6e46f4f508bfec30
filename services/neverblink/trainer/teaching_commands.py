"""Training on known defects as commands: what goes in, how far it is, what came of it."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from neverblink.job_life.terminal import progress_bar, say
from neverblink.trainer.teaching.teaching import Lessons, TaughtClassifier, TaughtUnet, teach_classifier, teach_unet
from neverblink.trainer.teaching.train_classifier import ClassifierSettings
from neverblink.trainer.teaching.train_unet import TrainSettings
from neverblink.trainer.teaching.unet_checkpoint import Epoch


def run_train_unet(
    folders: list[Path],
    artifact: Path,
    out: Path,
    settings: TrainSettings,
    console: Console,
    *,
    resize: int | None,
    leave: float,
    version: str | None,
    checkpoint: Path | None,
    resume: bool,
) -> TaughtUnet:
    """Train a U-Net with a bar that shows loss and Dice, and say how well it does on held-out images."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        reading = bars.add_task("reading images", total=None, figures="")
        training = bars.add_task("training", total=None, figures="", visible=False)

        def show(stage: str, done: int, total: int) -> None:
            task = reading if stage == "reading images" else training
            bars.update(task, completed=done, total=total, visible=True)

        def tell(epoch: Epoch) -> None:
            figures = f"epoch {epoch.number}: loss {epoch.loss:.3f}, Dice {epoch.mean_dice:.3f}"
            bars.update(training, figures=figures)
            if not console.is_terminal:
                console.print(f"{figures}, {epoch.seconds:.1f} s", highlight=False)

        taught = teach_unet(
            folders,
            artifact,
            out,
            settings,
            resize=resize,
            leave=leave,
            version=version,
            progress=show,
            checkpoint=checkpoint,
            resume=resume,
            on_epoch=tell,
        )
    _tell_unet(taught, console)
    return taught


def run_train_classifier(
    folders: list[Path],
    artifact: Path,
    out: Path,
    settings: ClassifierSettings,
    console: Console,
    *,
    weights: Path | None,
    leave: float,
    drawn_only: bool,
    version: str | None,
) -> TaughtClassifier:
    """Train a classifier with a progress bar, and print what it makes of images that it had not seen."""
    with progress_bar(console, artifact.name) as progress:
        taught = teach_classifier(
            folders,
            artifact,
            out,
            settings,
            weights=weights,
            leave=leave,
            drawn_only=drawn_only,
            version=version,
            progress=progress,
        )
    _tell_classifier(taught, console)
    return taught


def _tell_unet(taught: TaughtUnet, console: Console) -> None:
    trained = taught.trained
    division, held_out = trained.division, trained.held_out
    table = Table(
        "class",
        Column("held-out images", justify="right"),
        Column("Dice", justify="right"),
        Column("outlined from", justify="right"),
        Column("evidence from", justify="right"),
        title=f"U-Net after epoch {trained.best_epoch} of {len(trained.history)}",
    )
    for found in held_out.classes:
        dice = "–" if found.dice is None else f"{found.dice:.3f}"
        images = f"{found.images}{' synthetic' if found.synthetic else ''}"
        table.add_row(escape(found.name), images, dice, f"{found.threshold:.2f}", f"{found.sure:.1f}")
    console.print(table)
    say(console, f"learnt from {len(division.defective)} images with defects and {len(division.good)} good ones")
    if held_out.false_alarm_bound is not None:
        say(
            console,
            f"marks a pixel in {held_out.false_alarms} of {held_out.held_out_good} held-out good images: with 95 %"
            f" confidence in at most {100 * held_out.false_alarm_bound:.1f} % of good parts",
        )
    if division.not_validated:
        say(console, f"too few images to hold any out, so nothing is known of: {', '.join(division.not_validated)}")
    skipped = [
        f"{count} {what}"
        for count, what in ((division.without_mask, "without a mask"), (division.empty_masks, "with an empty mask"))
        if count
    ]
    if skipped:
        say(console, f"images with a defect that were skipped: {', '.join(skipped)}")
    _tell_left(taught.lessons, console)


def _tell_classifier(taught: TaughtClassifier, console: Console) -> None:
    trained = taught.trained
    spec = trained.classifier.spec
    right = (Column(name, justify="right") for name in ("regions", "images", "recall", "precision", "called unknown"))
    table = Table("type", *right, title="each region named without its image")
    for row, found in enumerate(spec.figures):
        unknown = trained.confusion[row, -1] / max(1, trained.confusion[row].sum())
        precision = "–" if found.precision is None else f"{found.precision:.3f}"
        table.add_row(
            escape(found.name),
            str(found.regions),
            str(found.images),
            f"{found.recall:.3f}",
            precision,
            f"{unknown:.3f}",
        )
    console.print(table)
    drawn = int((trained.regions.source == "drawn").sum())
    flagged = len(trained.regions.source) - drawn
    marked = f" and {flagged} regions that the model marks" if flagged else " alone"
    say(console, f"learnt from {drawn} outlines{marked}")
    say(console, spec.statement())
    for name, count in sorted(trained.left_out.items()):
        say(console, f"{name} was left out: only {count} images show it")
    _tell_left(taught.lessons, console)


def _tell_left(lessons: Lessons, console: Console) -> None:
    if lessons.left:
        say(console, f"{lessons.left} images with defects were left for `neverblink evaluate`")
