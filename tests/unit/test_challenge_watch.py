"""The watch tells each alarm once: written first, then logged, posted and published; what Kafka lacks is sent later."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from camera_line import Wire

from neverblink.events import Challenge, Decision, Event, Times, Verdict
from neverblink.kafka import KafkaError
from neverblink.ledger.challenges.book import ChallengeBook
from neverblink.ledger.challenges.watch import ChallengeWatch
from neverblink.ledger.instruments import alarm_instruments
from neverblink.ledger.sql_thread import SqlThread
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, parse_plant
from neverblink.plant.references import ReferenceFile
from neverblink.records.database import Database

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Posted:
    """A webhook that takes everything."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def post(self, alert: dict[str, Any]) -> None:
        self.bodies.append(alert)


class AwayWire(Wire):
    """A producer whose broker is away."""

    async def send(self, event: Event, **_: Any) -> None:
        raise KafkaError("no broker answers")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def passed() -> Verdict:
    """Build the verdict that a defective reference part was late and unscored: an alarm without a model."""
    return Verdict(
        id="v-1", frame_id="f-1", line="line-1", station="top", product="pcb", part="line-1/1/1", seq=1,
        decision=Decision.UNSCORED, reason="late", times=Times(captured=NOON), deadline=at(2), challenge=True,
        reference="scratch-07",
    )  # fmt: skip


class Ledgers:
    """Ledgers that watch one database, begun and ended as a test wants."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.file = folder / "references.yaml"
        self.file.write_text("references:\n- {id: scratch-07, product: pcb, answer: scratch}\n")
        self.plant = parse_plant(EXAMPLE)
        self.now = at(60)
        self.threads: list[SqlThread] = []

    def begin(self, wire: Wire, **more: Any) -> ChallengeWatch:
        stop = asyncio.Event()
        self.threads.append(SqlThread(self.database, stop, name="sql", waits="it waits"))
        return ChallengeWatch(
            ChallengeBook(self.database, self.plant), self.threads[-1], ReferenceFile(self.file), cast(Any, wire),
            alarm_instruments(), stop, grace_s=0.0, clock=lambda: self.now, **more,
        )  # fmt: skip


@pytest.fixture
async def ledgers(tmp_path: Path) -> AsyncIterator[Ledgers]:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    found = Ledgers(database, tmp_path)
    yield found
    for thread in found.threads:
        thread.close()
    database.close()


async def test_an_alarm_is_logged_posted_and_published_once_whoever_looks_again(
    ledgers: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    keep(ledgers.database, [passed()], NOON)
    wire, webhook = Wire(), Posted()
    first, second = ledgers.begin(wire, webhook=webhook), ledgers.begin(wire, webhook=webhook)
    with caplog.at_level(logging.INFO):
        for watch in (first, second, first, ledgers.begin(wire, webhook=webhook)):
            await watch.look()
            ledgers.now += timedelta(seconds=60)
    (alarm,) = wire.sent
    assert [body["id"] for body in webhook.bodies] == [alarm.id]
    told = [record.message for record in caplog.records if record.message.startswith("alarm raised")]
    assert len(told) == 1
    assert "reference part scratch-07 was not scored on line-1" in told[0]
    assert "Next: mend what the reason names, then send scratch-07 again" in told[0]


async def test_what_kafka_does_not_take_is_sent_when_it_is_back_and_logged_no_second_time(
    ledgers: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    keep(ledgers.database, [passed()], NOON)
    watch = ledgers.begin(AwayWire())
    for _ in range(2):
        with pytest.raises(KafkaError):
            await watch.look()
    watch.producer = cast(Any, wire := Wire())
    await watch.look()
    await watch.look()
    assert len(wire.sent) == 1
    assert sum(record.message.startswith("alarm raised") for record in caplog.records) == 1


async def test_a_ledger_that_is_killed_before_it_could_tell_leaves_it_to_the_next(ledgers: Ledgers) -> None:
    keep(ledgers.database, [passed()], NOON)
    with pytest.raises(KafkaError):
        await ledgers.begin(AwayWire()).look()
    ledgers.now += timedelta(seconds=31)
    wire, webhook = Wire(), Posted()
    await ledgers.begin(wire, webhook=webhook).look()
    assert [event.id for event in wire.sent] == [body["id"] for body in webhook.bodies]
    assert len(wire.sent) == 1


async def test_nothing_is_missing_until_the_ledger_has_caught_up(ledgers: Ledgers) -> None:
    announced = Challenge(id="c-1", line="line-1", reference="scratch-07", by="mes", at=NOON, expires=at(5))
    keep(ledgers.database, [announced], NOON)
    wire, behind = Wire(), [True]
    watch = ledgers.begin(wire, behind=lambda: behind[0])
    await watch.look()
    assert wire.sent == []
    behind[0] = False
    await watch.look()
    assert [getattr(event, "kind", None) for event in wire.sent] == ["challenge-absent"]


async def test_a_database_that_is_gone_is_said_once_and_looked_at_again(
    ledgers: Ledgers, caplog: pytest.LogCaptureFixture
) -> None:
    watch = ledgers.begin(Wire())
    with ledgers.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE alarms RENAME TO gone")
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(20):
        while watch.fault is None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    watch.stop.set()
    async with asyncio.timeout(20):
        await running
    assert sum("alarms about reference parts wait for it" in record.message for record in caplog.records) == 1
