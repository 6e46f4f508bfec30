"""The Faust app: verdicts in, one table of station states, reports of closed windows with their alerts out."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from faust.exceptions import ConsumerNotStarted
from faust.types import TP, EventT

from neverblink import telemetry
from neverblink.drift import spans
from neverblink.drift.alert_sink import AlertSink
from neverblink.drift.batch import Batch
from neverblink.drift.changelog import TABLE, Layout, app_id
from neverblink.drift.errors import DriftError
from neverblink.drift.faust_app import Store, faust_app
from neverblink.drift.history import Calendar
from neverblink.drift.instruments import Instruments, observe_states
from neverblink.drift.moments import unmeasurable
from neverblink.drift.station_table import is_current
from neverblink.drift.stations import Stations
from neverblink.drift.statistics import Windowing, as_of_a_defect, event_time
from neverblink.events import TOPICS, DriftReport, EventError, Verdict
from neverblink.events.envelope import decode
from neverblink.kafka import DeadLetters, EventProducer, KafkaError, Record
from neverblink.kafka.connection import explained, topics_of
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.lag import lag_of
from neverblink.kafka.record import record_headers, record_key, record_time
from neverblink.kafka.spans import Reader
from neverblink.plant import DriftSettings, Kafka
from neverblink.service_life import time_limit, wait_or_stop

_LOOK_S = 0.1
_HAND_OVER_S = 3.0


class DriftApp:
    """Counts verdicts into the table and reports windows as they close.

    Verdicts are counted in batches. What a batch has closed is reported before the table is changed: a crash between
    the two reports it once more with the same ids. Then its states are written, once each, and then its verdicts are
    acknowledged: Faust by itself commits the offset without waiting for the changelog, and a killed worker's last
    verdicts would be counted by nobody. Faust's windowed tables are not used, because their windows are lost or kept
    for ever after a restart (faust-streaming issues 193 and 385).
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
        self._next: dict[int, tuple[int, float]] = {}
        """Of each partition the offset that is counted next, and the time of the record that was counted last."""
        self.fault: BaseException | None = None
        self.refused: DriftError | None = None
        """Why nothing may be counted: the state is another program's. Offsets stay, until that one runs again."""
        self._stale = True
        self._changing = asyncio.Lock()
        self._batch = Batch(clock())
        self._is_traced = telemetry.is_traced()
        self._reader = Reader.of(kafka.topic_prefix, ["verdicts"], "neverblink-drift", app_id(kafka))
        self._topic = TOPICS["verdicts"].full_name(kafka.topic_prefix)
        self.app = faust_app(kafka, layout, store, self._topic)
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

    def measure(self) -> None:
        """Say how far behind its partitions it is, by what the brokers last told of their ends."""
        ends: dict[int, int] = {}
        # Its thread may lose a partition between the two questions.
        with contextlib.suppress(AssertionError, ConsumerNotStarted):
            for place in self.app.consumer.assignment():
                if place.topic == self._topic and (end := self.app.consumer.highwater(place)) is not None:
                    ends[place.partition] = end
        lag = lag_of(self._next, ends, time.time())
        self._measured.lag.set(lag.events)
        self._measured.lag_time.set(lag.seconds)

    async def close_quiet_windows(self) -> None:
        """Report windows of stations that have fallen silent. Call this every second or so."""
        if not self.is_recovered:
            return
        async with self._changing:
            self._load_if_stale()
            if not await self._caught_up():
                return  # nothing is silent behind a backlog, and the batch may grow
            await self._keep()
            caught_up = await self._caught_up()  # that may have taken long
            for raw, state in self._stations:
                if not state.windows or not caught_up.issuperset(state.marks):
                    continue
                if reports := self._stations.close_quiet(raw, self._clock() - self._heard[raw]):
                    await self._report(reports)

    async def keep_in_time(self, stop: asyncio.Event) -> None:
        """Keep what was counted as soon as nothing more comes, or when it has waited for `LONGEST_S`."""
        while not await wait_or_stop(stop, _LOOK_S):
            if self._batch.is_due(self._clock()):
                await self.keep_now()

    async def keep_now(self) -> None:
        """Report and write what was counted, and acknowledge its verdicts."""
        async with self._changing:
            await self._keep()

    async def _count_verdicts(self, stream: Any) -> None:
        async for event in stream.noack().events():
            async with self._changing:
                self._is_traced = telemetry.is_traced()  # once for all that waits: asking costs a verdict 2 %
                await self._count(event)
                for more in self._waiting(stream.channel.queue):
                    await self._count(more)
                if self._batch.is_full:
                    await self._keep()

    def _waiting(self, queue: Any) -> Iterator[EventT[Any]]:
        """Yield the events that wait behind the one in hand: a turn of the loop for each would cost much."""
        while not queue.empty():
            event: EventT[Any] = queue.get_nowait()
            if not is_current(event) or not self.app.flow_control.is_active():
                continue  # as Faust's stream has it
            if not event.message.tracked:
                event.message.tracked = True
                self.app.consumer._unacked_messages.add(event.message)
            yield event

    async def _count(self, event: EventT[Any]) -> None:
        """Count one record; what it changes is kept with the batch. Counts nothing once the state cannot be used."""
        if self.refused is not None or self.fault is not None:
            return
        message = event.message
        partition, offset = message.partition, message.offset
        expected = self._processed.get(partition, offset - 1) + 1
        if offset > expected:
            self._measured.skipped.add(offset - expected)
            sentence = f"records {expected} to {offset - 1} of partition {partition} never arrived"
            self._recurring.tell("skipped", sentence, level=logging.ERROR)
        self._next.setdefault(partition, (offset, message.timestamp or 0.0))
        turns = False
        try:
            # No `Record` is made: it is needed for what is set aside, and for spans.
            verdict, envelope = decode(record_headers(message.headers), event.value, Verdict)
            if self._is_traced:
                spans.taken(_record(event), verdict, envelope.trace, self._reader)
            if why := unmeasurable(verdict):
                raise EventError(why)
            self._load_if_stale()
            if turns := self._stations.turns(verdict):
                await self._keep()
            self._take(verdict, event)
        except EventError as error:
            await self._set_aside(_record(event), str(error))
        except DriftError as error:
            self.refused = error  # no fault of this verdict: the state cannot be used
            return
        except Exception as error:  # noqa: BLE001 - the boundary: Faust would end the agent, and count nothing more
            self._recurring.tell(
                ("not counted", type(error)),
                f"a verdict of partition {partition} could not be counted",
                level=logging.ERROR,
                error=error,
            )
            await self._set_aside(_record(event), f"it could not be counted: {error!r}")
        self._processed[partition] = offset
        self._next[partition] = (offset + 1, message.timestamp or 0.0)
        self._batch.read(event, len(event.value or b""))
        if turns:
            await self._keep()

    def _take(self, verdict: Verdict, event: EventT[Any]) -> None:
        place = event.message.partition, event.message.offset
        self._forget_another_topic(place[0])
        if verdict.challenge and verdict.reference is not None and self._known_good(verdict.reference):
            verdict = as_of_a_defect(verdict)
        taken = self._stations.count(verdict, place, event_time(verdict, _written_s(event)))
        if taken.is_new:
            self._heard[taken.state] = self._clock()
        self._batch.took(verdict, taken)

    async def _keep(self) -> None:
        """Report what the batch has closed, write what it has changed, and acknowledge its verdicts, in this order."""
        if not self._batch.count or self.fault is not None:
            return
        batch, self._batch = self._batch, Batch(self._clock())
        await self._report(batch.reports)
        try:
            await asyncio.gather(*(self._keep_partition(events) for events in batch.events.values()))
        except Exception as error:  # noqa: BLE001 - the service ends with it, and its next start counts these again
            self.fault = error
            return
        for counter, counts in (
            (self._measured.verdicts, batch.verdicts),
            (self._measured.late, batch.late),
            (self._measured.duplicates, batch.duplicates),
        ):
            for line, count in counts.items():
                counter.add(count, {"line": line})

    async def _keep_partition(self, events: list[EventT[Any]]) -> None:
        newest = events[-1]
        if changes := self._stations.changes(newest.message.partition):
            await self._table.keep(changes, newest)
        if is_current(newest):
            for event in events:
                event.ack()

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
        """Send reports, those of a line one after the other, and tell their alerts."""
        by_line: dict[str, list[DriftReport]] = {}
        for report in reports:
            by_line.setdefault(report.line, []).append(report)
        await asyncio.gather(*map(self._send, by_line.values()))
        for report in reports:
            self._alerts.tell(report)

    async def _send(self, reports: list[DriftReport]) -> None:
        for report in reports:
            try:
                await self._producer.send(report)
            except KafkaError as error:
                # Faust would take an exception here as done with the verdict, uncounted.
                sentence = f"a drift report of {report.line}/{report.station} is lost: {error}"
                self._recurring.tell("lost report", sentence, level=logging.ERROR)

    async def _set_aside(self, record: Record, why: str) -> None:
        try:
            await self._dead_letters.send(record, why)
        except KafkaError as error:
            sentence = f"a record that is no verdict could not be set aside either: {error}"
            self._recurring.tell("not set aside", sentence, level=logging.ERROR)

    async def _caught_up(self) -> set[int]:
        """Return the partitions of which everything that the broker has has been counted."""
        found = set()
        for place in self.app.consumer.assignment():
            if place.topic == self._topic and await self._has_reached_the_end(place):
                found.add(place.partition)
        return found

    async def _has_reached_the_end(self, place: TP) -> bool:
        if place not in self.app.consumer.assignment():
            return False  # it was lost meanwhile
        end = self.app.consumer.highwater(place)
        done = self._processed.get(place.partition)
        reached = done + 1 if done is not None else await self.app.consumer.position(place)
        return end is not None and reached is not None and reached >= end

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
        # What was counted is kept while the partitions are ours; what is not is counted by whoever has them next.
        with contextlib.suppress(TimeoutError):
            async with time_limit(_HAND_OVER_S):
                await self.keep_now()
        self._batch = Batch(self._clock())
        self._stale = True
        self._stations.clear()
        self._heard.clear()
        self._processed.clear()
        self._next.clear()


def _record(event: EventT[Any]) -> Record:
    message = event.message
    return Record(
        topic="verdicts",
        partition=message.partition,
        offset=message.offset,
        time=record_time(1000 * _written_s(event)),
        key=record_key(event.key),
        value=event.value or b"",
        headers=record_headers(message.headers),
    )


def _written_s(event: EventT[Any]) -> float:
    # A producer's clock that runs ahead must not close windows of parts that are still to come.
    return min(event.message.timestamp or 0.0, time.time())
