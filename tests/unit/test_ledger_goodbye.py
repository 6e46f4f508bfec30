"""A ledger that is told to stop while its database answers nothing, not even the connection that is being made."""

import asyncio
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from neverblink.events import encode
from neverblink.events.examples import examples
from neverblink.events.verdict import Verdict
from neverblink.kafka import Record
from neverblink.ledger import service
from neverblink.ledger.instruments import instruments
from neverblink.ledger.service import Ledger
from neverblink.records.database import LedgerError


class Silent:
    """A database that answers when the test says so."""

    name = "sqlite:///silent"
    silent_s = 0.0

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.broken_off = 0

    def writing(self) -> AbstractContextManager[Connection]:
        self.answers.wait(60)
        raise LedgerError("the test is over")

    def break_off(self) -> None:
        self.broken_off += 1


class Topic:
    """Gives one verdict, and then nothing; remembers what is committed."""

    def __init__(self) -> None:
        self.committed: list[Mapping[tuple[str, int], int]] = []
        self._given = False

    async def poll(self) -> list[Record]:
        if self._given:
            await asyncio.sleep(0.01)
            return []
        self._given = True
        message = encode(next(one for one in examples() if isinstance(one, Verdict)), source="/test")
        at = datetime.now(UTC)
        return [Record("verdicts", 0, 0, at, "line-1", message.value, tuple(message.headers))]

    async def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.committed.append(offsets)


async def test_a_ledger_that_is_told_to_stop_does_not_wait_for_a_database_that_never_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "_LAST_ANSWER_S", 0.2)
    database, topic, stop = Silent(), Topic(), asyncio.Event()
    ledger = Ledger(database, topic, None, instruments(), stop)  # type: ignore[arg-type]
    running = asyncio.create_task(ledger.run())
    try:
        await asyncio.sleep(0.1)
        stop.set()
        async with asyncio.timeout(30):
            await running
        assert topic.committed == [], "it is read again at the next start"
        assert database.broken_off
    finally:
        database.answers.set()
        ledger.close()
