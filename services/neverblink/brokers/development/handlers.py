"""What the broker answers: which method takes which request, in the fields of every version of its response.

A request never fails for what a client asks: every refusal is an error code in the place where the client looks
for it. `refusal` is the error that an injected fault wants instead of the work.
"""

from collections.abc import Awaitable, Callable

from neverblink.brokers.development.answers import Address, Answer
from neverblink.brokers.development.faults import Faults
from neverblink.brokers.development.group_requests import GroupRequests
from neverblink.brokers.development.groups import Groups
from neverblink.brokers.development.protocol import Api, Call, ErrorCode
from neverblink.brokers.development.record_requests import RecordRequests
from neverblink.brokers.development.topic_requests import TopicRequests
from neverblink.brokers.development.topics import Topics


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
        records = RecordRequests(topics, faults, clock, fetch_bytes=fetch_bytes)
        cluster = TopicRequests(topics, groups, address, auto_create=auto_create)
        members = GroupRequests(topics, groups, address, clock)
        self._handlers: dict[Api, Callable[[Call, ErrorCode], Awaitable[Answer | None]]] = {
            Api.PRODUCE: records.produce,
            Api.FETCH: records.fetch,
            Api.LIST_OFFSETS: records.list_offsets,
            Api.METADATA: cluster.metadata,
            Api.OFFSET_COMMIT: members.offset_commit,
            Api.OFFSET_FETCH: members.offset_fetch,
            Api.FIND_COORDINATOR: members.find_coordinator,
            Api.JOIN_GROUP: members.join_group,
            Api.HEARTBEAT: members.heartbeat,
            Api.LEAVE_GROUP: members.leave_group,
            Api.SYNC_GROUP: members.sync_group,
            Api.DESCRIBE_GROUPS: members.describe_groups,
            Api.LIST_GROUPS: members.list_groups,
            Api.API_VERSIONS: cluster.api_versions,
            Api.CREATE_TOPICS: cluster.create_topics,
            Api.DELETE_TOPICS: cluster.delete_topics,
            Api.DELETE_RECORDS: records.delete_records,
            Api.INIT_PRODUCER_ID: records.init_producer_id,
            Api.DESCRIBE_CONFIGS: cluster.describe_configs,
            Api.CREATE_PARTITIONS: cluster.create_partitions,
            Api.DELETE_GROUPS: members.delete_groups,
        }

    async def answer(self, call: Call, refusal: ErrorCode = ErrorCode.NONE) -> Answer | None:
        """Do what is asked and return the answer; None for a producer that wants none."""
        return await self._handlers[call.api](call, refusal)
