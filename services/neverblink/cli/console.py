"""The console: pages for people, accounts from the machine itself, and the audit."""

import asyncio
import getpass
import sys
from typing import Annotated, Literal

import typer

from neverblink.cli.application import (
    ANSWER_AT,
    DEFAULT_PLANT,
    LOG_LEVEL,
    PLANT,
    console_app,
    console_audit_app,
    read_plant,
    refuse_options_before,
)
from neverblink.service_life import building


@console_app.callback(invoke_without_command=True)
def console(
    context: typer.Context, plant: PLANT = DEFAULT_PLANT, log_level: LOG_LEVEL = None, health: ANSWER_AT = None
) -> None:
    """Serve the pages where people see what the lines decide: the wall, each part, accounts and audit.

    `console:` in the plant file says where it listens: on this machine alone, or with TLS. The first start prints a
    one-time password; docs/guides/console.md has more.
    """
    if context.invoked_subcommand is not None:
        refuse_options_before(context, ("plant", "log_level", "health"))
        return
    described = read_plant(plant)
    with building():
        from neverblink.console.commands import run

    asyncio.run(run(described, lambda sentence: typer.secho(sentence, err=True), plant.resolve()))


@console_app.command("account")
def console_account(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    why: Annotated[str, typer.Option(help="Why; it stays in the audit.")],
    plant: PLANT = DEFAULT_PLANT,
) -> None:
    """Break glass: make an administrator, or open one again, and print its one-time password.

    `neverblink console account admin --why "password lost, Ann asked"`

    For when nobody can sign in. Whoever may write the console's database may do this; it stays in the audit.
    """
    described = read_plant(plant)
    from neverblink.console.commands import open_account

    handed = open_account(described, name, f"{getpass.getuser()} at the console's machine", why)
    typer.echo(handed.password)
    typer.secho(
        f"{handed.account.name} is an administrator; the one-time password above must be changed at the first sign-in",
        err=True,
    )


@console_audit_app.command("verify")
def audit_verify(
    plant: PLANT = DEFAULT_PLANT,
    expect: Annotated[
        str | None, typer.Option(help="NUMBER:HASH that an earlier check printed: it must still be in the chain.")
    ] = None,
) -> None:
    """Check that no entry of the audit was changed, taken out or put in. Exit code 2 when it does not hold."""
    described = read_plant(plant)
    from neverblink.console.commands import verified

    last = verified(described, expect)
    if last is None:
        typer.echo("the audit is empty")
    else:
        typer.echo(f"every entry up to {last.number} is as it was written; keep this elsewhere: {last.place}")


@console_audit_app.command("export")
def audit_export(
    plant: PLANT = DEFAULT_PLANT,
    form: Annotated[
        Literal["json", "syslog"], typer.Option("--as", help="JSON lines, or messages of RFC 5424, one a line.")
    ] = "json",
) -> None:
    """Write the audit to standard output, one entry a line."""
    described = read_plant(plant)
    from neverblink.console.commands import exported

    for line in exported(described, form):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
