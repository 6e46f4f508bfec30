"""The job that searches for a recipe."""

import orjson
import typer
from rich.table import Table

from neverblink.cli.jobs import Job, Screen, Teller, command
from neverblink.job_life.terminal import shown
from neverblink.trainer.tuning.results import TriedRecipe, TuneResult
from neverblink.trainer.tuning.settings import TuneJob


def _tune(job: TuneJob, teller: Teller) -> TuneResult:
    from neverblink.trainer.tuning.jobs import run_tune

    return run_tune(job, teller.progress)


def _show_tune(job: TuneJob, done: TuneResult, screen: Screen) -> None:
    if screen.as_json:
        screen.json(orjson.dumps(done.model_dump(mode="json")))
        return
    for note in done.notes:
        screen.say(note)
    screen.tables(_table(done))
    for one in done.recipes:
        if one.fault is not None:
            screen.console.print(shown(f"{one.label} failed: {one.fault}"), style="red", soft_wrap=True)
    screen.say(f"{done.chosen}: {done.why}")
    fresh = done.fresh
    if fresh is not None:
        screen.say(
            f"on pictures that chose nothing {fresh.recall:.0%} are found ({fresh.low:.0%} to {fresh.high:.0%}), by the"
            f" default {fresh.default:.0%}"
        )
    if done.left:
        screen.say(f"the budget left no time for {done.left} trials: the same command with a larger one goes on")
    screen.say(f"report: {done.report}")
    screen.say(f"neverblink fit --settings {done.settings_file}")
    typer.echo(str(done.settings_file))


command(
    "tune",
    Job(
        settings=TuneJob, result=TuneResult, work=_tune, told=lambda _, done: done, show=_show_tune,
        title=lambda job: job.name, as_json="Print JSON instead of the table.",
        stopped="stopped: the same command goes on from the last whole trial",
    ),
    short="Search for the settings of a fit that find the most.",
    text="""Search, within a time budget, for the settings of a fit that find the most defects at its promise.

    The defaults are tried first, and stay unless something finds more beyond what chance explains. Judged by real
    defects of `test/DEFECT`, else by drawn ones. A setting that is given stays as it is given.

    `neverblink tune pictures/pcb --product pcb --budget 10m --max-ms 40`

    `neverblink fit --settings tuning/pcb/settings.yaml`

    Started again after an interruption it goes on. docs/guides/tuning.md.
    """,
)  # fmt: skip


def _table(done: TuneResult) -> Table:
    kind = "drawn" if done.defects == "synthetic" else "real"
    table = Table(
        "recipe", "found", "of 95 % of draws", "around, against the default", "AUROC", "ms", "",
        title=f"{done.defective} {kind} defects, {done.good} good, at a promise of {100 * done.promise:.3g} %",
    )  # fmt: skip
    for place, one in enumerate(done.recipes):
        if one.fault is None:
            table.add_row(*_cells(one, first=place == 0, taken=one.label == done.chosen))
    return table


def _cells(one: TriedRecipe, *, first: bool, taken: bool) -> tuple[str, ...]:
    spread = "–" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
    gain = "–" if first or one.gain is None else f"{one.gain:+.3f}"
    if one.gain_low is not None and one.gain_high is not None and not first:
        gain += f" ({one.gain_low:+.2f} to {one.gain_high:+.2f})"
    said = "left out: on a third" if one.tried_on == "some" else "too slow" if one.too_slow else ""
    if one.beats:
        said = "near the best" if one.near else "beats the default"
    return (
        shown(one.label),
        "–" if one.recall is None else f"{one.recall:.3f}",
        spread,
        gain,
        "–" if one.auroc is None else f"{one.auroc:.3f}",
        "–" if one.ms is None else f"{one.ms:.1f}",
        f"{said} <- taken".strip() if taken else said,
    )
