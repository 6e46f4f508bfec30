"""A database that stands still is told within ten seconds, holds up no end of the ledger, and loses nothing."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from drift_line import plant, verdict

from neverblink.brokers.development import DevelopmentBroker
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.records.database import Database
from neverblink.records.questions import ledger_figures as queries
from rigs.postgresql import PostgresqlServer
from rigs.real_parts import postgresql_server

pytestmark = pytest.mark.plant


@pytest.fixture
def server() -> Iterator[PostgresqlServer]:
    """A server of this test's own, to be frozen."""
    yield from postgresql_server()


def kept(url: str) -> int:
    database = Database(url, create=True)
    try:
        with database.session() as session:
            return queries.totals(session).verdicts
    finally:
        database.close()


class Ledger:
    """The ledger as a process whose log is read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.said: list[tuple[float, str]] = []

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "neverblink", "ledger", "run", "--plant", str(self._file)),
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"NEVERBLINK_LOG_FORMAT": "json"},
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append((time.monotonic(), json.loads(line)["message"]))

    async def says(self, words: str, since: float, within_s: float) -> float:
        """Return how many seconds after `since` it said so."""
        async with asyncio.timeout(within_s):
            while True:
                for at, message in self.said:
                    if at >= since and words in message:
                        return at - since
                await asyncio.sleep(0.05)

    async def stop(self) -> tuple[float, int]:
        """Ask it to end; return how long that took, and its exit code."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(40):
            code = await self.process.wait()
        await self._reading
        return time.monotonic() - began, code


async def test_a_database_that_stands_still_is_told_in_ten_seconds_and_heals_and_loses_nothing(
    server: PostgresqlServer, tmp_path: Path
) -> None:
    async with DevelopmentBroker() as broker:
        description, file = plant(broker.bootstrap, tmp_path)
        url = server.new_database()
        values = yaml.safe_load(file.read_text())
        values["storage"]["ledger"] = url
        file.write_text(yaml.safe_dump(values))
        await ensure_topics(description.kafka)
        ledger = Ledger(file)
        await ledger.start()
        async with EventProducer(description.kafka, source="/test", client_id="test") as producer:
            await ledger.says("ledger is ready", 0.0, 60)
            await producer.send(verdict("line-1", 1))
            async with asyncio.timeout(30):
                while await asyncio.to_thread(kept, url) < 1:  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(0.1)
            server.freeze()
            frozen = time.monotonic()
            await producer.send(verdict("line-1", 2))
            assert await ledger.says("cannot be written: no answer", frozen, 30) < 10.5
            assert await ledger.says("does a part of its work only. database", frozen, 30) < 12
            server.thaw()
            thawed = time.monotonic()
            await ledger.says("is written again", thawed, 30)
            assert await asyncio.to_thread(kept, url) == 2

            server.freeze()
            await producer.send(verdict("line-1", 3))
            await ledger.says("cannot be written: no answer", time.monotonic(), 30)
            took, code = await ledger.stop()
            assert took < 15
            assert code == 0
            server.thaw()
            again = Ledger(file)
            await again.start()
            async with asyncio.timeout(60):
                while await asyncio.to_thread(kept, url) < 3:  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(0.2)
            await again.stop()
    secret = url.split(":")[2].split("@")[0]
    assert not any(secret in message for _, message in ledger.said)
