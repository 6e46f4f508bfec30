"""Models that learn from what people confirmed."""

from typing import TYPE_CHECKING

import orjson
from rich.table import Table

from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.cli.models import tell_change
from neverblink.job_life.terminal import shown
from neverblink.trainer.retraining.results import KeepReviewedResult, RetrainResult
from neverblink.trainer.retraining.settings import KeepReviewedJob, RetrainJob

if TYPE_CHECKING:
    from neverblink.trainer.retraining.jobs import Challenged


def _retrain(job: RetrainJob, teller: Teller) -> "Challenged":
    from neverblink.trainer.retraining.jobs import run_retrain

    return run_retrain(job, teller.progress)


def _show_retrain(job: RetrainJob, found: "Challenged", screen: Screen) -> None:
    if found.kept is not None:
        _show_kept(found.kept, screen)
    if screen.as_json:
        screen.json(orjson.dumps(found.figures()))
    else:
        _show_trial(found, screen)
    screen.say(f"report: {found.report.html}, figures: {found.report.json}")
    if found.golden is not None:
        screen.say(f"note: {found.golden}")
    if found.shadow is not None:
        tell_change(found.shadow, screen.console)
    elif job.shadow:
        screen.say("it was refused, so it is not put in shadow; `neverblink models shadow` does so nevertheless")


def _show_trial(found: "Challenged", screen: Screen) -> None:
    from neverblink.trainer.retraining.report import comparison

    done = found.done
    table = Table("", f"champion {done.champion.version}", f"challenger {done.artifact.version}")
    for row in comparison(done.trial):
        table.add_row(*map(shown, row))
    screen.tables(table)
    for doubt in done.trial.doubts:
        screen.say(f"note: {doubt}")
    if done.trial.refusal is None:
        screen.console.print("nothing speaks against promoting it", style="green")
    else:
        said = shown(f"refused: {done.trial.refusal}")
        screen.console.print(said, style="red", soft_wrap=True, highlight=False)


command(
    "retrain",
    Job(
        settings=RetrainJob, result=RetrainResult, work=_retrain, show=_show_retrain,
        told=lambda _, found: found.result(), title=lambda job: job.out.name,
        good=lambda found: found.done.promotable, as_json="Print JSON instead of the table.",
    ),
    short="Make a challenger from confirmed good parts and try it against the champion.",
    text="""Make a challenger from confirmed good parts of the last weeks and try it against the champion.

    It is refused when a known defect would escape it: `models promote` and `models activate` refuse it then.

    `neverblink retrain confirmed --champion artifacts/pcb --defects known-defects --out artifacts/pcb-5`

    `neverblink retrain confirmed -p plant.yaml --product pcb --reviews --out artifacts/pcb-5 --shadow`

    Exit codes: 0 promotable; 1 refused; 2 bad input or surroundings. docs/guides/retraining.md has more.
    """,
)  # fmt: skip


def _keep_reviewed(job: KeepReviewedJob, teller: Teller) -> KeepReviewedResult:
    from neverblink.trainer.retraining.jobs import run_keep_reviewed

    return run_keep_reviewed(job, teller.progress)


def _show_kept(kept: KeepReviewedResult, screen: Screen) -> None:
    screen.say(f"{kept.reviewed} reviewed parts; {kept.new} images came to {kept.folder}")
    if kept.missing:
        screen.say(
            f"{kept.missing} have no image: the evidence store has none. records.evidence says what is kept and how"
            " long, `neverblink ledger evidence` what was lost"
        )
    if kept.unreadable:
        screen.say(f"{kept.unreadable} images could not be read")


command(
    "keep-reviewed",
    Job(
        settings=KeepReviewedJob, result=KeepReviewedResult, work=_keep_reviewed, told=lambda _, kept: kept,
        show=lambda _, kept, screen: _show_kept(kept, screen), title=lambda job: job.folder.name,
    ),
    short="Ended: the ledger keeps the pictures, and retrain takes them.",
    text="""Ended: the ledger keeps the pictures of parts, and `retrain --reviews` takes what people judged from there.

    `neverblink retrain confirmed -p plant.yaml --product pcb --reviews --out artifacts/pcb-5`

    A folder that this command kept goes on working.
    """,
)  # fmt: skip
