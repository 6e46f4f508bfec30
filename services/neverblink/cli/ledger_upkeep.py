"""The ledger's tables and counts, looked after by hand: what the service does by itself when it starts."""

from typing import Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, ledger_app, read_plant


@ledger_app.command("migrate")
def ledger_migrate(
    plant: PLANT = DEFAULT_PLANT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Change the ledger's tables to this version's layout, as `ledger run` does when it starts."""
    described = read_plant(plant)
    from neverblink.records.database import Database, steps_to_today

    url = described.storage.ledger
    name, layout, steps = steps_to_today(url)
    if not steps:
        typer.echo(f"The ledger {name} has table layout {layout} already: nothing to do.")
        return
    found = "no tables" if layout is None else f"table layout {layout}"
    typer.echo(f"The ledger {name} has {found}. {'It would be changed to' if dry_run else 'It is changed to'}")
    for step in steps:
        typer.echo(f"  {step}")
    if not dry_run:
        Database(url, create=True).close()
        typer.echo("Done: nothing that was kept has changed.")
