"""Drift on Apache Kafka: counts, sketches and alerts are exact whatever workers come, go or are killed."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from drift_line import kept, kill, plant, running, verdict

from neverblink.brokers.apache import LocalKafka
from neverblink.events import AlertStage, Decision, DriftReport, Verdict
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from rigs.scored_line import sent

pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")

LINES = ("line-1", "line-2", "line-3", "line-4")
PARTS = 600
MISSED_AT, CAUGHT_AT = 130, (250, 310, 370)
LATENESS_S = 120
"""Longer than this test may be silent on a busy machine: event time runs on with the clock on the wall."""


def stream() -> list[Verdict]:
    """Ten windows of each line; a known defect passes once, and then three are caught."""
    found = []
    for number in range(1, PARTS):  # number 0 is unscored, and would belong to no artifact
        for line in LINES:
            found.append(verdict(line, number))
            if number == MISSED_AT:
                found.append(verdict(line, number, challenge=Decision.PASS))
            if number in CAUGHT_AT:
                found.append(verdict(line, number, challenge=Decision.REJECT))
    return found


@pytest.mark.plant
async def test_two_workers_one_killed_and_two_again_count_every_part_once_and_raise_no_alert_twice(
    apache: LocalKafka, tmp_path: Path
) -> None:
    description, file = plant(apache.bootstrap, tmp_path, LINES, lateness_s=LATENESS_S)
    kafka = description.kafka
    await ensure_topics(kafka)
    verdicts = stream()
    third = len(verdicts) // 3
    # A later part closes the windows before it.
    after_all = [verdict(line, PARTS + LATENESS_S + 37) for line in LINES]
    reports: dict[str, DriftReport] = {}
    told: list[DriftReport] = []

    async def read_reports(consumer: EventConsumer, enough: int) -> None:
        async with asyncio.timeout(120):
            while len(reports) < enough:
                for record in await consumer.poll():
                    report = record.read(DriftReport)[0]
                    reports.setdefault(report.id, report)
                    told.append(report)

    drift = ("drift", "--plant", str(file))
    async with (
        EventProducer(kafka, source="/test", client_id="test") as producer,
        EventConsumer(kafka, "drift", client_id="test-reader") as consumer,
        running(*drift) as first,
    ):
        async with running(*drift) as second:
            await sent(producer, *verdicts[:third])
            await read_reports(consumer, 1 * len(LINES))
            sending = asyncio.gather(*(producer.send(item) for item in verdicts[third : third + 400]))
            await kill(second)
            await sending
        async with running(*drift):
            await sent(producer, *verdicts[third + 400 : 2 * third])
            await read_reports(consumer, 4 * len(LINES))
        await sent(producer, *verdicts[2 * third :], *after_all)
        await read_reports(consumer, 10 * len(LINES))
        assert first.returncode is None

    counted = verdicts + after_all
    passed = Counter(v.line for v in counted if v.decision is Decision.PASS and not v.challenge)
    decided = {key.line: (state, watch.history.weeks) for key, (state, watch) in (await kept(kafka)).items()}
    for line in LINES:
        state, weeks = decided[line]
        spans = [*weeks, *state.windows]
        assert sum(span.passed for span in spans) == passed[line]
        assert sum(span.sketch.count for span in spans) == passed[line]
        assert sum(span.challenges.count for span in spans) == 1 + len(CAUGHT_AT)
    assert Counter(r.line for r in reports.values()) == dict.fromkeys(LINES, PARTS // 60)
    assert {line: sum(r.passed for r in reports.values() if r.line == line) for line in LINES} == {
        line: passed[line] - sum(v.decision is Decision.PASS for v in after_all if v.line == line) for line in LINES
    }
    # Whoever reads the topic sees a report that was sent again under the same id, and in it the same alerts.
    alerts = {(r.line, alert.id, alert.stage) for r in told for alert in r.alerts}
    assert Counter((line, stage) for line, _, stage in alerts) == {
        (line, stage): 1 for line in LINES for stage in (AlertStage.RAISED, AlertStage.CLEARED)
    }
