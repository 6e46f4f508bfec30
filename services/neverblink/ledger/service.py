"""The ledger's loop: poll, read, keep in SQL, then move the offsets."""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from neverblink import telemetry
from neverblink.events import Envelope, Event, EventError
from neverblink.kafka import (
    DeadLetters,
    EventConsumer,
    EventProducer,
    KafkaError,
    Partition,
    Record,
    ensure_topics,
)
from neverblink.kafka.lag import Lag, LagWatch
from neverblink.kafka.service_reports import ServiceReports
from neverblink.ledger import spans
from neverblink.ledger.challenges.watch import watching_challenges
from neverblink.ledger.evidence_service import keeping_evidence
from neverblink.ledger.instruments import Instruments, instruments
from neverblink.ledger.recount import build_some, without_part
from neverblink.ledger.writing import keep
from neverblink.plant import Plant
from neverblink.records.database import Database, LedgerError, UnkeepableError
from neverblink.records.engine import ANSWER_S
from neverblink.records.part_rules import rules_of
from neverblink.records.parts import PartRules
from neverblink.records.tables import KEPT
from neverblink.service_life import Duty, supervise, wait_or_stop
from neverblink.service_life.standing import Parts, Standing, in_words, keep_standing


class Traced(NamedTuple):
    """An event and the trace that told it."""

    event: Event
    trace: str | None


# W3C Trace Context: version, trace id, parent id, flags.
_TRACE = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-")

TOPICS_READ = tuple(kind.TOPIC for kind in KEPT)
_RETRY_S = 5.0
_LOOK_EVERY_S = 0.5
_LAST_ANSWER_S = 3.0
_MEASURE_EVERY_S = 1.0


class Ledger:
    """Keeps what arrives.

    Offsets are committed after the SQL transaction, so a crash between the two makes the same events
    arrive again; their ids are known by then, and the first one stands.
    """

    def __init__(
        self,
        database: Database,
        consumer: EventConsumer,
        dead_letters: DeadLetters,
        measured: Instruments,
        stop: asyncio.Event,
        rules: PartRules | None = None,
    ) -> None:
        self._rules = rules
        self._database = database
        self._consumer = consumer
        self._dead_letters = dead_letters
        self._stop = stop
        self._log = telemetry.logger("ledger")
        self._recurring = telemetry.Recurring(self._log)
        self._measured = measured
        self.fault: str | None = None
        """Why nothing can be written now."""
        self.partless: int | None = None
        """Events that have no part yet; None: not counted yet."""
        self.lag = Lag(0, 0.0)
        self._lag = LagWatch()
        # SQL blocks: it has one thread of its own, and one batch is in hand at any time.
        self._sql = ThreadPoolExecutor(1, thread_name_prefix="ledger-sql")

    async def run(self) -> None:
        """Keep events until `stop` is set."""
        while not self._stop.is_set():
            records = await self._consumer.poll()
            self._lag.read(records)
            if records and await self._keep(records):
                self._lag.taken(records)
                await self._commit(_next_offsets(records))

    async def build_parts(self) -> None:
        """Give the events of a ledger from before parts theirs, between batches, until all have one."""
        loop = asyncio.get_running_loop()
        while not self._stop.is_set():
            try:
                if self.partless is None:
                    counting = loop.run_in_executor(self._sql, without_part, self._database)
                    self.partless = await self._answered(counting)
                if not self.partless:
                    await self._stop.wait()
                    return
                work = partial(build_some, self._database, self._rules or PartRules(), datetime.now(UTC))
                done = await self._answered(loop.run_in_executor(self._sql, work))
                self.partless = max(1, self.partless - done) if done else 0
                if not self.partless:
                    self._log.info(f"every event of the ledger {self._database.name} belongs to its part now")
            except LedgerError as error:
                self._recurring.tell("parts", f"{error}; the parts of older events are made when it answers")
                await wait_or_stop(self._stop, _RETRY_S)

    async def measure(self) -> None:
        """Say how far behind it is, until `stop` is set."""
        while True:
            self.lag = self._lag.now(self._consumer.ends_known())
            self._measured.lag.set(self.lag.events)
            self._measured.lag_time.set(self.lag.seconds)
            if await wait_or_stop(self._stop, _MEASURE_EVERY_S):
                return

    def is_behind(self, seconds: float) -> bool:
        """Say whether something that happened so long ago may not be kept yet."""
        if self.fault is not None or self._consumer.trouble is not None or self.lag.seconds > seconds:
            return True
        return not self._consumer.ends_known()  # it has not read anything since its start

    def close(self) -> None:
        """End the SQL thread; a wait that is still under way there is broken off."""
        self._database.break_off()
        self._sql.shutdown(wait=False, cancel_futures=True)

    async def _commit(self, offsets: dict[Partition, int]) -> None:
        try:
            await self._consumer.commit(offsets)
        except KafkaError as error:
            # The next commit covers this one; what arrives again until then is known by its ids.
            self._recurring.tell("uncommitted", f"{error}; the next commit tries again")

    async def _keep(self, records: Sequence[Record]) -> bool:
        """Keep a batch; returns False when told to stop while the database is away."""
        began = time.time_ns()
        readable: list[tuple[Record, Traced]] = []
        for record in records:
            try:
                readable.append((record, _traced(*record.read(*KEPT))))
            except EventError as error:
                await self._set_aside(record, str(error))
        try:
            written = await self._write([event for _, event in readable])
        except UnkeepableError:
            return await self._keep_one_by_one(readable)
        if written:
            spans.kept([(record, one.event) for record, one in readable], began)
        return written

    async def _keep_one_by_one(self, readable: Sequence[tuple[Record, Traced]]) -> bool:
        """Find what the database refuses, and set only that aside."""
        for record, event in readable:
            began = time.time_ns()
            try:
                if not await self._write([event]):
                    return False
                spans.kept([(record, event.event)], began)
            except UnkeepableError as error:
                await self._set_aside(record, f"the ledger's database refuses it: {error}")
        return True

    async def _write(self, events: Sequence[Traced]) -> bool:
        """Write until the database takes it; while it is away the topics keep what arrives."""
        loop = asyncio.get_running_loop()
        batch = [one.event for one in events]
        traces = {one.event.id: one.trace for one in reversed(events) if one.trace is not None}
        while True:
            try:
                work = partial(keep, self._database, batch, datetime.now(UTC), self._rules, traces)
                new = await self._answered(loop.run_in_executor(self._sql, work))
            except LedgerError as error:
                if self.fault is None:
                    self._log.error(f"{error}; it is tried again every {_RETRY_S:.0f} s")
                self.fault = str(error)
                if await wait_or_stop(self._stop, _RETRY_S):
                    return False
            else:
                if self.fault is not None:
                    self._log.info(f"the ledger {self._database.name} is written again")
                self.fault = None
                self._measured.kept.add(new)
                return True

    async def _answered(self, work: "asyncio.Future[int]") -> int:
        """Wait for the SQL thread, and end its wait for a database that stands still. Raises as `keep`.

        Told to stop it waits for `_LAST_ANSWER_S` at most: a connection that is being made cannot be broken off.
        """
        clock = asyncio.get_running_loop().time
        give_up: float | None = None
        while True:
            done, _ = await asyncio.wait({work}, timeout=_LOOK_EVERY_S)
            if done:
                return work.result()
            if self._stop.is_set():
                give_up = clock() + _LAST_ANSWER_S if give_up is None else give_up
                if clock() >= give_up:
                    work.add_done_callback(lambda late: late.cancelled() or late.exception())
                    self._database.break_off()
                    raise LedgerError(
                        f"the ledger {self._database.name} did not answer before the end; what it was given is read"
                        " again at the next start"
                    )
            silent_s = self._database.silent_s
            if silent_s < ANSWER_S:
                continue
            sentence = f"the ledger {self._database.name} cannot be written: no answer for {silent_s:.0f} s"
            if self.fault is None:
                self._log.error(sentence)
            self.fault = sentence
            self._database.break_off()

    async def _set_aside(self, record: Record, why: str) -> None:
        if record.topic == "dead-letters":
            # Answering an unreadable dead letter with another one would never end.
            self._recurring.tell("dead letter", f"a dead letter cannot be read and is skipped: {why}")
            return
        try:
            await self._dead_letters.send(record, why)
        except KafkaError as error:
            self._recurring.tell(
                "not set aside",
                f"a record that cannot be kept could not be set aside either: {error}",
                level=logging.ERROR,
                fields={"topic": record.topic, "partition": record.partition, "offset": record.offset},
            )


