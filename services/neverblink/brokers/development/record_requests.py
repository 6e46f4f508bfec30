"""Requests about records: appended, read, looked up by time, deleted."""

import asyncio
from collections.abc import Callable
from itertools import count

from neverblink import telemetry
from neverblink.brokers.development.answers import NO_OFFSET, OK, Answer, no_transactions
from neverblink.brokers.development.faults import Faults
from neverblink.brokers.development.log import OffsetOutOfRange, PartitionLog
from neverblink.brokers.development.protocol import Call, ErrorCode
from neverblink.brokers.development.record_batch import BatchRefused, read_header
from neverblink.brokers.development.topics import Topics
from neverblink.service_life.time_limit import time_limit

_LATEST = -1
_EARLIEST = -2
_READ_COMMITTED = 1
_FIRST_VERSION_WITH_FORMAT_2 = 3


class RecordRequests:
    """Answers what producers and consumers ask of partitions."""

    def __init__(self, topics: Topics, faults: Faults, clock: Callable[[], float], *, fetch_bytes: int) -> None:
        self._topics = topics
        self._faults = faults
        self._clock = clock
        self._fetch_bytes = fetch_bytes
        self._producer_ids = count(1)
        self._log = telemetry.logger("broker")

    async def produce(self, call: Call, refusal: ErrorCode) -> Answer | None:
        """Append batches; None for a producer that wants no answer."""
        acks = call.body["required_acks"]
        if not refusal and acks not in {-1, 0, 1}:
            refusal = ErrorCode.INVALID_REQUIRED_ACKS
        if not refusal and call.body.get("transactional_id"):
            refusal = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        if not refusal and call.version < _FIRST_VERSION_WITH_FORMAT_2:
            refusal = ErrorCode.UNSUPPORTED_VERSION
        answers = [
            {
                "topic": topic["topic"],
                "partitions": [
                    self._append(topic["topic"], one["partition"], one["messages"], refusal)
                    for one in topic["partitions"]
                ],
            }
            for topic in call.body["topics"]
        ]
        return None if acks == 0 else {**OK, "topics": answers}

    def _append(self, name: str, partition: int, batch: bytes | None, refusal: ErrorCode) -> Answer:
        topic = self._topics.get(name)
        log = self._topics.partition(name, partition)
        code = refusal or self._faults.on_partition(name, partition)
        base = NO_OFFSET
        if not code and (topic is None or log is None):
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if not code and topic is not None and log is not None:
            try:
                header = read_header(batch or b"", topic.settings.max_message_bytes)
                before = log.next_offset
                base = log.append(batch or b"", header, self._clock())
            except BatchRefused as refused:
                code = refused.code
                self._log.warning(f"records for {name}/{partition} are refused: {refused}")
            else:
                if log.next_offset != before:
                    self._topics.grown(topic, log, len(batch or b""))
        return {
            "partition": partition,
            "error_code": code,
            "offset": base,
            "timestamp": -1,
            "log_start_offset": log.start_offset if log is not None else NO_OFFSET,
        }

    async def fetch(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return records, once there are enough of them or the client has waited long enough."""
        body = call.body
        wanted = [
            (topic["topic"], one["partition"], one.get("fetch_offset", one.get("offset")), one["max_bytes"])
            for topic in body["topics"]
            for one in topic["partitions"]
        ]
        if wanted and not refusal:
            await self._wait_for_records(wanted, body["min_bytes"], body["max_wait_time"] / 1000)
        room = min(body["max_bytes"], self._fetch_bytes)
        aborted: list[Answer] | None = [] if body["isolation_level"] == _READ_COMMITTED else None
        topics: dict[str, list[Answer]] = {}
        nothing_yet = True
        for name, partition, offset, max_bytes in wanted:
            log = self._topics.partition(name, partition)
            code = refusal or self._readable(name, partition)
            data = b""
            if not code and log is not None:
                try:
                    data = log.read(offset, min(max_bytes, room), at_least_one=nothing_yet)
                except OffsetOutOfRange:
                    code = ErrorCode.OFFSET_OUT_OF_RANGE
            nothing_yet = nothing_yet and not data
            room = max(0, room - len(data))
            end = log.next_offset if log is not None else NO_OFFSET
            topics.setdefault(name, []).append(
                {
                    "partition": partition,
                    "error_code": code,
                    "highwater_offset": end,
                    "last_stable_offset": end,
                    "log_start_offset": log.start_offset if log is not None else NO_OFFSET,
                    "aborted_transactions": aborted,
                    "preferred_read_replica": -1,
                    "message_set": data,
                }
            )
        # Session 0: every fetch names all its partitions, the client keeps no session with us.
        return {
            **OK,
            "session_id": 0,
            # aiokafka calls the topic's name `topics` in some versions of the response and `topic` in others.
            "topics": [{"topic": name, "topics": name, "partitions": answers} for name, answers in topics.items()],
        }

    async def _wait_for_records(
        self, wanted: list[tuple[str, int, int, int]], min_bytes: int, max_wait_s: float
    ) -> None:
        """Wait until `min_bytes` are there, an error is to be told, or `max_wait_s` is over."""
        if self._enough(wanted, min_bytes):
            return
        news = asyncio.Event()
        logs = [self._topics.partition(name, partition) for name, partition, _, _ in wanted]
        watched = [log for log in logs if log is not None]
        for log in watched:
            log.watchers.add(news.set)
        try:
            async with time_limit(max_wait_s):
                while not self._enough(wanted, min_bytes):
                    await news.wait()
                    news.clear()
        except TimeoutError:
            pass
        finally:
            for log in watched:
                log.watchers.discard(news.set)

    def _enough(self, wanted: list[tuple[str, int, int, int]], min_bytes: int) -> bool:
        ready = 0
        for name, partition, offset, max_bytes in wanted:
            log = self._topics.partition(name, partition)
            if log is None or self._faults.on_partition(name, partition):
                return True
            try:
                ready += min(log.bytes_from(offset), max_bytes)
            except OffsetOutOfRange:
                return True
            if ready >= min_bytes:
                return True
        return ready >= min_bytes

    async def list_offsets(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return the first or last offset of partitions, or the one at an instant."""
        return {
            **OK,
            "topics": [
                {
                    "topic": topic["topic"],
                    "partitions": [
                        self._offset_of(topic["topic"], one["partition"], one["timestamp"], refusal)
                        for one in topic["partitions"]
                    ],
                }
                for topic in call.body["topics"]
            ],
        }

    def _offset_of(self, name: str, partition: int, timestamp: int, refusal: ErrorCode) -> Answer:
        log = self._topics.partition(name, partition)
        code = refusal or self._readable(name, partition)
        offset, found_at = NO_OFFSET, -1
        if not code and log is not None:
            if timestamp == _LATEST:
                offset = log.next_offset
            elif timestamp == _EARLIEST:
                offset = log.start_offset
            elif timestamp < 0:
                code = ErrorCode.UNSUPPORTED_VERSION
            else:
                code, offset, found_at = self._offset_at(log, timestamp, f"{name}/{partition}")
        return {"partition": partition, "error_code": code, "timestamp": found_at, "offset": offset}

    def _offset_at(self, log: PartitionLog, timestamp: int, place: str) -> tuple[ErrorCode, int, int]:
        try:
            found = log.offset_at(timestamp)
        except Exception as error:  # noqa: BLE001 - a batch is stored as it came; its records may be anything
            self._log.warning(f"the records of a batch in {place} cannot be read: {error}")
            return ErrorCode.CORRUPT_MESSAGE, NO_OFFSET, -1
        return (ErrorCode.NONE, *found) if found is not None else (ErrorCode.NONE, NO_OFFSET, -1)

    def _readable(self, name: str, partition: int) -> ErrorCode:
        if self._topics.partition(name, partition) is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return self._faults.on_partition(name, partition)

    async def delete_records(self, call: Call, refusal: ErrorCode) -> Answer:
        """Forget what lies below an offset."""
        return {
            **OK,
            "topics": [
                {
                    "name": topic["name"],
                    "partitions": [
                        self._delete_before(topic["name"], one["partition_index"], one["offset"], refusal)
                        for one in topic["partitions"]
                    ],
                }
                for topic in call.body["topics"]
            ],
        }

    def _delete_before(self, name: str, partition: int, offset: int, refusal: ErrorCode) -> Answer:
        log = self._topics.partition(name, partition)
        code = refusal or (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if log is None else ErrorCode.NONE)
        low = NO_OFFSET
        if not code and log is not None:
            before = log.size
            try:
                low = log.delete_before(offset)
            except OffsetOutOfRange:
                code = ErrorCode.OFFSET_OUT_OF_RANGE
            self._topics.shrunk(before - log.size)
        return {"partition_index": partition, "low_watermark": low, "error_code": code}

    async def init_producer_id(self, call: Call, refusal: ErrorCode) -> Answer:
        """Hand out a producer id: what is idempotent, not what is transactional."""
        if not refusal and call.body["transactional_id"] is not None:
            refusal = no_transactions(call)
        if refusal:
            return {**OK, "error_code": refusal, "producer_id": -1, "producer_epoch": -1}
        return {**OK, "producer_id": next(self._producer_ids), "producer_epoch": 0}
