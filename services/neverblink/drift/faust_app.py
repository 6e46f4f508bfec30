"""Faust as the drift service uses it: its settings, and what it does otherwise than by itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faust
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP, Message
from mode.utils.queues import FlowControlEvent

from neverblink.drift.changelog import Layout, app_id
from neverblink.drift.station_table import BATCH_BYTES, StationTable
from neverblink.kafka.connection import connection_settings
from neverblink.plant import Kafka


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


class _Consumer(Consumer):
    """Hands on at once what the agent has room for.

    By itself Faust makes two tasks for each record and waits for the first: together with the turns of the loop that
    they need it is the larger half of what a counted verdict costs.
    """

    async def _wait_next_records(self, timeout: float) -> tuple[Any, set[TP] | None]:
        """Return what was fetched and has to wait: to ask Faust's iterators for each of the others costs as much again
        as to hand it on.
        """
        records, active = await super()._wait_next_records(timeout)
        if not records or not active or not self.flow_active or self.should_stop:
            return records, active
        waiting = {}
        for place, fetched in records.items():
            if left := self._hand_on_all(place, fetched) if place in active else fetched:
                waiting[place] = left
        return waiting, active

    def _hand_on_all(self, place: TP, fetched: list[Any]) -> list[Any]:
        """Hand on a partition's records in their order, and return those from the first on that has to wait."""
        self.app.monitor.track_tp_end_offset(place, self.highwater(place))
        for number, record in enumerate(fetched):
            if not self._hand_on(place, self._to_message(place, record)):
                return fetched[number:]
        return []

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Yield the records that have to wait, or that are none of the topic `App.at_once`."""
        async for place, message in super().getmany(timeout):
            if not self._hand_on(place, message):
                yield place, message

    def _hand_on(self, place: TP, message: Message) -> bool:
        """Do what Faust's conductor does with a record where nothing has to wait; return False where something has."""
        app: Any = self.app
        channels = app.topics._tp_index.get(place, ())
        if place.topic != app.at_once or len(channels) != 1 or not app.flow_control.is_active():
            return False
        (channel,) = channels
        read = self._read_offset[place]
        if channel.queue.full() or (read is not None and message.offset != read + 1):
            return False
        message.incref(1)
        # Without the headers: the message has them, and the event would make a dict of them for each verdict.
        channel.queue.put_nowait(faust.Event(app, message.key, message.value, None, message))
        self._read_offset[place] = message.offset
        return True


class _App(faust.App):
    at_once: str = ""
    """The topic whose records the agent takes by itself."""

    def _new_consumer(self) -> Any:
        self.transport.Consumer = _Consumer  # type: ignore[misc]
        return super()._new_consumer()

    @cached_property
    def flow_control(self) -> FlowControlEvent:
        return _FlowControl(loop=self.loop)


def faust_app(kafka: Kafka, layout: Layout, store: Store, topic: str) -> Any:
    """Return the app, whose agent reads the verdicts' `topic`."""
    app = _App(
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
        Table=StationTable,
        producer_max_batch_size=BATCH_BYTES,
    )
    app.at_once = topic
    return app


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
