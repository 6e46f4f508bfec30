"""How tests are shared among workers, how properties are tried, what all measure, and the servers they share."""

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry import metrics
from xdist.scheduler import LoadScopeScheduling

from neverblink.service_life import keep_for_good
from rigs.postgresql import PostgresqlServer
from rigs.real_parts import postgresql_server
from rigs.registered_telemetry import RegisteredMeters, take_faults
from rigs.steadiness import no_full_collection, only_where_the_machine_ran

# The same examples on every run, and no clock decides: a test says the same twice. `python -m bench.properties` looks
# for new ones, and what it finds becomes an @example.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile(os.environ.get("NEVERBLINK_PROPERTIES", "same"))

metrics.set_meter_provider(RegisteredMeters())

_SERVERS = {"broker": "kafka", "plc": "plc", "chaos": "kafka"}
_IN_REAL_TIME = {"broker", "browser", "chaos", "plc"}
_REAL_CAMERAS = "test_real_cameras.py"


class _ByServer(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Keep a file's tests in one worker, with the models they share; all that waits for Kafka in one, for PLCs in one.

    They have one Apache Kafka between them, and deadlines that many of them at once would miss.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = PurePosixPath(nodeid.partition("::")[0])
        if file.parent.name == "chaos" and "plc" in file.name:
            return "plc"
        return _SERVERS.get(file.parent.name, str(file))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Share tests among the workers of `make test`; marks of groups are lost on the way to them since pytest 9.2."""
    return _ByServer(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests beside which nothing else may run: `make test-plant` runs them in a turn of their own."""
    for item in items:
        if item.path.parent.name in _IN_REAL_TIME or item.path.name == _REAL_CAMERAS:
            item.add_marker("live")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what thousands of tests and their imports hold from the collector, which stops the process to walk it."""
    keep_for_good()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Let nothing stop the process under tests whose lines run in real time, and watch whether the machine does."""
    if item.path.parent.name not in _IN_REAL_TIME:
        return (yield)
    with no_full_collection(), only_where_the_machine_ran():
        return (yield)


@pytest.fixture(scope="session")
def _postgresql_server() -> Iterator[PostgresqlServer]:
    yield from postgresql_server()


@pytest.fixture
def postgresql(request: pytest.FixtureRequest) -> str:
    """The address of an empty PostgreSQL database; NEVERBLINK_POSTGRES names one that is used instead."""
    return _empty_postgresql(request)


@pytest.fixture(scope="module")
def postgresql_of_the_module(request: pytest.FixtureRequest) -> str:
    """As `postgresql`, for tests that share what is in it."""
    return _empty_postgresql(request)


def _empty_postgresql(request: pytest.FixtureRequest) -> str:
    named = os.environ.get("NEVERBLINK_POSTGRES")
    if named:
        return named
    server: PostgresqlServer = request.getfixturevalue("_postgresql_server")
    return server.new_database()


@pytest.fixture(autouse=True)
def _every_test_begins_with_the_same_log(request: pytest.FixtureRequest) -> None:
    # As in a service, where our log has a level of its own: libraries raise the root's, some for as long as they work.
    # pytest shares its handlers among tests, and whoever sets the level of all handlers sets theirs.
    plugin: Any = request.config.pluginmanager.get_plugin("logging-plugin")
    for handler in (plugin.caplog_handler, plugin.report_handler):
        handler.setLevel(logging.NOTSET)
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("neverblink").setLevel(logging.WARNING)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith("neverblink") and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            if name != "neverblink":
                logger.setLevel(logging.NOTSET)
    if "caplog" in request.fixturenames:
        request.getfixturevalue("caplog").set_level(logging.WARNING, "neverblink")


@pytest.fixture(autouse=True)
def _all_that_is_measured_is_registered() -> Iterator[None]:
    yield
    faults = take_faults()
    assert not faults, "\n".join(faults)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Have the networks compute by one thread, for a file whose tests must say the same on any machine."""
    import torch  # most tests need none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
