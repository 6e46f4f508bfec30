"""Jobs that teach a model defects that are known."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.job_life.terminal import shown
from neverblink.trainer.teaching.results import SynthesizeResult, TrainClassifierResult, TrainUnetResult
from neverblink.trainer.teaching.settings import SynthesizeJob, TrainClassifierJob, TrainUnetJob


def _synthesize(job: SynthesizeJob, teller: Teller) -> SynthesizeResult:
    from neverblink.trainer.teaching.jobs import run_synthesize

    return run_synthesize(job, teller.progress)


def _show_synthesize(job: SynthesizeJob, done: SynthesizeResult, screen: Screen) -> None:
    for note in done.notes:
        screen.say(note)
    screen.say(f"{done.defective} images with defects, {done.good} good ones; look at {done.sheet}")
    typer.echo(str(job.out))


def _example_drawings() -> str:
    from neverblink.vision.synthesis import example

    return example()


command(
    "synthesize",
    Job(
        settings=SynthesizeJob, result=SynthesizeResult, work=_synthesize, show=_show_synthesize,
        told=lambda _, done: done, title=lambda job: job.images.name,
        example=("Print a policy to start from and stop.", _example_drawings),
    ),
    short="Draw synthetic defects with masks on pictures of good parts.",
    text="""Draw synthetic defects with masks on pictures of good parts, as a data set in MVTec layout.

    Writes `test/KIND`, `ground_truth/KIND`, `test/good`, what was drawn on which image (`synthesis.json`), and a
    contact sheet to look at before anything is trained or judged with it. docs/guides/known-defects.md has more.

    `neverblink synthesize pcb --out pcb-synthetic --kinds scratch,stain --per-kind 50`
    """,
)  # fmt: skip


@contextmanager
def _with_figures(_: str, screen: Screen) -> Iterator[Teller]:
    """Show a bar with loss and Dice; where there is no terminal, a line an epoch."""
    console = screen.console
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
            task = training if stage == "training" else reading
            bars.update(task, completed=done, total=total, visible=True)

        def tell(epoch: str, found: Mapping[str, float | None]) -> None:
            figures = f"{epoch}: loss {found['loss']:.3f}, Dice {found['dice']:.3f}"
            bars.update(training, figures=figures)
            if not console.is_terminal:
                console.print(f"{figures}, {found['seconds']:.1f} s", highlight=False)

        yield Teller(show, tell)


def _train_unet(job: TrainUnetJob, teller: Teller) -> TrainUnetResult:
    from neverblink.trainer.teaching.jobs import run_train_unet
    from neverblink.trainer.teaching.unet_checkpoint import Epoch

    def on_epoch(epoch: Epoch) -> None:
        found = {"loss": epoch.loss, "dice": epoch.mean_dice, "seconds": epoch.seconds}
        teller.figures(f"epoch {epoch.number}", found)

    return run_train_unet(job, teller.progress, on_epoch)


def _show_train_unet(job: TrainUnetJob, done: TrainUnetResult, screen: Screen) -> None:
    """Say how well the U-Net does on held-out images."""
    for note in done.notes:
        screen.say(note)
    table = Table(
        "class",
        Column("held-out images", justify="right"),
        Column("Dice", justify="right"),
        Column("outlined from", justify="right"),
        Column("evidence from", justify="right"),
        title=f"U-Net after epoch {done.best_epoch} of {done.epochs}",
    )
    for found in done.classes:
        dice = "–" if found.dice is None else f"{found.dice:.3f}"
        images = f"{found.images}{' synthetic' if found.synthetic else ''}"
        table.add_row(shown(found.name), images, dice, f"{found.threshold:.2f}", f"{found.sure:.1f}")
    screen.tables(table)
    screen.say(f"learnt from {done.learnt_defective} images with defects and {done.learnt_good} good ones")
    if done.false_alarm_bound is not None:
        screen.say(
            f"marks a pixel in {done.false_alarms} of {done.held_out_good} held-out good images: with 95 %"
            f" confidence in at most {100 * done.false_alarm_bound:.1f} % of good parts"
        )
    if done.not_validated:
        screen.say(f"too few images to hold any out, so nothing is known of: {', '.join(done.not_validated)}")
    skipped = [
        f"{count} {what}"
        for count, what in ((done.without_mask, "without a mask"), (done.empty_masks, "with an empty mask"))
        if count
    ]
    if skipped:
        screen.say(f"images with a defect that were skipped: {', '.join(skipped)}")
    _say_left(done.left, screen)
    typer.echo(str(job.out))


def _example_augmentation() -> str:
    from neverblink.vision.defect_augmentation import example

    return example()


command(
    "train-unet",
    Job(
        settings=TrainUnetJob, result=TrainUnetResult, work=_train_unet, show=_show_train_unet,
        told=lambda _, done: done, bars=_with_figures,
        example=("Print an augmentation file and stop.", _example_augmentation),
    ),
    short="Teach a model the defects that it will be strict on: a U-Net outlines them.",
    text="""Teach a model the defects that it will be strict on: a U-Net that outlines them.

    Tens of outlined defects are a start, synthetic ones from `neverblink synthesize` help. The U-Net joins the
    memory bank in a new artifact; PatchCore goes on catching what nobody has seen yet.

    `neverblink train-unet pcb pcb-synthetic --artifact artifacts/pcb --out artifacts/pcb-unet`

    `neverblink evaluate pcb --artifact artifacts/pcb-unet --report pcb.html`
    """,
)  # fmt: skip


def _train_classifier(job: TrainClassifierJob, teller: Teller) -> TrainClassifierResult:
    from neverblink.trainer.teaching.jobs import run_train_classifier

    return run_train_classifier(job, teller.progress)


def _show_train_classifier(job: TrainClassifierJob, done: TrainClassifierResult, screen: Screen) -> None:
    """Print what the classifier makes of images that it had not seen."""
    for note in done.notes:
        screen.say(note)
    right = (Column(name, justify="right") for name in ("regions", "images", "recall", "precision", "called unknown"))
    table = Table("type", *right, title="each region named without its image")
    for found in done.types:
        table.add_row(
            shown(found.name),
            str(found.regions),
            str(found.images),
            f"{found.recall:.3f}",
            "–" if found.precision is None else f"{found.precision:.3f}",
            f"{found.called_unknown:.3f}",
        )
    screen.tables(table)
    marked = f" and {done.flagged} regions that the model marks" if done.flagged else " alone"
    screen.say(f"learnt from {done.drawn} outlines{marked}")
    screen.say(done.statement)
    for name, count in sorted(done.left_out.items()):
        screen.say(f"{name} was left out: only {count} images show it")
    _say_left(done.left, screen)
    typer.echo(str(job.out))


def _say_left(left: int, screen: Screen) -> None:
    if left:
        screen.say(f"{left} images with defects were left for `neverblink evaluate`")


command(
    "train-classifier",
    Job(
        settings=TrainClassifierJob, result=TrainClassifierResult, work=_train_classifier,
        show=_show_train_classifier, told=lambda _, done: done, title=lambda job: job.artifact.name,
    ),
    short="Teach a model the names of defects: a classifier on its own features.",
    text="""Teach a model the names of defects: a classifier on the features that it computes anyway.

    A few images of each type are enough. What resembles none of them is called unknown, at a stated rate for those
    that are known. Train the U-Net first: the classifier learns from what it outlines.

    `neverblink train-classifier pcb --artifact artifacts/pcb-unet --out artifacts/pcb-hybrid`
    """,
)  # fmt: skip
