"""Looks again and again at what became of reference parts, and tells people what they must know of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from neverblink import telemetry
from neverblink.alarms.webhook import Webhook, WebhookError
from neverblink.events import Alarm
from neverblink.events.alarm import CLEARED
from neverblink.kafka import EventProducer, KafkaError
from neverblink.ledger.challenges.book import ChallengeBook
from neverblink.ledger.challenges.findings import findings
from neverblink.ledger.instruments import AlarmInstruments, alarm_instruments
from neverblink.ledger.sql_thread import SqlThread
from neverblink.plant import Plant
from neverblink.plant.references import ReferenceFile
from neverblink.records.database import Database, LedgerError
from neverblink.service_life import Duty, time_limit, wait_or_stop
from neverblink.service_life.standing import Parts

LOOK_EVERY_S = 2.0
_SEND_S = 10.0
_OTHERS_S = 30.0
"""What another ledger has found and not sent within so long is sent from here: it may have been killed."""


@dataclass(slots=True)
class ChallengeWatch:
    """Raises and clears alarms about reference parts.

    What it finds is written first and then told, so that of two ledgers one tells it; what was written by one that
    was killed before it could tell, another tells.
    """

    book: ChallengeBook
    sql: SqlThread
    references: ReferenceFile
    producer: EventProducer
    measured: AlarmInstruments
    stop: asyncio.Event
    grace_s: float
    webhook: Webhook | None = None
    behind: Callable[[], bool] = lambda: False
    """Whether the records lack what has happened: then nobody knows what did not come."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    fault: str | None = None
    _own: set[str] = field(default_factory=set)
    _level_since: float | None = None
    _others_at: float = 0.0

    async def run(self) -> None:
        """Look until `stop` is set."""
        log = telemetry.logger("ledger")
        while True:
            try:
                await self.look()
                self.fault = None
            except (LedgerError, KafkaError) as error:
                if self.fault is None:
                    log.warning(f"{error}; alarms about reference parts wait for it")
                self.fault = str(error)
            if await wait_or_stop(self.stop, LOOK_EVERY_S):
                return

    async def look(self) -> None:
        """Look once. Raises LedgerError, KafkaError."""
        now = self.clock()
        references = await asyncio.to_thread(self.references.read)
        await self.sql.ask(partial(self.book.note_references, references, now))
        caught_up = self._is_caught_up()
        found = await self.sql.ask(partial(self.book.situation, references, now, caught_up=caught_up))
        for alarm in await self.sql.ask(partial(self.book.add, findings(found), now)):
            self._own.add(alarm.id)
            self._tell(alarm)
        await self._send()

    def _is_caught_up(self) -> bool:
        """Say whether the records have had all for as long as they may need: then what is not there did not come."""
        moment = asyncio.get_running_loop().time()
        if self.behind():
            self._level_since = None
            return False
        if self._level_since is None:
            self._level_since = moment
        return moment - self._level_since >= self.grace_s

    async def _send(self) -> None:
        """Put what is not on the topic there. Raises LedgerError, KafkaError."""
        moment = asyncio.get_running_loop().time()
        if not self._own and moment < self._others_at:
            return
        self._others_at = moment + _OTHERS_S
        before = self.clock() - timedelta(seconds=_OTHERS_S)
        for alarm in await self.sql.ask(partial(self.book.unsent, before, frozenset(self._own))):
            if alarm.id not in self._own:
                self._own.add(alarm.id)
                self._tell(alarm)
            try:
                async with time_limit(_SEND_S):
                    await self.producer.send(alarm)
            except TimeoutError as error:
                raise KafkaError(f"Kafka did not take an alarm within {_SEND_S:g} s") from error
            await self.sql.ask(partial(self.book.sent, alarm.id, self.clock()))
            self._own.discard(alarm.id)

    def _tell(self, alarm: Alarm) -> None:
        place = {"line": alarm.line, "kind": alarm.kind, "stage": alarm.stage, "severity": alarm.severity}
        self.measured.alarms.add(1, place)
        log = telemetry.logger("ledger")
        say = log.info if alarm.stage == CLEARED else log.error
        say(
            f"alarm {alarm.stage}: {alarm.what}. Likely {alarm.cause}. Next: {alarm.next_step}",
            extra={"fields": {**place, **alarm.subject, "alarm": alarm.alarm}},
        )
        if self.webhook is not None:
            self.webhook.post(alarm.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class WatchingChallenges:
    """The duty of a ledger that watches reference parts."""

    watch: ChallengeWatch

    def duties(self) -> list[Duty]:
        """Return what has to run."""
        return [Duty("watching reference parts", self.watch.run)]

    def parts(self) -> Parts:
        """Return what is amiss, in words."""
        faults = [fault for fault in (self.watch.fault, self.watch.references.fault) if fault is not None]
        return {"reference parts": "; ".join(faults) or None}


@contextlib.asynccontextmanager
async def watching_challenges(
    plant: Plant, producer: EventProducer, stop: asyncio.Event
) -> AsyncIterator[WatchingChallenges]:
    """Give what watches the plant's reference parts; the records' database is there.

    Raises LedgerError, also for a webhook that cannot be used.
    """
    settings = plant.proof.challenges
    measured = alarm_instruments()
    async with contextlib.AsyncExitStack() as stack:
        webhook: Webhook | None = None
        if plant.proof.alarms.webhook is not None:
            try:
                webhook = Webhook(
                    plant.proof.alarms.webhook,
                    "ledger",
                    "proof.alarms.webhook",
                    measured.webhook_sent,
                    measured.webhook_dropped,
                )
            except WebhookError as error:
                raise LedgerError(str(error)) from error
            await stack.enter_async_context(webhook)
        # A connection of its own: keeping records never waits for the watch.
        database = await asyncio.to_thread(Database, plant.storage.ledger, create=False)
        stack.callback(database.close)
        waits = "the ledger's database stands still; alarms about reference parts wait for it"
        sql = SqlThread(database, stop, name="challenge-sql", waits=waits)
        stack.callback(sql.close)
        file = ReferenceFile(settings.references)
        watch = ChallengeWatch(
            ChallengeBook(database, plant), sql, file, producer, measured, stop, settings.grace_s, webhook
        )
        with contextlib.suppress(LedgerError):  # the watch says so, and tries again
            # Before any verdict is kept: the queue of reviews asks which reference parts are good.
            await sql.ask(partial(watch.book.note_references, await asyncio.to_thread(file.read), watch.clock()))
        yield WatchingChallenges(watch)
