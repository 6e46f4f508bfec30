"""The bridge service: verdicts of its lines come from Kafka, words go to the PLCs, outcomes go back to Kafka.

It reads its lines' partitions by assignment, not by group: a bridge owns the lines it is told to own, and a
rebalance must never pause a gate. Nothing is replayed: it begins where a part triggered now would begin.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from neverblink import telemetry
from neverblink.bridge.instruments import Instruments, instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.outbox import Outbox
from neverblink.events import EventError, Verdict
from neverblink.kafka import DeadLetters, EventConsumer, EventProducer, KafkaError, Record, ensure_topics
from neverblink.plant import Line, Plant, PlantError
from neverblink.service_life import ready

KAFKA_RETRY_S = 0.5
POLL_S = 0.2

_log = telemetry.logger("bridge")


def lines_with_plc(plant: Plant, names: Sequence[str] | None) -> list[Line]:
    """Return the lines to serve. Raises PlantError for a line that is unknown or has no PLC."""
    lines = [plant.line(name) for name in names] if names else [line for line in plant.lines if line.plc]
    for line in lines:
        if line.plc is None:
            raise PlantError(f"line {line.name} has no plc section, so the bridge has nobody to tell")
    if not lines:
        raise PlantError("no line of this plant file has a plc section, so there is no PLC to tell")
    return lines


async def serve(plant: Plant, lines: Sequence[Line], stop: asyncio.Event) -> None:
    """Bridge the lines until `stop` is set. Raises KafkaError when Kafka cannot be reached at the start."""
    measured = instruments()
    await ensure_topics(plant.kafka)
    producer = EventProducer(plant.kafka, source=f"/{plant.site}/bridge", client_id="neverblink-bridge")
    verdicts = EventConsumer(
        plant.kafka,
        Verdict.TOPIC,
        client_id="neverblink-bridge",
        start="latest",
        keys=[line.name for line in lines],
    )
    async with producer, _outbox(producer, measured) as outbox, verdicts:
        sessions = {line.name: LineSession(line, outbox.put, measured) for line in lines}
        await _start_at_parts_in_flight(verdicts, lines)
        async with asyncio.TaskGroup() as tasks:
            for session in sessions.values():
                tasks.create_task(session.run(stop), name=f"line {session.line.name}")
            dead = DeadLetters(producer, "bridge")
            tasks.create_task(_read_verdicts(verdicts, sessions, dead, outbox, stop), name="verdicts")
            announcing = tasks.create_task(_announce(sessions))
            await stop.wait()
            announcing.cancel()


async def _start_at_parts_in_flight(verdicts: EventConsumer, lines: Sequence[Line]) -> None:
    """Begin one lead time ago: an older verdict is for a part that has passed the gate."""
    lead = max(line.timing.lead_s for line in lines)
    await verdicts.seek_to_time(datetime.now(UTC) - timedelta(seconds=lead))


async def _read_verdicts(
    verdicts: EventConsumer,
    sessions: Mapping[str, LineSession],
    dead: DeadLetters,
    outbox: Outbox,
    stop: asyncio.Event,
) -> None:
    while not stop.is_set():
        try:
            records = await verdicts.poll(timeout_s=POLL_S)
        except KafkaError as error:
            _log.warning(f"verdicts cannot be read now: {error}")
            await asyncio.sleep(KAFKA_RETRY_S)
            continue
        for record in records:
            _hand_over(record, sessions, dead, outbox)


def _hand_over(record: Record, sessions: Mapping[str, LineSession], dead: DeadLetters, outbox: Outbox) -> None:
    """Give a verdict to its line; lines share partitions, so another bridge's lines come by as well."""
    if record.key not in sessions:
        return
    try:
        verdict, envelope = record.read(Verdict)
    except EventError as error:
        # Through the outbox, not awaited: a poison record must not hold back the verdicts behind it.
        why = str(error)
        outbox.put_work(lambda: dead.send(record, why), record.key)
        return
    session = sessions.get(verdict.line)
    if session is not None:
        session.take(verdict, envelope.trace)


async def _announce(sessions: Mapping[str, LineSession]) -> None:
    for session in sessions.values():
        await session.ready.wait()
    ready("bridge", lines=list(sessions))


def _outbox(producer: EventProducer, measured: Instruments) -> Outbox:
    return Outbox(producer, lambda line: measured.dropped_events.add(1, {"line": line}))
