"""The Faust app: verdicts in, one table of station states, reports of closed windows with their alerts out."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import faust
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from faust.types import TP, EventT, FutureMessage
from mode.utils.queues import FlowControlEvent

from neverblink import telemetry
from neverblink.drift.alert_sink import AlertSink
from neverblink.drift.changelog import TABLE, Layout, app_id, is_table_key
from neverblink.drift.errors import DriftError
from neverblink.drift.history import Calendar
from neverblink.drift.instruments import Instruments, observe_states
from neverblink.drift.moments import unmeasurable
from neverblink.drift.stations import Stations
from neverblink.drift.statistics import Windowing, as_of_a_defect, event_time
from neverblink.events import TOPICS, DriftReport, EventError, Verdict
from neverblink.kafka import DeadLetters, EventProducer, KafkaError, Record
from neverblink.kafka.connection import connection_settings, explained, topics_of
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.record import record_headers, record_key, record_time
from neverblink.plant import DriftSettings, Kafka


@dataclass(frozen=True, slots=True)
class Store:
    """Faust's folder, and whether the table lies in it or in memory."""

    folder: Path
    on_disk: bool


class _FlowControl(FlowControlEvent):
    """Empties the streams' queues at a rebalance only.

    Faust also empties them when a recovery ends. By then they hold verdicts, which would be counted by nobody.
    """

    def clear(self) -> None:
        if not self.is_active():
            super().clear()


class _App(faust.App):
    @cached_property
    def flow_control(self) -> FlowControlEvent:
        return _FlowControl(loop=self.loop)


