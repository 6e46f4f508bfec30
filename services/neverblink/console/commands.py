"""`neverblink console` and the commands beside it: the service, accounts from the machine itself, the audit."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from neverblink import telemetry
from neverblink.console.access import audit
from neverblink.console.access.accounts import Handed, open_again
from neverblink.console.access.audit import Actor, Entry
from neverblink.console.access.database import AccessDatabase
from neverblink.console.service import first_password, serve, told_first, utc_now
from neverblink.plant import Plant
from neverblink.service_life import run_service

MACHINE = "this machine"
"""From where a command acts, in the audit."""


async def run(plant: Plant, tell: Callable[[str], None], file: Path | None = None) -> None:
    """Answer until SIGTERM; `tell` is given the first one-time password. Raises AccessError or ServeError.

    Jobs that read the plant file find it at `file`.
    """

    async def main(stop: asyncio.Event) -> None:
        access = await asyncio.to_thread(AccessDatabase, plant.console.database)
        try:
            password = await asyncio.to_thread(first_password, access, utc_now())
            if password is not None:
                tell(told_first(password))
            await serve(plant, access, stop, file)
        finally:
            access.close()

    telemetry.setup("console", plant.site)
    await run_service("console", main)


def open_account(plant: Plant, name: str, who: str, why: str) -> Handed:
    """Make or open an administrator's account from the machine itself. Raises AccessError, AccountError."""
    with closing(AccessDatabase(plant.console.database)) as access, access.writing() as connection:
        return open_again(connection, name, Actor(who, MACHINE, why), utc_now())


def verified(plant: Plant, expected: str | None) -> Entry | None:
    """Return the end of the audit's chain, None of an empty one. Raises AccessError, AuditBrokenError."""
    with closing(AccessDatabase(plant.console.database)) as access, access.reading() as connection:
        return audit.verify(connection, expected)


def exported(plant: Plant, form: str) -> Iterator[bytes]:
    """Yield the audit's entries as lines. Raises AccessError."""
    with closing(AccessDatabase(plant.console.database)) as access:
        yield from audit.exported(access, plant.site, form)
