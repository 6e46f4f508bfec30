"""Drift with its state on disk: killed, stopped and begun again, it has counted each frame once."""

import asyncio
from pathlib import Path

import pytest
from drift_line import LINES, kept, kill, plant, running, verdict

from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import Decision
from neverblink.kafka import EventProducer, ensure_topics
from rigs.scored_line import sent

pytest.importorskip("faust", reason="Faust is not installed: pip install neverblink[drift]")


@pytest.mark.plant
async def test_state_on_disk_is_exact_after_kill_9_and_after_a_planned_stop(tmp_path: Path) -> None:
    async with DevelopmentBroker() as broker:
        description, file = plant(broker.bootstrap, tmp_path, lateness_s=90)
        kafka = description.kafka
        await ensure_topics(kafka)
        verdicts = [verdict(line, number) for number in range(1, 300) for line in LINES]
        again = verdicts[440:460]
        drift = ("drift", "--plant", str(file), "--data-dir", str(tmp_path / "state"))

        async def until_counted(newest: int) -> None:
            """Wait until what is kept has the newest second of every line."""
            async with asyncio.timeout(90):
                while True:
                    states = [state for state, _ in (await kept(kafka)).values()]
                    if len(states) == len(LINES) and all(
                        state.clock >= verdict(LINES[0], newest).times.captured.timestamp() for state in states
                    ):
                        return
                    await asyncio.sleep(0.2)

        async with EventProducer(kafka, source="/test", client_id="test") as producer:
            async with running(*drift) as killed:
                await sent(producer, *verdicts[:200])
                await until_counted(100)
                sending = asyncio.gather(*(producer.send(item) for item in verdicts[200:400]))
                await kill(killed)
                await sending
            async with running(*drift):
                await sent(producer, *verdicts[400:500])
                await until_counted(250)
            async with running(*drift):
                # Frames that had their verdict: a second one, which comes late.
                await sent(producer, *again, *verdicts[500:])
                await until_counted(299)
        found = {key.line: (state, watch.history.weeks) for key, (state, watch) in (await kept(kafka)).items()}
    for line in LINES:
        state, weeks = found[line]
        passed = sum(item.decision is Decision.PASS for item in verdicts if item.line == line)
        assert sum(span.passed for span in [*weeks, *state.windows]) == passed