async def serve(plant: Plant, stop: asyncio.Event) -> None:
    """Run the ledger until `stop` is set. Raises LedgerError or KafkaError when it cannot start."""
    tell = telemetry.logger("ledger").info
    database = await asyncio.to_thread(Database, plant.storage.ledger, create=True, tell=tell)
    try:
        await ensure_topics(plant.kafka, TOPICS_READ)
        producer = EventProducer(plant.kafka, source=f"/{plant.site}/ledger", client_id="neverblink-ledger")
        consumer = EventConsumer(
            plant.kafka, *TOPICS_READ, client_id="neverblink-ledger", group=f"{plant.kafka.topic_prefix}-ledger"
        )
        async with (
            producer,
            consumer,
            keeping_evidence(plant, stop) as evidence,
            watching_challenges(plant, producer, stop) as challenges,
        ):
            letters = DeadLetters(producer, "ledger")
            ledger = Ledger(database, consumer, letters, instruments(), stop, rules_of(plant))
            challenges.watch.behind = lambda: ledger.is_behind(plant.proof.challenges.grace_s)
            standing = Standing("ledger", database=database.name)

            def parts() -> Parts:
                return {
                    "database": ledger.fault,
                    "lag": ledger.lag.sentence("kept"),
                    "parts": _still_partless(ledger.partless),
                    "reading": in_words([consumer.trouble]),
                    "dead letters": in_words(producer.troubles),
                    **(evidence.parts() if evidence is not None else {}),
                    **challenges.parts(),
                }

            duties = [
                Duty("keeping events", ledger.run),
                Duty("parts of older events", ledger.build_parts),
                Duty("the lag", ledger.measure),
                Duty("the standing", partial(keep_standing, standing, parts, stop)),
                *(evidence.duties() if evidence is not None else ()),
                *challenges.duties(),
            ]
            try:
                async with ServiceReports(
                    plant, "ledger", amiss=lambda: standing.amiss, behind_s=lambda: ledger.lag.seconds
                ):
                    await supervise("ledger", duties, stop)
            finally:
                ledger.close()
    finally:
        database.close()


def _still_partless(count: int | None) -> str | None:
    return f"{count} older events have no part yet; they are being put together" if count else None


def _traced(event: Event, envelope: Envelope) -> Traced:
    found = _TRACE.match(envelope.trace.get("traceparent", ""))
    return Traced(event, found.group(1) if found else None)


def _next_offsets(records: Sequence[Record]) -> dict[Partition, int]:
    offsets: dict[Partition, int] = {}
    for record in records:
        offsets[record.place] = max(offsets.get(record.place, 0), record.offset + 1)
    return offsets
