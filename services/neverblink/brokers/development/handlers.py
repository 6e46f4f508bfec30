"""What the broker answers: one method per request, in the fields of every version of its response.

A handler never fails for what a client asks: every refusal is an error code in the place where the client looks
for it. `refusal` is the error that an injected fault wants instead of the work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

from neverblink import telemetry
from neverblink.brokers.development.faults import Faults
from neverblink.brokers.development.groups import (
    Committed,
    Group,
    Groups,
    JoinAnswer,
    JoinRequest,
    SyncAnswer,
    committable,
)
from neverblink.brokers.development.log import OffsetOutOfRange, PartitionLog
from neverblink.brokers.development.protocol import ADVERTISED, Api, Call, ErrorCode
from neverblink.brokers.development.record_batch import BatchRefused, read_header
from neverblink.brokers.development.topics import HONOURED, TopicRefused, Topics, check_name

NODE_ID = 1
_CLUSTER_ID = "neverblink-development"
_LATEST = -1
_EARLIEST = -2
_READ_COMMITTED = 1
_TRANSACTION_COORDINATOR = 1
_TOPIC_RESOURCE = 2
_BROKER_RESOURCE = 4
_FROM_DEFAULT = 5
_FROM_TOPIC = 1
_FIRST_VERSION_WITH_FORMAT_2 = 3
_FIRST_VERSION_WITH_PROMISED_ID = 4
_NO_OFFSET = -1

Answer = Mapping[str, Any]
_T = TypeVar("_T")
_OK: Mapping[str, Any] = {"throttle_time_ms": 0, "error_code": ErrorCode.NONE, "error_message": None}


@dataclass(frozen=True, slots=True)
class Address:
    """Where clients reach the broker."""

    host: str
    port: int


class Handlers:
    """The requests of the protocol, over the topics and groups of one broker."""

    def __init__(
        self,
        topics: Topics,
        groups: Groups,
        faults: Faults,
        address: Callable[[], Address],
        clock: Callable[[], float],
        *,
        auto_create: bool,
        fetch_bytes: int,
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._faults = faults
        self._address = address
        self._clock = clock
        self._auto_create = auto_create
        self._fetch_bytes = fetch_bytes
        self._producer_ids = count(1)
        self._log = telemetry.logger("broker")
        self._handlers: dict[Api, Callable[[Call, ErrorCode], Awaitable[Answer | None]]] = {
            Api.PRODUCE: self._produce,
            Api.FETCH: self._fetch,
            Api.LIST_OFFSETS: self._list_offsets,
            Api.METADATA: self._metadata,
            Api.OFFSET_COMMIT: self._offset_commit,
            Api.OFFSET_FETCH: self._offset_fetch,
            Api.FIND_COORDINATOR: self._find_coordinator,
            Api.JOIN_GROUP: self._join_group,
            Api.HEARTBEAT: self._heartbeat,
            Api.LEAVE_GROUP: self._leave_group,
            Api.SYNC_GROUP: self._sync_group,
            Api.DESCRIBE_GROUPS: self._describe_groups,
            Api.LIST_GROUPS: self._list_groups,
            Api.API_VERSIONS: self._api_versions,
            Api.CREATE_TOPICS: self._create_topics,
            Api.DELETE_TOPICS: self._delete_topics,
            Api.DELETE_RECORDS: self._delete_records,
            Api.INIT_PRODUCER_ID: self._init_producer_id,
            Api.DESCRIBE_CONFIGS: self._describe_configs,
            Api.CREATE_PARTITIONS: self._create_partitions,
            Api.DELETE_GROUPS: self._delete_groups,
        }

    async def answer(self, call: Call, refusal: ErrorCode = ErrorCode.NONE) -> Answer | None:
        """Do what is asked and return the answer; None for a producer that wants none."""
        return await self._handlers[call.api](call, refusal)

    # Records

    async def _produce(self, call: Call, refusal: ErrorCode) -> Answer | None:
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
        return None if acks == 0 else {**_OK, "topics": answers}

    def _append(self, name: str, partition: int, batch: bytes | None, refusal: ErrorCode) -> Answer:
        topic = self._topics.get(name)
        log = self._topics.partition(name, partition)
        code = refusal or self._faults.on_partition(name, partition)
        base = _NO_OFFSET
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
            "log_start_offset": log.start_offset if log is not None else _NO_OFFSET,
        }

    async def _fetch(self, call: Call, refusal: ErrorCode) -> Answer:
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
            end = log.next_offset if log is not None else _NO_OFFSET
            topics.setdefault(name, []).append(
                {
                    "partition": partition,
                    "error_code": code,
                    "highwater_offset": end,
                    "last_stable_offset": end,
                    "log_start_offset": log.start_offset if log is not None else _NO_OFFSET,
                    "aborted_transactions": aborted,
                    "preferred_read_replica": -1,
                    "message_set": data,
                }
            )
        # Session 0: every fetch names all its partitions, the client keeps no session with us.
        return {
            **_OK,
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
            async with asyncio.timeout(max_wait_s):
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

    async def _list_offsets(self, call: Call, refusal: ErrorCode) -> Answer:
        return {
            **_OK,
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
        offset, found_at = _NO_OFFSET, -1
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
            return ErrorCode.CORRUPT_MESSAGE, _NO_OFFSET, -1
        return (ErrorCode.NONE, *found) if found is not None else (ErrorCode.NONE, _NO_OFFSET, -1)

    def _readable(self, name: str, partition: int) -> ErrorCode:
        if self._topics.partition(name, partition) is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return self._faults.on_partition(name, partition)

    async def _delete_records(self, call: Call, refusal: ErrorCode) -> Answer:
        return {
            **_OK,
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
        low = _NO_OFFSET
        if not code and log is not None:
            before = log.size
            try:
                low = log.delete_before(offset)
            except OffsetOutOfRange:
                code = ErrorCode.OFFSET_OUT_OF_RANGE
            self._topics.shrunk(before - log.size)
        return {"partition_index": partition, "low_watermark": low, "error_code": code}

    async def _init_producer_id(self, call: Call, refusal: ErrorCode) -> Answer:
        if not refusal and call.body["transactional_id"] is not None:
            refusal = self._no_transactions(call)
        if refusal:
            return {**_OK, "error_code": refusal, "producer_id": -1, "producer_epoch": -1}
        return {**_OK, "producer_id": next(self._producer_ids), "producer_epoch": 0}

    # Cluster and topics

    async def _api_versions(self, call: Call, refusal: ErrorCode) -> Answer:
        code = refusal or (ErrorCode.NONE if call.version_known else ErrorCode.UNSUPPORTED_VERSION)
        return {
            **_OK,
            "error_code": code,
            "api_versions": [
                {"api_key": key, "min_version": low, "max_version": high} for key, low, high in ADVERTISED
            ],
        }

    async def _metadata(self, call: Call, refusal: ErrorCode) -> Answer:
        names: list[str] | None = call.body["topics"]
        if names is None or (call.version == 0 and not names):
            names = [topic.name for topic in self._topics]
        elif self._auto_create and call.body.get("allow_auto_topic_creation", True):
            self._create_missing(names)
        address = self._address()
        return {
            **_OK,
            "brokers": [{"node_id": NODE_ID, "host": address.host, "port": address.port, "rack": None}],
            "cluster_id": _CLUSTER_ID,
            "controller_id": NODE_ID,
            "topics": [self._described_topic(name, refusal) for name in names],
        }

    def _described_topic(self, name: str, refusal: ErrorCode) -> Answer:
        topic = self._topics.get(name)
        code = refusal
        if not code:
            try:
                check_name(name)
            except TopicRefused as refused:
                code = refused.code
        if not code and topic is None:
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return {
            "error_code": code,
            "topic": name,
            "is_internal": False,
            "partitions": [
                {
                    "error_code": ErrorCode.NONE,
                    "partition": index,
                    "leader": NODE_ID,
                    "replicas": [NODE_ID],
                    "isr": [NODE_ID],
                    "offline_replicas": [],
                }
                for index in range(len(topic.partitions) if topic is not None and not code else 0)
            ],
        }

    def _create_missing(self, names: list[str]) -> None:
        for name in names:
            if self._topics.get(name) is None:
                try:
                    self._topics.create(name, -1, -1, {})
                except TopicRefused as refused:
                    self._log.warning(f"the topic {name!r} is not made on first use: {refused}")

    async def _create_topics(self, call: Call, refusal: ErrorCode) -> Answer:
        only_check = bool(call.body.get("validate_only"))
        errors = []
        for wanted in call.body["create_topic_requests"]:
            name = wanted["topic"]
            assignment = wanted["replica_assignment"] or []
            settings = {one["config_key"]: one["config_value"] for one in wanted["configs"] or []}

            def create(
                name: str = name,
                partitions: int = len(assignment) or wanted["num_partitions"],
                replicas: int = len(assignment[0]["replicas"]) if assignment else wanted["replication_factor"],
                settings: dict[str, str] = settings,
            ) -> None:
                self._topics.create(name, partitions, replicas, settings, only_check=only_check)

            errors.append(_outcome(name, create, refusal))
        return {**_OK, "topic_errors": errors}

    async def _create_partitions(self, call: Call, refusal: ErrorCode) -> Answer:
        only_check = bool(call.body["validate_only"])
        errors = []
        for wanted in call.body["topic_partitions"]:

            def extend(name: str = wanted["topic"], total: int = wanted["new_partitions"]["count"]) -> None:
                self._topics.extend(name, total, only_check=only_check)

            errors.append(_outcome(wanted["topic"], extend, refusal))
        return {**_OK, "topic_errors": errors}

    async def _delete_topics(self, call: Call, refusal: ErrorCode) -> Answer:
        codes = []
        for name in call.body["topics"] or []:
            code = refusal
            if not code:
                if self._topics.delete(name):
                    self._groups.forget_topic(name)
                else:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            codes.append({"topic": name, "error_code": code})
        return {**_OK, "topic_error_codes": codes}

    async def _describe_configs(self, call: Call, refusal: ErrorCode) -> Answer:
        return {
            **_OK,
            "resources": [
                self._described_config(one["resource_type"], one["resource_name"], one["config_names"], refusal)
                for one in call.body["resources"]
            ],
        }

    def _described_config(self, kind: int, name: str, only: list[str] | None, refusal: ErrorCode) -> Answer:
        code = refusal
        settings: dict[str, str] = {}
        given: Mapping[str, str] = {}
        if kind == _TOPIC_RESOURCE:
            topic = self._topics.get(name)
            if topic is None:
                code = code or ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            else:
                settings, given = topic.settings.described(), topic.settings.given
        elif kind == _BROKER_RESOURCE:
            settings = {
                "message.max.bytes": HONOURED["max.message.bytes"],
                "log.retention.ms": HONOURED["retention.ms"],
                "log.retention.bytes": HONOURED["retention.bytes"],
                "auto.create.topics.enable": str(self._auto_create).lower(),
            }
        else:
            code = code or ErrorCode.INVALID_REQUEST
        entries = [
            {
                "config_names": setting,
                "config_value": value,
                "read_only": kind != _TOPIC_RESOURCE,
                "is_default": setting not in given,
                "config_source": _FROM_TOPIC if setting in given else _FROM_DEFAULT,
                "is_sensitive": False,
                "config_synonyms": [],
            }
            for setting, value in sorted(settings.items())
            if not code and (not only or setting in only)
        ]
        return {
            "error_code": code,
            "error_message": None,
            "resource_type": kind,
            "resource_name": name,
            "config_entries": entries,
        }

    # Groups

    async def _find_coordinator(self, call: Call, refusal: ErrorCode) -> Answer:
        if not refusal and call.body.get("coordinator_type", 0) == _TRANSACTION_COORDINATOR:
            refusal = self._no_transactions(call)
        address = self._address()
        return {
            **_OK,
            "error_code": refusal,
            "coordinator_id": _NO_OFFSET if refusal else NODE_ID,
            "host": "" if refusal else address.host,
            "port": _NO_OFFSET if refusal else address.port,
        }

    async def _join_group(self, call: Call, refusal: ErrorCode) -> Answer:
        body = call.body
        answered: asyncio.Future[JoinAnswer] = asyncio.get_running_loop().create_future()
        group, code = self._group(body["group"])
        if refusal or code or group is None:
            answered.set_result(JoinAnswer(refusal or code, member_id=body["member_id"] or ""))
        else:
            group.join(_join_request(call), _settle(answered), self._clock())
        answer = await answered
        return {
            **_OK,
            "error_code": answer.code,
            "generation_id": answer.generation,
            "group_protocol": answer.protocol,
            "leader_id": answer.leader,
            "member_id": answer.member_id,
            "members": [
                {"member_id": member, "group_instance_id": instance, "member_metadata": data}
                for member, instance, data in answer.members
            ],
        }

    async def _sync_group(self, call: Call, refusal: ErrorCode) -> Answer:
        body = call.body
        answered: asyncio.Future[SyncAnswer] = asyncio.get_running_loop().create_future()
        group = self._groups.get(body["group"])
        if refusal or group is None:
            answered.set_result(SyncAnswer(refusal or ErrorCode.UNKNOWN_MEMBER_ID))
        else:
            group.sync(
                body["member_id"],
                body.get("group_instance_id"),
                body["generation_id"],
                {one["member_id"]: one["member_metadata"] or b"" for one in body["group_assignment"]},
                _settle(answered),
                self._clock(),
            )
        answer = await answered
        return {**_OK, "error_code": answer.code, "member_assignment": answer.assignment}

    async def _heartbeat(self, call: Call, refusal: ErrorCode) -> Answer:
        body = call.body
        group = self._groups.get(body["group"])
        code = refusal or (
            ErrorCode.UNKNOWN_MEMBER_ID
            if group is None
            else group.heartbeat(body["member_id"], body["generation_id"], self._clock())
        )
        return {**_OK, "error_code": code}

    async def _leave_group(self, call: Call, refusal: ErrorCode) -> Answer:
        body = call.body
        group = self._groups.get(body["group"])
        code = refusal or (
            ErrorCode.UNKNOWN_MEMBER_ID if group is None else group.leave(body["member_id"], self._clock())
        )
        return {**_OK, "error_code": code}

    async def _offset_commit(self, call: Call, refusal: ErrorCode) -> Answer:
        body = call.body
        accepted: dict[tuple[str, int], Committed] = {}
        codes: dict[tuple[str, int], ErrorCode] = {}
        for topic in body["topics"]:
            for one in topic["partitions"]:
                place = (topic["topic"], one["partition"])
                code = refusal or committable(one["metadata"])
                if not code and self._topics.partition(*place) is None:
                    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                codes[place] = code
                if not code:
                    accepted[place] = Committed(one["offset"], one["metadata"] or "")
        if accepted:
            verdict = self._commit(body, accepted)
            codes.update(dict.fromkeys(accepted, verdict))
        return {
            **_OK,
            "topics": [
                {
                    "topic": topic["topic"],
                    "partitions": [
                        {"partition": one["partition"], "error_code": codes[topic["topic"], one["partition"]]}
                        for one in topic["partitions"]
                    ],
                }
                for topic in body["topics"]
            ],
        }

    def _commit(self, body: Mapping[str, Any], offsets: Mapping[tuple[str, int], Committed]) -> ErrorCode:
        generation = body["consumer_group_generation_id"]
        if generation >= 0 and self._groups.get(body["consumer_group"]) is None:
            return ErrorCode.ILLEGAL_GENERATION
        group, code = self._group(body["consumer_group"])
        if group is None:
            return code
        return group.commit(body["consumer_id"] or "", generation, offsets, self._clock())

    async def _offset_fetch(self, call: Call, refusal: ErrorCode) -> Answer:
        group = self._groups.get(call.body["consumer_group"])
        offsets = group.offsets if group is not None else {}
        asked = call.body["topics"]
        if asked is None:
            by_topic: dict[str, list[int]] = {}
            for name, partition in sorted(offsets):
                by_topic.setdefault(name, []).append(partition)
        else:
            by_topic = {topic["topic"]: topic["partitions"] for topic in asked}
        nothing = Committed(_NO_OFFSET, "")
        return {
            **_OK,
            "error_code": refusal,
            "topics": [
                {
                    "topic": name,
                    "partitions": [
                        {
                            "partition": partition,
                            "offset": offsets.get((name, partition), nothing).offset,
                            "metadata": offsets.get((name, partition), nothing).metadata,
                            "error_code": refusal,
                        }
                        for partition in partitions
                    ],
                }
                for name, partitions in by_topic.items()
            ],
        }

    async def _list_groups(self, call: Call, refusal: ErrorCode) -> Answer:
        return {
            **_OK,
            "error_code": refusal,
            "groups": [] if refusal else [{"group": g.name, "protocol_type": g.protocol_type} for g in self._groups],
        }

    async def _describe_groups(self, call: Call, refusal: ErrorCode) -> Answer:
        return {
            **_OK,
            "groups": [_described_group(name, self._groups.get(name), refusal) for name in call.body["groups"]],
        }

    async def _delete_groups(self, call: Call, refusal: ErrorCode) -> Answer:
        return {
            **_OK,
            "results": [
                {"group_id": name, "error_code": refusal or self._groups.delete(name)}
                for name in call.body["groups_names"]
            ],
        }

    def _group(self, name: str | None) -> tuple[Group | None, ErrorCode]:
        if not name:
            return None, ErrorCode.INVALID_GROUP_ID
        group = self._groups.open(name, self._clock())
        return group, ErrorCode.NONE if group is not None else ErrorCode.COORDINATOR_NOT_AVAILABLE

    def _no_transactions(self, call: Call) -> ErrorCode:
        self._log.warning(
            f"the client {call.client_id!r} asks for transactions, which the development broker does not have: "
            "use Apache Kafka"
        )
        # The one error that every client takes as final; others make it ask again for ever.
        return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def _join_request(call: Call) -> JoinRequest:
    body = call.body
    session = body["session_timeout"] / 1000
    return JoinRequest(
        member_id=body["member_id"] or "",
        instance_id=body.get("group_instance_id"),
        client_id=call.client_id,
        client_host=call.client_host,
        session_s=session,
        # Version 0 has no rebalance timeout: the session's is meant.
        rebalance_s=body["rebalance_timeout"] / 1000 if "rebalance_timeout" in body else session,
        protocol_type=body["protocol_type"] or "",
        protocols=tuple((one["protocol_name"], one["protocol_metadata"] or b"") for one in body["group_protocols"]),
        needs_known_id=call.version >= _FIRST_VERSION_WITH_PROMISED_ID,
    )


def _settle(future: asyncio.Future[_T]) -> Callable[[_T], None]:
    def settle(value: _T) -> None:
        # The client may have gone while it waited.
        if not future.done():
            future.set_result(value)

    return settle


def _outcome(name: str, work: Callable[[], None], refusal: ErrorCode) -> Answer:
    code, why = refusal, None
    if not code:
        try:
            work()
        except TopicRefused as refused:
            code, why = refused.code, str(refused)
    return {"topic": name, "error_code": code, "error_message": why}


def _described_group(name: str, group: Group | None, refusal: ErrorCode) -> Answer:
    if group is None:
        # As Kafka answers for a group it does not know.
        return {
            "error_code": refusal, "group": name, "state": "Dead", "protocol_type": "", "protocol": "",
            "members": [], "authorized_operations": -(2**31),
        }  # fmt: skip
    return {
        "error_code": refusal,
        "group": name,
        "state": group.state.value,
        "protocol_type": group.protocol_type,
        "protocol": group.protocol,
        "members": [
            {
                "member_id": member.member_id,
                "client_id": member.request.client_id,
                "client_host": member.request.client_host,
                "member_metadata": member.metadata(group.protocol),
                "member_assignment": member.assignment,
            }
            for member in group.members.values()
        ],
        "authorized_operations": -(2**31),
    }
