"""What a promise costs and what to do next, on a terminal."""

from typing import TYPE_CHECKING

from rich.table import Column, Table

from neverblink.cli.jobs import Screen
from neverblink.job_life.terminal import shown
from neverblink.reports.figures import between

if TYPE_CHECKING:
    from neverblink.trainer.promises.advice import Advice
    from neverblink.trainer.promises.promise_costs import PromiseCosts, PromiseRow

_BAR = 20


def costs_table(costs: "PromiseCosts") -> Table:
    """Return recall against promised false rejects, with a bar a promise."""
    drawn = costs.source == "synthetic"
    what = "synthetic defects, drawn on good parts" if drawn else "real defects"
    good = "held-out good rejected" if costs.held_out else "good rejected"
    numbers = ("threshold", "found", "", good)
    table = Table(
        "promise",
        *(Column(name, justify="left" if not name else "right", no_wrap=not name) for name in numbers),
        title=f"what the promise costs, by {what}",
        caption=_caption(costs),
    )
    for row in costs.rows:
        table.add_row(
            f"{100 * row.promise:.3g} %{' (in force)' if row.in_force else ''}",
            f"{row.of_threshold:.2f}",
            f"{row.found} of {row.defective}, {row.recall:.0%} ({between(row.recall_interval)})",
            "█" * round(_BAR * row.recall) + "░" * (_BAR - round(_BAR * row.recall)),
            _good(row, held_out=costs.held_out),
            style="bold" if row.in_force else None,
        )
    return table


def tell(advice: "Advice", screen: Screen) -> None:
    """Print why a model is of no use, where it is none, and what to do next."""
    for doubt in advice.doubts:
        screen.console.print(shown(f"{doubt[0].upper()}{doubt[1:]}."), style="bold yellow", highlight=False)
    for step in advice.steps:
        screen.say(f"next: {step.says}" + (":" if step.command is not None else ""))
        if step.command is not None:
            screen.say(f"  {step.command}")


def _good(row: "PromiseRow", *, held_out: bool) -> str:
    counted = f"{row.false_rejects} of {row.good}"
    return counted if held_out else f"{counted}, {row.false_reject_rate:.1%} ({between(row.false_reject_interval)})"


def _caption(costs: "PromiseCosts") -> str:
    said = "The threshold is a share of the one in force; in brackets 95 % intervals."
    if costs.held_out:
        said += " Held-out good parts chose the thresholds: they cannot contradict a promise."
    for one in costs.too_tight:
        said += f" {100 * one.promise:.3g} % takes {one.needed} good images."
    return said
