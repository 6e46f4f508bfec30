"""What a service's work leads to, counted where it arrives: on a topic, in a database, at the collector."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from neverblink.events.envelope import E
from neverblink.kafka import EventConsumer, KafkaError
from neverblink.plant import Kafka

_ASK_EVERY_S = 0.3
_ROWS = "SELECT count(*) FROM verdicts"


class Effects:
    """Instants, by `time.monotonic()`, at which an effect was seen."""

    def __init__(self) -> None:
        self._at: list[float] = []

    @property
    def count(self) -> int:
        """Return how many there were."""
        return len(self._at)

    def seen(self, number: int = 1) -> None:
        """Note so many now."""
        self._at += [time.monotonic()] * number

    def between(self, begin: float, end: float) -> int:
        """Return how many came in that time."""
        return sum(begin <= at < end for at in self._at)

    def since(self, begin: float) -> int:
        """Return how many came from then on."""
        return sum(at >= begin for at in self._at)


async def on_topic(effects: Effects, kafka: Kafka, kind: type[E], counts: Callable[[E], bool] = lambda _: True) -> None:
    """Count the events of a topic that count, until cancelled."""
    async with EventConsumer(kafka, kind.TOPIC, client_id="faults-reader") as consumer:
        while True:
            with contextlib.suppress(KafkaError):
                effects.seen(sum(counts(record.read(kind)[0]) for record in await consumer.poll()))


async def in_counter(effects: Effects, count: Callable[[], int]) -> None:
    """Count what a counter counts, until cancelled. It may block, and answer less while it cannot be read."""
    known = 0
    while True:
        now = await asyncio.to_thread(count)
        if now > known:
            effects.seen(now - known)
            known = now
        await asyncio.sleep(_ASK_EVERY_S)


def rows_of_sqlite(file: Path) -> int:
    """Return how many verdicts a ledger has; 0 while it cannot be read."""
    address = f"file:{file}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=0.1)) as connection:
            return int(connection.execute(_ROWS).fetchone()[0])
    except sqlite3.Error:
        return 0


def rows_of_postgresql(url: str) -> int:
    """Return how many verdicts a ledger has; 0 while it cannot be read."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(url, connect_timeout=2) as connection:
        found = connection.execute(_ROWS).fetchone()
        return 0 if found is None else int(found[0])
    return 0
