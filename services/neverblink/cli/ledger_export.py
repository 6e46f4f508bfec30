"""Parts as a file for other programs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from neverblink.cli.application import ledger_app, read_plant
from neverblink.cli.ledger_questions import PartsWanted, opened_records, wanting

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from neverblink.records.questions.parts import PartsPage


@ledger_app.command("export")
@wanting(PartsWanted)
def ledger_export(
    asked: PartsWanted,
    *,
    out: Annotated[Path, typer.Argument(help="File to write; for Parquet a folder of files.")],
    kind: Annotated[
        Literal["csv", "json", "parquet"] | None, typer.Option("--format", help="Default: by the name's ending.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a file that an earlier run began.")] = False,
) -> None:
    """Write parts to CSV, JSON or Parquet, oldest first, in bounded memory. Instants are RFC 3339 with a zone.

    `neverblink ledger export march.parquet --from 2026-03-01 --to 2026-04-01`

    Without --to it ends at the present instant. A run that was stopped goes on with --resume and the same options.
    """
    described = read_plant(asked.plant)
    chosen = kind or _by_name(out)
    wanted = asked.wanted()
    from dataclasses import replace

    from rich.progress import Progress, SpinnerColumn, TextColumn

    from neverblink.cli.application import wide_console
    from neverblink.records.part_files import begun_until, export_parts

    until = wanted.until or (begun_until(out) if resume else None) or datetime.now(UTC)
    with opened_records(described) as records:

        def ask(question: "Callable[[Session], PartsPage]") -> "PartsPage":
            with records.asking() as session:
                return question(session)

        with Progress(SpinnerColumn(), TextColumn("{task.description}"), console=wide_console(), transient=True) as bar:
            task = bar.add_task("asking")
            done = export_parts(
                ask,
                replace(wanted, until=until),
                out,
                chosen,
                resume=resume,
                tell=lambda rows: bar.update(task, description=f"{rows} parts"),
            )
    went_on = f", {done.before} of them before" if done.before else ""
    typer.echo(f"{done.rows} parts{went_on} in {out}")


def _by_name(out: Path) -> Literal["csv", "json", "parquet"]:
    match out.suffix.lower():
        case ".csv":
            return "csv"
        case ".json":
            return "json"
        case ".parquet":
            return "parquet"
        case _:
            raise typer.BadParameter(f"{out} ends in neither .csv nor .json nor .parquet: say --format")
