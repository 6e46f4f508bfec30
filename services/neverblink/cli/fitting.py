"""Jobs that make a model from pictures of good parts, and that change one."""

from typing import TYPE_CHECKING

import typer
from rich.table import Table

from neverblink.cli.advice import costs_table, tell
from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.trainer.fitting.results import CalibrateResult, FitResult, UpdateResult
from neverblink.trainer.fitting.settings import CalibrateJob, FitJob, UpdateJob

if TYPE_CHECKING:
    from neverblink.trainer.fitting.jobs import FirstFit


def _fit(job: FitJob, teller: Teller) -> "FirstFit":
    from neverblink.trainer.fitting.jobs import run_fit_and_trial

    return run_fit_and_trial(job, teller.progress)


def _show_fit(job: FitJob, done: "FirstFit", screen: Screen) -> None:
    for note in done.result.notes:
        screen.say(note)
    screen.console.print(done.result.sentence)
    if done.trial is not None:
        screen.tables(costs_table(done.trial.costs))
        tell(done.advice, screen)
    if done.report is not None:
        screen.say(f"report: {done.report.html}, figures: {done.report.json}")
    typer.echo(str(job.folder))


command(
    "fit",
    Job(
        settings=FitJob, result=FitResult, work=_fit, told=lambda _, done: done.result, show=_show_fit,
        title=lambda job: job.product,
    ),
    short="Fit a model to pictures of good parts; the threshold comes with its promise.",
    text=r"""Fit a model to pictures of good parts; no defect is needed. The threshold comes with its promise.

    `neverblink fit pictures/pcb --product pcb --report pcb-fit.html`

    A table says how many defects each promise finds: real ones of `test/DEFECT`, else drawn ones.

    Pictures of one item are one witness: `--group-by folder` (one an item), `minute`, or a regular expression such as
    `'(item\d+)_'` makes them count as one. Pictures that stand out are named and shown; `--exclude` leaves them out.

    `neverblink fit pictures/pcb --product pcb --group-by folder --exclude 'lot7/*'`

    docs/guides/onboarding.md says what each knob does, in numbers; `neverblink compare` tries them side by side.
    """,
)  # fmt: skip


def _calibrate(job: CalibrateJob, teller: Teller) -> CalibrateResult:
    from neverblink.trainer.fitting.jobs import run_calibrate

    return run_calibrate(job, teller.progress)


def _show_calibrate(job: CalibrateJob, done: CalibrateResult, screen: Screen) -> None:
    """Print the promise before and after, and what changes for labelled images."""
    for note in done.notes:
        screen.say(note)
    both = (done.before, done.after)
    table = Table("", "before", "after")
    table.add_row("threshold", *(f"{one.threshold:.4f}" for one in both))
    table.add_row("chosen by", *(one.method for one in both))
    table.add_row("of the one before", "1.00", f"{done.after.threshold / done.before.threshold:.2f}")
    table.add_row(
        "unsure from",
        *(
            "–" if one.unsure_from is None else f"{one.unsure_from / one.threshold:.2f} of the threshold"
            for one in both
        ),
    )
    table.add_row("promise", *(one.promise for one in both))
    found = done.labelled
    if found is not None:
        table.add_section()
        table.add_row("false rejects", *(f"{count} of {found.good}" for count in found.false_rejects))
        table.add_row("missed defects", *(f"{count} of {found.defective}" for count in found.missed))
    screen.tables(table)
    if found is not None:
        screen.say(
            f"{found.good_changed + found.defective_changed} of {found.good + found.defective} labelled images change"
            f" side: {found.good_changed} good, {found.defective_changed} defective"
        )
    typer.echo(str(job.out))


command(
    "calibrate",
    Job(
        settings=CalibrateJob, result=CalibrateResult, work=_calibrate, told=lambda _, done: done, show=_show_calibrate,
        title=lambda job: job.artifact.name,
    ),
    text="""Choose another threshold for a model that stays as it is.

    A false-reject target needs no images: the artifact carries the scores of good images that its bank had not
    seen. Costs need labelled ones. However it was chosen, the new threshold comes with its promise.

    `neverblink calibrate artifacts/pcb --false-reject 0.05 --out artifacts/pcb-5`

    `neverblink calibrate artifacts/pcb --cost 1:50 --images pcb-labelled --out artifacts/pcb-cost`
    """,
)  # fmt: skip


def _update(job: UpdateJob, teller: Teller) -> UpdateResult:
    from neverblink.trainer.fitting.jobs import run_update

    return run_update(job, teller.progress)


def _show_update(job: UpdateJob, done: UpdateResult, screen: Screen) -> None:
    """Say what the model learnt, and what changes for these images."""
    for note in done.notes:
        screen.say(note)
    if done.skipped:
        screen.say(f"{done.skipped} images were skipped: the model knows them already")
    screen.say(
        f"{done.added} vectors of {done.images} images went into the bank, now {done.vectors};"
        f" of these images {done.rejected_before} were rejected before, {done.rejected_after} are now"
    )
    typer.echo(str(job.out))


command(
    "update",
    Job(
        settings=UpdateJob, result=UpdateResult, work=_update, told=lambda _, done: done, show=_show_update,
        title=lambda job: job.artifact.name,
    ),
    text="""Teach a model more of what is normal, without fitting it anew.

    Only patches that surprise the model go into its memory bank. No image scores higher than before, so the
    threshold keeps its promise; a defect like a taught image scores lower too, so judge the result before it decides.

    `neverblink update artifacts/pcb confirmed-good --out artifacts/pcb-2`

    `neverblink evaluate pcb --artifact artifacts/pcb-2`
    """,
)  # fmt: skip
