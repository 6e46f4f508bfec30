"""What a test does where a real part that it needs cannot run."""

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest

from rigs.postgresql import PostgresqlServer, PostgresqlUnavailable

REQUIRED = "NEVERBLINK_REQUIRE_PLANT"


def without(part: str, reason: object) -> NoReturn:
    """Skip with the reason; fail where every real part is required, as in continuous integration."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1 and {part} cannot run: {reason}", pytrace=False)
    pytest.skip(f"{part} cannot run here: {reason}")


def postgresql_server() -> Iterator[PostgresqlServer]:
    """Yield a server that runs, for a fixture; `without` where none can be had."""
    try:
        made = PostgresqlServer()
        made.start()
    except PostgresqlUnavailable as error:
        without("PostgreSQL", error)
    yield made
    made.thaw()
    made.end()
