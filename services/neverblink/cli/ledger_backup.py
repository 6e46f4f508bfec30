"""Backup and restore of records, evidence and artifacts."""

from pathlib import Path
from typing import Annotated

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, ledger_app, read_plant

FOLDER = Annotated[Path, typer.Argument(help="Folder of backups.")]


@ledger_app.command("backup")
def ledger_backup(folder: FOLDER, plant: PLANT = DEFAULT_PLANT) -> None:
    """Copy records, pictures and models into a folder while everything runs; only what is new is copied.

    `neverblink ledger backup /backup/neverblink`

    Every file lies there once, by its digest; a manifest, written last, says what one backup is made of.
    """
    described = read_plant(plant)
    from datetime import UTC, datetime

    from neverblink.ledger.backup import back_up

    path, held = back_up(described, folder, datetime.now(UTC), lambda step: typer.echo(f"{step} …", err=True))
    size = sum(file.bytes for file in held.files)
    gone = f"; {held.missing} pictures were deleted meanwhile" if held.missing else ""
    typer.echo(f"{path}: {len(held.files)} files, {size / 2**20:.1f} MiB{gone}")


@ledger_app.command("restore")
def ledger_restore(
    folder: FOLDER,
    plant: PLANT = DEFAULT_PLANT,
    backup: Annotated[str | None, typer.Option(help="Which one, such as 2026-03-02T060000Z. Default: the newest.")] = (
        None
    ),
    force: Annotated[bool, typer.Option("--force", help="Put it in the place of what is there.")] = False,
) -> None:
    """Put a backup back where the plant file says, once every file of it has been checked. The ledger must not run.

    `neverblink ledger restore /backup/neverblink`
    """
    described = read_plant(plant)
    from neverblink.ledger.restore import restore

    held = restore(described, folder, backup, force=force, tell=lambda step: typer.echo(f"{step} …", err=True))
    typer.echo(f"restored what {held.site} was at {held.made.isoformat()}: {len(held.files)} files")
