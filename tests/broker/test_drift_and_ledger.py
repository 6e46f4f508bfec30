"""Drift and ledger on a broker: after kill -9 in mid-stream both know exactly what the topic holds."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from drift_line import LINES, WINDOW_S, kill, plant, running, verdict

from neverblink.brokers.broker import Broker
from neverblink.events import Decision, DriftReport
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.records.database import Database
from neverblink.records.questions import ledger_figures as queries
from rigs.scored_line import sent

pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")


@pytest.mark.plant
async def test_after_kill_9_reports_and_ledger_hold_exactly_what_the_topic_holds(
    broker: Broker, tmp_path: Path
) -> None:
    description, file = plant(broker.bootstrap, tmp_path, lateness_s=90)  # longer than a busy machine makes it silent
    kafka = description.kafka
    await ensure_topics(kafka)
    verdicts = [verdict(line, number) for number in range(1, 600) for line in LINES]
    # Later parts, scored and unscored, let the windows before them close.
    after_all = [verdict(line, number) for number in (737, 738) for line in LINES]
    places = Counter((item.line, int(item.times.captured.timestamp()) // WINDOW_S, item.decision) for item in verdicts)
    windows = {(line, window) for line, window, _ in places}

    reports: dict[tuple[str, int], dict[str, DriftReport]] = {}

    async def read_reports(consumer: EventConsumer, enough: int) -> None:
        async with asyncio.timeout(60):
            while sum(map(len, reports.values())) < enough:
                for record in await consumer.poll():
                    report = record.read(DriftReport)[0]
                    place = report.line, int(report.opened.timestamp()) // WINDOW_S
                    reports.setdefault(place, {})[report.artifact] = report

    drift, ledger = ("drift", "--plant", str(file)), ("ledger", "run", "--plant", str(file))
    async with (
        EventProducer(kafka, source="/test", client_id="test") as producer,
        EventConsumer(kafka, "drift", client_id="test-reader") as consumer,
    ):
        async with running(*drift) as counting, running(*ledger) as keeping:
            await sent(producer, *verdicts[:400])
            await read_reports(consumer, 2)
            sending = asyncio.gather(*(producer.send(item) for item in verdicts[400:800]))
            await kill(counting, keeping)
            await sending
        async with running(*drift), running(*ledger):
            await sent(producer, *verdicts[800:])
            # A scorer that was killed scores its last frames again: the ledger keeps the first of an id.
            await sent(producer, *after_all, *after_all)
            await read_reports(consumer, len(windows))
            database = Database(description.storage.ledger, create=True)
            async with asyncio.timeout(60):
                while (kept := _kept(database)) < len(verdicts) + len(after_all):  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(0.1)
    assert kept == len(verdicts) + len(after_all)
    told = {
        (line, window): tuple(
            sum(count(report) for report in reports[line, window].values())
            for count in (lambda r: r.passed, lambda r: r.rejected, lambda r: sum(r.unscored.values()))
        )
        for line, window in windows
    }
    assert told == {
        place: tuple(places[*place, decision] for decision in (Decision.PASS, Decision.REJECT, Decision.UNSCORED))
        for place in windows
    }
    database.close()


def _kept(database: Database) -> int:
    with database.session() as session:
        return queries.totals(session).verdicts
