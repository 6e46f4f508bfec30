"""Sends events so that an acknowledged one is not lost."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaConnectionError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    TopicAuthorizationFailedError,
    UnknownProducerId,
)

from neverblink import telemetry
from neverblink.events import TOPICS, Event, Message, encode
from neverblink.kafka.connection import (
    KafkaError,
    RecordTooLargeError,
    connection_settings,
    explained,
)
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.instruments import acknowledged, reconnects
from neverblink.kafka.spans import sending
from neverblink.kafka.trouble import Trouble, Watch
from neverblink.plant import Kafka
from neverblink.service_life import given_time
from neverblink.service_life.time_limit import time_limit

# After these the producer id is spent: aiokafka refuses every further send until a new producer is made
# (aiokafka issue 1017).
_SPENT = (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
)
_START_TIMEOUT_S = 10.0
GOODBYE_S = 3.0
"""For what is still to be sent at the end: with the cluster away the client would wait for ever."""

_reconnects = reconnects()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an acknowledged record lies."""

    partition: int
    offset: int


class EventProducer:
    """An idempotent producer with acks=all. `source` becomes `ce_source`, such as `/plant-1/scorer`.

    One client per compression: images and poison records travel as they are, the rest as gzip. A client whose producer
    id is spent is replaced, and what it could not send is sent again by the new one: consumers deduplicate by id.
    """

    def __init__(self, kafka: Kafka, *, source: str, client_id: str, writes: Sequence[str] = ()) -> None:
        """`writes` are the short names of topics that it surely writes: `start` connects all that they need, where
        the first event of another topic pays for the connection.
        """
        self._kafka = kafka
        self._writes = writes
        self._source = source
        self._client_id = client_id
        self._clients: dict[str | None, AIOKafkaProducer] = {}
        self._changing = asyncio.Lock()
        self._watch = Watch()
        self._unwritable: dict[str, Watch] = {}
        self._closed = False
        self._log = telemetry.logger("kafka")
        self._sent = acknowledged()

    async def start(self) -> None:
        """Connect. Raises KafkaError when no broker answers within ten seconds."""
        for name in self._writes:
            client = await self._client(TOPICS[name].compression)
            await client.client.add_topic(TOPICS[name].full_name(self._kafka.topic_prefix))
        await self._client("gzip")

    async def stop(self) -> None:
        """Send what is buffered and disconnect; what Kafka does not take within GOODBYE_S is left unsent."""
        self._closed = True
        clients, self._clients = list(self._clients.values()), {}
        if not clients:
            return
        ended = await given_time(
            *(client.stop() for client in clients), seconds=GOODBYE_S, name=f"the end of the producer {self._client_id}"
        )
        if len(ended) < len(clients):
            self._log.warning(
                f"the producer {self._client_id} leaves unsent what Kafka did not take within {GOODBYE_S:g} s"
            )
        for client in clients:
            if not client._sender.sender_task.done():
                client._sender.sender_task.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def send(self, event: Event, *, trace: Mapping[str, str] | None = None) -> Place:
        """Send an event and return once every in-sync replica has it.

        `trace` is the trace to continue, the current one by default. While the cluster is away this waits:
        a caller with a deadline wraps it in a timeout. Raises KafkaError for what waiting cannot mend.
        """
        name = TOPICS[event.TOPIC].full_name(self._kafka.topic_prefix)
        if telemetry.is_traced():
            context = telemetry.remote_context(trace) if trace else None
            with sending(context, name, self._client_id, message=event.id, key=event.key) as span:
                carried = telemetry.current_trace() or dict(trace or {})
                place = await self._deliver(encode(event, source=self._source, trace=carried), name)
                span.set_attribute("messaging.destination.partition.id", str(place.partition))
                span.set_attribute("messaging.kafka.offset", place.offset)
        else:
            carried = dict(trace) if trace else telemetry.current_trace()
            place = await self._deliver(encode(event, source=self._source, trace=carried), name)
        self._count(name)
        return place

    def post(self, event: Event, *, trace: Mapping[str, str] | None = None) -> "asyncio.Task[Place]":
        """Start sending an event; the task is done when it is acknowledged."""
        return asyncio.create_task(self.send(event, trace=trace))

    async def send_record(self, message: Message) -> Place:
        """Send a record as it is, such as one that was set aside, and return as `send` does. Raises KafkaError."""
        name = TOPICS[message.topic].full_name(self._kafka.topic_prefix)
        place = await self._deliver(message, name)
        self._count(name)
        return place

    def _count(self, destination: str) -> None:
        self._sent.add(1, {"messaging.system": "kafka", "messaging.operation.name": "send",
                           "messaging.operation.type": "send", "messaging.destination.name": destination})  # fmt: skip

    async def _deliver(self, message: Message, topic: str) -> Place:
        compression = TOPICS[message.topic].compression
        while True:
            client = await self._client(compression)
            try:
                pending = await client.send(topic, message.value, key=message.key, headers=message.headers)
                meta = await pending
            except _SPENT as error:
                if self._closed:
                    raise KafkaError(f"the producer {self._client_id} is stopped; nothing was sent") from error
                await self._replace(compression, client, error)
            except MessageSizeTooLargeError as error:
                raise RecordTooLargeError(
                    f"a record of {len(message.value)} bytes is larger than {topic} accepts"
                ) from error
            except CLIENT_FAULTS as error:
                if client._sender.sender_task.done() and not self._closed:
                    await self._replace(compression, client, error)
                    continue  # the library's own task has ended: that client sends nothing more
                raise self._failed(error, topic) from error
            else:
                self._unwritable.pop(topic, None)
                return Place(meta.partition, meta.offset)

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """Return what cannot be written now, and since when."""
        since = [at for one in self._clients.values() if (at := one.client.unreachable_since) is not None]
        self._watch.follow(
            min(since, default=None), lambda: str(explained(KafkaConnectionError(), self._kafka, "write events"))
        )
        return tuple(one.now for one in (self._watch, *self._unwritable.values()) if one.now is not None)

    def _failed(self, error: BaseException, topic: str) -> KafkaError:
        denied = isinstance(error, TopicAuthorizationFailedError)
        told = explained(
            error, self._kafka, f"write to {topic}", right=f"Write and Describe on topic {topic}" if denied else ""
        )
        self._unwritable.setdefault(topic, Watch()).failed(str(told))
        return told

    async def _client(self, compression: str | None) -> AIOKafkaProducer:
        async with self._changing:
            client = self._clients.get(compression)
            if client is None:
                client = await self._connect(compression)
                self._clients[compression] = client
            return client

    async def _replace(self, compression: str | None, spent: AIOKafkaProducer, error: Exception) -> None:
        async with self._changing:
            if self._clients.get(compression) != spent:
                return  # another send has replaced it already
            self._log.warning(
                "a Kafka producer is spent and is replaced by a new one",
                extra={"fields": {"client_id": self._client_id, "why": repr(error)}},
            )
            del self._clients[compression]
            _reconnects.add(1)
        # Outside the lock: stopping waits for batches that fail into the loop above.
        await spent.stop()

    async def _connect(self, compression: str | None) -> AIOKafkaProducer:
        largest = max(topic.max_message_bytes for topic in TOPICS.values() if topic.compression == compression)
        client = AIOKafkaProducer(
            **connection_settings(self._kafka, self._client_id),
            acks="all",
            enable_idempotence=True,
            compression_type=compression,
            max_request_size=largest,
            max_batch_size=256 * 1024,
            linger_ms=0,  # verdicts have deadlines; batches form by themselves while a request is in flight
            request_timeout_ms=10_000,
        )
        try:
            async with time_limit(_START_TIMEOUT_S):
                await client.start()
        except CLIENT_FAULTS as error:
            await client.stop()
            cluster = isinstance(error, ClusterAuthorizationFailedError)
            right = "Write on a topic, or IdempotentWrite on the cluster" if cluster else ""
            raise explained(error, self._kafka, "send events", right=right) from error
        return client
