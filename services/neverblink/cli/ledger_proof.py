"""Is the inspection as good as it says: the figures of a line and shift on one screen."""

import dataclasses
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, ledger_app, read_plant, wide_console
from neverblink.cli.ledger_questions import AS_JSON, CountsWanted, opened_records, print_json, wanting, zone_of
from neverblink.job_life.terminal import shown

if TYPE_CHECKING:
    from datetime import tzinfo

    from neverblink.plant import Plant
    from neverblink.records.questions.figures import Figures
    from neverblink.records.questions.proof.answer import Proof
    from neverblink.records.questions.rollup_filter import RollupFilter

_WIDE = 80


@dataclass(frozen=True, slots=True)
class FiguresWanted(CountsWanted):
    """The options of questions about figures."""

    shift: Annotated[str | None, typer.Option(help="Parts of this shift alone, as records.shifts names it.")] = None
    within: Annotated[
        float,
        typer.Option(min=0.1, max=50.0, help="Points to which recall and precision must be known; rates to a tenth."),
    ] = 10.0

    def of(self, plant: "Plant") -> "RollupFilter":
        """Return which counts are added up. Raises BadParameter."""
        names = plant.shift_plan().names
        if self.shift is not None and self.shift not in names:
            raise typer.BadParameter(f"there is no shift {self.shift!r}; the plant file has {', '.join(names)}")
        return dataclasses.replace(self.counted(), shift=self.shift)


@ledger_app.command("figures")
@wanting(FiguresWanted)
def ledger_figures(asked: FiguresWanted, *, as_json: AS_JSON = False) -> None:
    """Print recall, precision, false rejects and escapes, each with its interval and its sample, on one screen.

    `neverblink ledger figures --line line-1 --shift early --from 2026-03-02`

    They come from the parts that were drawn for people: holdouts and rejects. Where these are too few there is no
    figure, but how many more it takes. docs/definitions.md has each formula. With --station its verdicts are counted.
    """
    described = read_plant(asked.plant)
    wanted = asked.of(described)
    from neverblink.records.questions.figures import figures
    from neverblink.records.questions.proof.answer import proof_of
    from neverblink.records.questions.proof.estimates import Exactness

    exactness = Exactness(asked.within / 100, asked.within / 1000)
    with opened_records(described) as records, records.asking() as session:
        counted = figures(session, wanted)
        proof = proof_of(session, wanted, exactness)
    if as_json:
        print_json(dataclasses.asdict(counted) | {"proof": proof})
    elif asked.station is not None:
        from neverblink.cli.ledger_tables import figures_table

        wide_console().print(figures_table(counted))
    elif not counted.parts:
        typer.echo(f"No part fits: {_asked(wanted)}.")
    else:
        for line in screen(proof, counted, wanted, zone_of(described)):
            typer.echo(line)


@ledger_app.command("weekly")
def ledger_weekly(
    out: Annotated[Path, typer.Argument(help="The page, an .html file; its figures as JSON go beside it.")] = Path(
        "weekly.html"
    ),
    plant: PLANT = DEFAULT_PLANT,
    line: Annotated[list[str] | None, typer.Option(help="Line; may be given again. Default: all.")] = None,
    product: Annotated[str | None, typer.Option(help="Product.")] = None,
    day: Annotated[
        datetime | None,
        typer.Option("--week-of", formats=["%Y-%m-%d"], help="A day of the week. Default: the last that is over."),
    ] = None,
) -> None:
    """Write the week's review as one page: figures with intervals, what changed, what to do next; made to be printed.

    `neverblink ledger weekly weekly.html --line line-1 --week-of 2026-03-02`
    """
    described = read_plant(plant)
    lines = [one.name for one in described.lines] if line is None else [described.line(name).name for name in line]
    from neverblink.records.questions.proof.weekly import weekly_of
    from neverblink.reports.pages import check_place
    from neverblink.reports.weekly import weekly_page

    check_place(out)
    now, zone = datetime.now(UTC), described.time_zone()
    wanted = (now.astimezone(zone_of(described)) - timedelta(days=7)).date() if day is None else day.date()
    with opened_records(described) as records, records.asking() as session:
        found = weekly_of(
            session, described.site, lines, wanted, described.shift_plan(), zone, now, product=product
        )  # fmt: skip
    written = weekly_page(out, found)
    typer.echo(
        f"Week {found.week}, {len(found.lines)} of {len(lines)} lines with parts: {written.html}, {written.json}"
    )


def screen(proof: "Proof", counted: "Figures", wanted: "RollupFilter", zone: "tzinfo") -> Iterator[str]:
    """Yield the lines of one screen of 80 columns."""
    from neverblink.records.questions.proof.words import (
        figure_lines,
        left_out_lines,
        reference_line,
        weight_lines,
        whole,
    )

    yield from _filled(f"{_asked(wanted)}, {_period(proof, zone)}")
    yield from _filled(
        f"{whole(proof.parts)} parts: {whole(proof.passed)} passed, {whole(proof.rejected)} rejected,"
        f" {whole(proof.unscored)} without a score"
    )
    yield ""
    yield f"{'':<18}{'figure':>9}   {'95 % interval':<18}sample"
    for line in figure_lines(proof):
        first, *rest = textwrap.wrap(line.sample, _WIDE - 48) or [""]
        yield f"{line.name:<18}{line.figure:>9}   {line.interval:<18}{first}"
        for more in rest:
            yield f"{'':<48}{more}"
        if line.more is not None:
            yield from _filled(line.more, "    ")
    yield ""
    for sentence in (*weight_lines(proof), reference_line(proof), *left_out_lines(proof)):
        yield from _filled(sentence)
    yield ""
    told, escaped, lost = counted.told_in_time, counted.gate_escaped, counted.gate_lost
    yield from _filled(
        f"Told in time: {whole(told.count)} of {whole(told.sample)}. The gate passed {whole(escaped.count)} that we did"
        f" not, and threw out {whole(lost.count)} that we passed, of {whole(escaped.sample)}."
    )


def _asked(wanted: "RollupFilter") -> str:
    lines = "all lines" if wanted.lines is None else ", ".join(wanted.lines)
    rest = (("shift", wanted.shift), ("product", wanted.product), ("lot", wanted.lot))
    return ", ".join((shown(lines), *(f"{name} {shown(value)}" for name, value in rest if value is not None)))


def _period(proof: "Proof", zone: "tzinfo") -> str:
    if proof.first is None or proof.last is None:
        return "no part yet"
    since, until = proof.since or proof.first, proof.until
    return f"from {_when(since, zone)} " + (
        f"to {_when(until, zone)}" if until else f"on, last {_when(proof.last, zone)}"
    )


def _when(moment: datetime, zone: "tzinfo") -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def _filled(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDE, initial_indent=indent, subsequent_indent=indent or "  ", break_on_hyphens=False)
