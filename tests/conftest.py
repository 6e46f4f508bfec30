"""How tests are shared among workers, how properties are tried, what all measure, and the servers they share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import metrics

from rigs.postgresql import PostgresqlServer, PostgresqlUnavailable
from rigs.real_parts import without
from rigs.registered_telemetry import RegisteredMeters, take_faults

# The same examples on every run, and no clock decides: a test says the same twice. `python -m bench.properties` looks
# for new ones, and what it finds becomes an @example.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile(os.environ.get("NEVERBLINK_PROPERTIES", "same"))

metrics.set_meter_provider(RegisteredMeters())

_TESTS = Path(__file__).parent
_LINES = {_TESTS / "broker": "kafka", _TESTS / "plc": "plc", _TESTS / "chaos": None}


@pytest.hookimpl(tryfirst=True)  # before the plug-in that reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file's tests in one worker, with the models they share; all that waits for Kafka in one, for PLCs in one.

    They have one Apache Kafka between them, and deadlines that many of them at once would miss.
    """
    for item in items:
        group = _LINES.get(item.path.parent, str(item.path.relative_to(_TESTS)))
        if group is None:
            group = "plc" if "plc" in item.path.name else "kafka"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def _postgresql_server() -> Iterator[PostgresqlServer]:
    try:
        server = PostgresqlServer()
        server.start()
    except PostgresqlUnavailable as error:
        without("PostgreSQL", error)
    yield server
    server.end()


@pytest.fixture
def postgresql(request: pytest.FixtureRequest) -> str:
    """The address of an empty PostgreSQL database; NEVERBLINK_POSTGRES names one that is used instead."""
    named = os.environ.get("NEVERBLINK_POSTGRES")
    if named:
        return named
    server: PostgresqlServer = request.getfixturevalue("_postgresql_server")
    return server.new_database()


@pytest.fixture(autouse=True)
def _all_that_is_measured_is_registered() -> Iterator[None]:
    yield
    faults = take_faults()
    assert not faults, "\n".join(faults)
