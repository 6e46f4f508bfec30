"""Parts and counts stay exact through kill -9, two writers at once and a PostgreSQL in trouble."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select
from ten_days import MONDAY, counted, shift_at, simulated_days, true_counts

from neverblink.ledger.recount import recount
from neverblink.records.database import Database
from neverblink.records.part_tables import PartRow
from neverblink.records.parts import PartRules
from rigs.postgresql import PostgresqlServer
from rigs.real_parts import postgresql_server

pytestmark = [pytest.mark.plant, pytest.mark.timeout(600)]

SEED, DAYS, PARTS_A_DAY = 11, 10, 40
KILLS = 20

# Reads ten days of events, shuffled across topics and a fifth of them twice, in batches of any size, and moves its
# offset behind each batch, as the ledger does: what a kill comes between is read again.
WRITER = """
import random, sys, time
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ten_days import MONDAY, shift_at, simulated_days
from neverblink.ledger.writing import keep
from neverblink.records.database import Database, LedgerError
from neverblink.records.parts import PartRules

url, state, order = sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
events = [event for part in simulated_days(*map(int, sys.argv[5:8])) for event in part.events]
chance = random.Random(order)
events += chance.choices(events, k=len(events) // 5)
chance.shuffle(events)
borders = [0]
while borders[-1] < len(events):
    borders.append(borders[-1] + chance.randint(1, 25))
batches = [events[a:b] for a, b in zip(borders, borders[1:])]
done = int(state.read_text()) if state.exists() else 0
database = None
while done < len(batches):
    try:
        database = database or Database(url, create=False)
        keep(database, batches[done], MONDAY, PartRules(shift_at))
    except LedgerError as error:
        print(error, flush=True)
        time.sleep(0.1)
        continue
    done += 1
    new = state.with_suffix(".new")
    new.write_text(str(done))
    new.rename(state)
Path(str(state) + ".total").write_text(str(len(batches)))
"""


class Writer:
    """The process that keeps events."""

    def __init__(self, url: str, folder: Path, order: int) -> None:
        self._words = [str(Path(__file__).parents[1] / "builders"), url, str(folder / f"offset-{order}"), str(order)]
        self._words += [str(SEED), str(DAYS), str(PARTS_A_DAY)]
        self._state = folder / f"offset-{order}"
        self._log = folder / f"said-{order}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-c", WRITER, *self._words], stdout=log, stderr=log)

    @property
    def done(self) -> int:
        """Return how many batches are kept."""
        return int(self._state.read_text()) if self._state.exists() else 0

    def reaches(self, batch: int) -> None:
        """Wait until so many batches are kept, or all."""
        assert self._process is not None
        give_up = time.monotonic() + 120
        while self.done < batch and self._process.poll() is None:
            assert time.monotonic() < give_up, self.said[-3000:]
            time.sleep(0.002)

    def kill(self) -> bool:
        """Kill it; return whether it was still at work."""
        assert self._process is not None
        self._process.kill()
        return self._process.wait(30) == -signal.SIGKILL

    def finish(self) -> None:
        """Wait until everything is kept."""
        assert self._process is not None
        assert self._process.wait(240) == 0, self.said[-3000:]

    @property
    def said(self) -> str:
        """Return what it printed: how often it tries, and so how much it says, depends on the machine."""
        return self._log.read_text()


def check(url: str) -> None:
    parts = simulated_days(SEED, DAYS, PARTS_A_DAY)
    database = Database(url, create=False)
    try:
        assert counted(database) == true_counts(parts)
        with database.session() as session:
            assert session.scalar(select(func.count()).select_from(PartRow)) == len(parts)
        found = recount(database, PartRules(shift_at), MONDAY, repair=False, tell=lambda _: None)
        assert found.is_exact, found.told
    finally:
        database.close()


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    """A server of this test's own, to be killed and frozen."""
    yield from postgresql_server()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_after_twenty_kills_in_the_middle_of_batches_the_counts_are_those_of_the_parts(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}" if kind == "sqlite" else request.getfixturevalue("postgresql")
    Database(url, create=True).close()
    writer, chance = Writer(url, tmp_path, 1), random.Random(1)
    kills = 0
    for _ in range(KILLS):
        writer.start()
        writer.reaches(writer.done + 8)
        time.sleep(chance.uniform(0, 0.03))
        kills += writer.kill()
    assert kills == KILLS
    writer.start()
    writer.finish()
    check(url)


def test_two_ledgers_that_keep_the_same_events_at_once_count_each_part_once(postgresql: str, tmp_path: Path) -> None:
    Database(postgresql, create=True).close()
    writers = [Writer(postgresql, tmp_path, order) for order in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for number in range(4):
        writers[number % 3].reaches(20 * (number + 1))
        writers[number % 3].kill()
        writers[number % 3].start()
    for writer in writers:
        writer.finish()
    check(postgresql)


def _set(server: PostgresqlServer, url: str, *statements: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.format(database=f'"{url.rsplit("/", 1)[1]}"').encode())
        # Settings of a database hold for new sessions.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (url.rsplit("/", 1)[1],),
        )


_FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON rollups EXECUTE FUNCTION full_disk();
"""


def test_a_postgresql_that_is_killed_frozen_read_only_or_full_loses_and_doubles_nothing(
    server: PostgresqlServer, tmp_path: Path
) -> None:
    url = server.new_database()
    Database(url, create=True).close()
    writer = Writer(url, tmp_path, 1)
    writer.start()

    def again(trouble: Callable[[], None], end: Callable[[], None]) -> None:
        writer.reaches(writer.done + 15)
        trouble()
        time.sleep(2)
        end()

    def killed() -> None:
        for pid in server._processes():
            os.kill(pid, signal.SIGKILL)
        assert server._process is not None
        server._process.wait(30)

    def full() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_FULL.encode())

    def free() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(b"DROP FUNCTION full_disk CASCADE")

    again(killed, server.start)
    again(server.freeze, server.thaw)
    again(
        lambda: _set(server, url, "ALTER DATABASE {database} SET default_transaction_read_only = on"),
        lambda: _set(server, url, "ALTER DATABASE {database} SET default_transaction_read_only = off"),
    )
    again(full, free)
    writer.finish()
    said = writer.said
    assert "read-only" in said
    assert "free some space on its disk" in said
    check(url)