class _StationTable(faust.Table[bytes, bytes]):
    """A plain table that hands out the promise of its newest changelog record."""

    newest: FutureMessage | None = None

    def send_changelog(
        self,
        partition: int | None,
        key: Any,
        value: Any,
        key_serializer: Any = None,
        value_serializer: Any = None,
    ) -> FutureMessage:
        self.newest = super().send_changelog(partition, key, value, key_serializer, value_serializer)
        return self.newest

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Take what the changelog says, but for records under a key that nobody here writes: anybody may have."""
        super().apply_changelog_batch([event for event in batch if is_table_key(event.key)])


class DriftApp:
    """Counts verdicts into the table and reports windows as they close.

    A report is sent before the table is changed: a crash between the two sends it once more with the same
    id. A verdict is acknowledged once its change is in the table's changelog: Faust by itself commits the
    offset without waiting for that, and a killed worker's last verdicts would be counted by nobody. Faust's
    windowed tables are not used, because their windows are lost or kept for ever after a restart
    (faust-streaming issues 193 and 385).
    """

    def __init__(
        self,
        kafka: Kafka,
        settings: DriftSettings,
        layout: Layout,
        producer: EventProducer,
        dead_letters: DeadLetters,
        store: Store,
        alerts: AlertSink,
        measured: Instruments,
        *,
        known_good: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`known_good` says of a reference part's id that it is a good part, sent to see it pass."""
        self._kafka = kafka
        self._known_good = known_good
        self._producer = producer
        self._dead_letters = dead_letters
        self._alerts = alerts
        self._clock = clock
        self._log = telemetry.logger("drift")
        self._recurring = telemetry.Recurring(self._log)
        self._measured = measured
        # A window that the timer closed is gone from the states at once and from the table with its partition's next
        # verdict: Faust lets only an event write. After a crash in between it is reported again with the same id.
        self._heard: dict[bytes, float] = {}
        self._processed: dict[int, int] = {}
        self.fault: BaseException | None = None
        self.refused: DriftError | None = None
        """Why nothing may be counted: the state is another program's. Offsets stay, until that one runs again."""
        self._stale = True
        self._changing = asyncio.Lock()
        self._topic = TOPICS["verdicts"].full_name(kafka.topic_prefix)
        self.app = _faust_app(kafka, layout, store)
        self._table: Any = self.app.Table(TABLE, key_type=bytes, value_type=bytes, partitions=layout.partitions)
        self._stations = Stations(
            Windowing(settings.window_s, settings.allowed_lateness_s),
            Calendar(settings.shifts_begin_h, ZoneInfo(settings.time_zone)),
            self._table.get,
            limit_factor=settings.limit_factor,
        )
        observe_states(self._stations.states_now)
        verdicts = self.app.topic(
            self._topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        self.app.agent(verdicts, name="count-verdicts")(self._count_verdicts)
        self.app.on_partitions_revoked.connect(self._partitions_moved)
        self.app.on_partitions_assigned.connect(self._partitions_moved)

    @property
    def is_recovered(self) -> bool:
        """Say whether the table is whole and verdicts are being read."""
        return not self.app.rebalancing and bool(self.app.tables.recovery.completed.is_set())

    def in_words(self, fault: BaseException | None) -> str:
        """Return what Faust ended with as a sentence, where it is Kafka's."""
        if isinstance(fault, CLIENT_FAULTS):
            return str(
                explained(fault, self._kafka, f"read {self._topic} or write the state", right=self._rights(fault))
            )
        return repr(fault)

    def _rights(self, fault: BaseException) -> str:
        if isinstance(fault, GroupAuthorizationFailedError):
            return f"Read on group {app_id(self._kafka)}"
        named = topics_of(fault) if isinstance(fault, TopicAuthorizationFailedError) else ""
        return f"Read, Write and Create on topic {named}" if named else ""

    @property
    def unreachable_since(self) -> float | None:
        """Return the `time.time()` since which the brokers that verdicts are read from do not answer."""
        thread = getattr(self.app.consumer, "_thread", None)
        consumer = getattr(thread, "_consumer", None)
        since: float | None = None if consumer is None else consumer._client.unreachable_since
        return since

    async def close_quiet_windows(self) -> None:
        """Report windows of stations that have fallen silent. Call this every second or so."""
        if not self.is_recovered:
            return
        async with self._changing:
            self._load_if_stale()
            for raw, state in self._stations:
                if state.windows and await self._is_caught_up(state.marks):
                    await self._report(self._stations.close_quiet(raw, self._clock() - self._heard[raw]))

    async def _count_verdicts(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if self.refused is not None:
                continue
            async with self._changing:
                try:
                    change = await self._count(event)
                except DriftError as error:
                    self.refused = error
                    continue
            if change is None:
                event.ack()
            else:
                change.add_done_callback(partial(self._changed, event))

    def _changed(self, event: EventT[Any], change: FutureMessage) -> None:
        if change.cancelled():
            return
        self.fault = self.fault or change.exception()
        if self.fault is None:
            event.ack()

    async def _count(self, event: EventT[Any]) -> FutureMessage | None:
        """Count one record; returns the promise that the table's change is kept, None when nothing changed."""
        record = _record(event)
        change = None
        expected = self._processed.get(record.partition, record.offset - 1) + 1
        if record.offset > expected:
            self._measured.skipped.add(record.offset - expected)
            sentence = f"records {expected} to {record.offset - 1} of partition {record.partition} never arrived"
            self._recurring.tell("skipped", sentence, level=logging.ERROR)
        try:
            verdict, _ = record.read(Verdict)
            change = await self._take(verdict, record)
        except EventError as error:
            await self._set_aside(record, str(error))
        except DriftError:
            raise  # no fault of this verdict: the state cannot be used
        except Exception as error:  # noqa: BLE001 - the boundary: Faust would end the agent, and count nothing more
            self._recurring.tell(
                ("not counted", type(error)),
                f"a verdict of partition {record.partition} could not be counted",
                level=logging.ERROR,
                error=error,
            )
            await self._set_aside(record, f"it could not be counted: {error!r}")
        self._processed[record.partition] = record.offset
        return change

    async def _take(self, verdict: Verdict, record: Record) -> FutureMessage | None:
        """Count a verdict. Raises EventError for one whose numbers no instrument measures."""
        if why := unmeasurable(verdict):
            raise EventError(why)
        self._load_if_stale()
        self._forget_another_topic(record.partition)
        if verdict.challenge and verdict.reference is not None and self._known_good(verdict.reference):
            verdict = as_of_a_defect(verdict)
        taken = self._stations.take(verdict, (record.partition, record.offset), event_time(verdict, record.time))
        if taken.is_second:
            self._measured.duplicates.add(1, {"line": verdict.line})
        await self._report(taken.reports)
        for raw, value in taken.changes.items():
            if value is not None:
                self._table[raw] = value
            elif raw in self._table:
                del self._table[raw]
        if taken.is_new:
            self._heard[taken.state] = self._clock()
            self._measured.verdicts.add(1, {"line": verdict.line})
            self._measured.late.add(taken.late, {"line": verdict.line})
        change: FutureMessage | None = self._table.newest if taken.changes else None
        return change

    def _forget_another_topic(self, partition: int) -> None:
        """Take no mark for true that lies beyond the partition's end: it is of a topic that is no more."""
        if partition in self._processed:
            return
        end = self.app.consumer.highwater(TP(self._topic, partition))
        if end is not None and self._stations.forget_marks(partition, end):
            self._log.error(
                f"partition {partition} of {self._topic} ends at {end} and more of it has been counted: the topic was"
                " made anew. Its verdicts are counted from now on"
            )

    async def _report(self, reports: list[DriftReport]) -> None:
        for report in reports:
            try:
                await self._producer.send(report)
            except KafkaError as error:
                # Faust would take an exception here as done with the verdict, uncounted.
                sentence = f"a drift report of {report.line}/{report.station} is lost: {error}"
                self._recurring.tell("lost report", sentence, level=logging.ERROR)
            self._alerts.tell(report)

    async def _set_aside(self, record: Record, why: str) -> None:
        try:
            await self._dead_letters.send(record, why)
        except KafkaError as error:
            sentence = f"a record that is no verdict could not be set aside either: {error}"
            self._recurring.tell("not set aside", sentence, level=logging.ERROR)

    async def _is_caught_up(self, partitions: Iterable[int]) -> bool:
        """Say whether everything that the broker has of a state's partitions has been counted."""
        for partition in partitions:
            place = TP(self._topic, partition)
            if place not in self.app.consumer.assignment():
                return False
            end = self.app.consumer.highwater(place)
            done = self._processed.get(partition)
            reached = done + 1 if done is not None else await self.app.consumer.position(place)
            if end is None or reached is None or reached < end:
                return False
        return True

    def _load_if_stale(self) -> None:
        """Take the states of this worker's partitions from the recovered table."""
        if not self._stale:
            return
        owned = {place.partition for place in self.app.consumer.assignment() if place.topic == self._topic}
        for key, why in self._stations.load(list(self._table), owned):
            self._log.error(f"the state kept under {key!r} cannot be read and is begun anew: {why}")
        self._heard = {raw: self._clock() for raw, _ in self._stations}
        self._stale = False

    async def _partitions_moved(self, *_: object, **__: object) -> None:
        self._stale = True
        self._stations.clear()
        self._heard.clear()
        self._processed.clear()


def _faust_app(kafka: Kafka, layout: Layout, store: Store) -> Any:
    return _App(
        app_id(kafka),
        broker=[f"kafka://{address}" for address in kafka.bootstrap.split(",")],
        broker_credentials=_credentials(kafka),
        broker_client_id="neverblink-drift",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        # What is not committed at a crash is read again; the marks make that harmless, and this makes it short.
        broker_commit_interval=0.1,
        consumer_auto_offset_reset="earliest",
        processing_guarantee="at_least_once",
        store="rocksdb://" if store.on_disk else "memory://",
        datadir=str(store.folder),
        topic_partitions=layout.partitions,
        topic_replication_factor=layout.copies,
        topic_disable_leader=True,
        # A verdict may have 1 MiB: what is in hand at once must fit into memory.
        broker_max_poll_records=100,
        stream_buffer_maxsize=128,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        autodiscover=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
        Table=_StationTable,
    )


def _credentials(kafka: Kafka) -> Any:
    """Return the plant file's Kafka security as Faust wants it, None for PLAINTEXT."""
    settings = connection_settings(kafka, "neverblink-drift")
    context = settings.get("ssl_context")
    if kafka.security.protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings["sasl_plain_username"],
            password=settings["sasl_plain_password"],
            mechanism=settings["sasl_mechanism"],
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _record(event: EventT[Any]) -> Record:
    message = event.message
    return Record(
        topic="verdicts",
        partition=message.partition,
        offset=message.offset,
        # A producer's clock that runs ahead must not close windows of parts that are still to come.
        time=min(record_time((message.timestamp or 0) * 1000), datetime.now(UTC)),
        key=record_key(event.key),
        value=event.value or b"",
        headers=record_headers(message.headers),
    )
