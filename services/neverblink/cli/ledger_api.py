"""The REST API of the records: who may ask, and the server."""

import asyncio
from typing import Annotated

import typer

from neverblink.cli.application import ANSWER_AT, DEFAULT_PLANT, LOG_LEVEL, PLANT, ledger_app, read_plant


@ledger_app.command("serve")
def ledger_serve(plant: PLANT = DEFAULT_PLANT, log_level: LOG_LEVEL = None, health: ANSWER_AT = None) -> None:
    """Answer an MES: a read-only REST API over the records, for whoever has a token.

    `neverblink ledger token mes --line line-1` makes a token, then
    `curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8750/api/v1/changes`

    `records.api` in the plant file says where it listens: on this machine alone, or with TLS. `/openapi.json` describes
    every question; docs/guides/mes.md shows them.
    """
    described = read_plant(plant)
    from neverblink.ledger.api.serving import run

    asyncio.run(run(described))


@ledger_app.command("token")
def ledger_token(
    name: Annotated[str, typer.Argument(help="Who gets it, such as mes or line-1-terminal.")],
    plant: PLANT = DEFAULT_PLANT,
    line: Annotated[
        list[str] | None, typer.Option(help="Line that the token grants; may be given again. Default: all lines.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days for which it is valid.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the token of that name away.")] = False,
) -> None:
    """Make a token for the REST API and print it, once; the file keeps only its hash. A server sees changes at once.

    `neverblink ledger token mes --line line-1 --line line-2 --days 365`
    """
    described = read_plant(plant)
    lines = None if not line else tuple(described.line(one).name for one in line)
    from datetime import UTC, datetime

    from neverblink.ledger.api.tokens import make_token, remove_token

    file = described.records.api.tokens
    if remove:
        remove_token(file, name)
        typer.echo(f"{name} is refused from now on")
        return
    made = make_token(file, name, datetime.now(UTC), lines, days)
    typer.echo(made.text)
    typer.secho(
        f"{name} may see {'all lines' if lines is None else ', '.join(lines)}"
        f"{'' if made.grant.until is None else f' until {made.grant.until:%Y-%m-%d}'}; this is shown once, {file} keeps"
        " its hash",
        err=True,
    )
