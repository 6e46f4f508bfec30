"""The ledger's tables and counts, looked after by hand: what the service does by itself when it starts."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, ledger_app, read_plant
from neverblink.shown import visible


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


@ledger_app.command("recount")
def ledger_recount(
    plant: PLANT = DEFAULT_PLANT,
    check: Annotated[bool, typer.Option("--check", help="Tell differences, and mend nothing.")] = False,
) -> None:
    """Make parts and counts anew from the events, tell what differs and mend it, while the ledger goes on.

    Exit code 1: something differed.
    """
    described = read_plant(plant)
    from neverblink.ledger.recount import recount
    from neverblink.records.database import Database
    from neverblink.records.part_rules import rules_of

    database = Database(described.storage.ledger, create=False)
    try:
        rules, now = rules_of(described), datetime.now(UTC)
        found = recount(database, rules, now, repair=not check, tell=lambda step: typer.echo(step, err=True))
    finally:
        database.close()
    for difference in found.told:
        typer.echo(f"  {visible(difference)}")
    if found.is_exact:
        typer.echo(f"{found.parts} parts and all counts are what the events say.")
        return
    typer.echo(
        f"{found.built} events without a part, {len(found.wrong_parts)} parts, {found.wrong_counts} counts and"
        f" {found.wrong_waiting} places in the queue of reviews differed from what the events say;"
        f" {'nothing is changed' if check else 'they are mended'}."
    )
    raise typer.Exit(1)


@ledger_app.command("evidence")
def ledger_evidence(
    plant: PLANT = DEFAULT_PLANT,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Say which pictures the evidence store holds and why, how many wait for a review, and what was lost."""
    described = read_plant(plant)
    import orjson
    from rich.console import Console
    from rich.table import Table

    from neverblink.records.questions.evidence_counts import evidence_counts
    from neverblink.records.reading import ReadOnlyRecords
    from neverblink.shown import without_secrets

    records = ReadOnlyRecords(described.storage.ledger, answer_s=60)
    try:
        with records.asking() as session:
            counts = evidence_counts(session)
    finally:
        records.close()
    if as_json:
        typer.echo(orjson.dumps(counts))
        return
    table = Table("why", "to fetch", "frames", "MiB", "unreviewed", "deleted", "lost")
    for one in counts:
        lost = ", ".join(f"{count} {word}" for word, count in sorted(one.lost.items())) or "0"
        size = f"{one.bytes / 2**20:.1f}"
        table.add_row(one.why, str(one.wanted), str(one.frames), size, str(one.unreviewed), str(one.deleted), lost)
    Console().print(table)
    policy = described.records.evidence
    held = sum(one.bytes for one in counts) / 2**30
    typer.echo(
        "the plant keeps no pictures: records.evidence.store is null"
        if policy.store is None
        else f"{held:.2f} GiB of the {policy.max_gib:g} GiB that {without_secrets(policy.store)} may hold"
    )
