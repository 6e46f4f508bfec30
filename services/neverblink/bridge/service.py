"""The bridge service: verdicts of its lines come from Kafka, words go to the PLCs, outcomes go back to Kafka.

It reads its lines' partitions by assignment, not by group: a bridge owns the lines it is told to own, and a
rebalance must never pause a gate. No word is replayed: what was due before it began is reported, not written.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from neverblink import telemetry
from neverblink.bridge import spans
from neverblink.bridge.instruments import Instruments, instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.outbox import Outbox
from neverblink.bridge.readiness import LineStanding, Readiness
from neverblink.bridge.succession import Inheritance, inheritance
from neverblink.events import Actuation, DeadLetter, EventError, Hold, Verdict
from neverblink.kafka import DeadLetters, EventConsumer, EventProducer, KafkaError, Record, ensure_topics
from neverblink.kafka.followed_topic import FollowedTopic
from neverblink.kafka.service_reports import ServiceReports
from neverblink.plant import Line, Plant, PlantError
from neverblink.service_life import Duty, keeping, ready, supervise, unready, wait_or_stop
from neverblink.service_life.health import STATE
from neverblink.service_life.standing import in_words

KAFKA_RETRY_S = 0.5
POLL_S = 0.2
STANDING_EVERY_S = 0.1
HOLDS_WITHIN_S = 5.0  # verdicts come from the same Kafka: where it is away there is nothing to pass either

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


async def serve(plant: Plant, lines: Sequence[Line], stop: asyncio.Event, left_out: Sequence[str] = ()) -> None:
    """Bridge the lines until `stop` is set. Raises KafkaError when Kafka cannot be reached at the start.

    `left_out` are the faults of lines that the plant file has wrong: the bridge is not ready without them.
    """
    measured = instruments()
    # Its own alone: a bridge whose rights are narrow must not need those to topics that came later.
    await ensure_topics(plant.kafka, (Verdict.TOPIC, Actuation.TOPIC, DeadLetter.TOPIC))
    producer = EventProducer(plant.kafka, source=f"/{plant.site}/bridge", client_id="neverblink-bridge")
    verdicts = EventConsumer(
        plant.kafka,
        Verdict.TOPIC,
        client_id="neverblink-bridge",
        start="latest",
        keys=[line.name for line in lines],
    )
    async with producer, _outbox(producer, measured) as outbox, verdicts:
        sessions = {
            line.name: LineSession(line, outbox.put, measured, tell_hold=lambda hold: outbox.put(hold, {}))
            for line in lines
        }
        holds = _following_holds(plant, sessions)
        shares = await inheritance(plant.kafka, lines, datetime.now(UTC))
        for name, share in shares.items():
            sessions[name].succeed(share.told)
        await verdicts.seek_to_time(min(share.since for share in shares.values()))
        desk = _Desk(sessions, shares, DeadLetters(producer, "bridge"), outbox)

        readiness = Readiness(left_out)

        def kafka_trouble() -> str | None:
            return in_words([verdicts.trouble, *producer.troubles])

        duties = [
            *(Duty(f"line {name}", partial(_serve_line, session, holds, stop)) for name, session in sessions.items()),
            Duty("reading verdicts", partial(_read_verdicts, verdicts, desk, stop)),
            Duty("the standing", partial(_tell_standing, sessions, readiness, measured, kafka_trouble, stop)),
        ]
        names = [line.name for line in lines]
        reports = ServiceReports(
            plant, "bridge", instance=",".join(names), lines=names, amiss=lambda: readiness.missing
        )
        async with reports, keeping("bridge", Duty("holds", holds.follow)):
            await supervise("bridge", duties, stop)


def _following_holds(plant: Plant, sessions: Mapping[str, LineSession]) -> FollowedTopic[Hold]:
    def take(events: Iterable[tuple[str, Hold | None]]) -> None:
        for _, hold in events:
            if hold is not None and hold.line in sessions:
                sessions[hold.line].hear(hold)

    return FollowedTopic(
        plant.kafka, Hold, "word of lines on hold", take, client_id="neverblink-bridge-holds", service="bridge"
    )


async def _serve_line(session: LineSession, holds: FollowedTopic[Hold], stop: asyncio.Event) -> None:
    """Serve a line once it is known whether people have put it on hold: a bridge that restarts must not release it."""
    await holds.known(HOLDS_WITHIN_S)
    await session.run(stop)


@dataclass(frozen=True, slots=True)
class _Desk:
    """Hands each record to the line that it is for."""

    sessions: Mapping[str, LineSession]
    shares: Mapping[str, Inheritance]
    dead: DeadLetters
    outbox: Outbox

    def hand_over(self, record: Record) -> None:
        """Give a verdict to its line; lines share partitions, so another bridge's lines come by as well."""
        share = self.shares.get(record.key)
        # Whose an unreadable stretch was cannot be known: it may have been a line's of ours.
        if not record.is_unreadable and (share is None or record.time < share.since):
            return
        try:
            verdict, envelope = record.read(Verdict)
        except EventError as error:
            # Through the outbox, not awaited: a poison record must not hold back the verdicts behind it.
            why = str(error)
            self.outbox.put_work(lambda: self.dead.send(record, why), record.key)
            return
        session = self.sessions.get(verdict.line)
        if session is not None:
            with spans.processing(record, verdict, envelope.trace) as trace:
                session.take(verdict, trace)


async def _read_verdicts(verdicts: EventConsumer, desk: _Desk, stop: asyncio.Event) -> None:
    recurring = telemetry.Recurring(_log)
    while not stop.is_set():
        try:
            records = await verdicts.poll(timeout_s=POLL_S)
        except KafkaError as error:
            recurring.tell("unread", f"verdicts cannot be read now: {error}")
            await asyncio.sleep(KAFKA_RETRY_S)
            continue
        for record in records:
            desk.hand_over(record)


async def _tell_standing(
    sessions: Mapping[str, LineSession],
    readiness: Readiness,
    measured: Instruments,
    kafka_trouble: Callable[[], str | None],
    stop: asyncio.Event,
) -> None:
    """Say when all lines are served and told of verdicts, and name those that are not for as long as that is so."""
    while not await wait_or_stop(stop, STANDING_EVERY_S):
        lines = {name: LineStanding(session.state, session.sentence) for name, session in sessions.items()}
        for state, number in readiness.count(lines).items():
            measured.lines.set(number, {"state": state})
        trouble = kafka_trouble()
        STATE.take_parts(readiness.parts(lines, trouble))
        standing = readiness.update(lines, time.monotonic(), trouble)
        if standing is None:
            continue
        if standing.missing:
            unready("bridge", standing.sentence, lines=standing.served, missing=standing.missing)
        else:
            ready("bridge", lines=standing.served)


def _outbox(producer: EventProducer, measured: Instruments) -> Outbox:
    return Outbox(producer, lambda line: measured.dropped_events.add(1, {"line": line}))
