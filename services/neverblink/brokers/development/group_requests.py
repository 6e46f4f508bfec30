"""Requests about consumer groups: their members, and how far they have come."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from neverblink.brokers.development.answers import NO_OFFSET, NODE_ID, OK, Address, Answer, no_transactions
from neverblink.brokers.development.groups import (
    Committed,
    Group,
    Groups,
    JoinAnswer,
    JoinRequest,
    SyncAnswer,
    committable,
)
from neverblink.brokers.development.protocol import Call, ErrorCode
from neverblink.brokers.development.topics import Topics

_TRANSACTION_COORDINATOR = 1
_FIRST_VERSION_WITH_PROMISED_ID = 4
_T = TypeVar("_T")


class GroupRequests:
    """Answers what consumers and administrators ask of groups."""

    def __init__(
        self, topics: Topics, groups: Groups, address: Callable[[], Address], clock: Callable[[], float]
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._address = address
        self._clock = clock

    async def find_coordinator(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return ourselves."""
        if not refusal and call.body.get("coordinator_type", 0) == _TRANSACTION_COORDINATOR:
            refusal = no_transactions(call)
        address = self._address()
        return {
            **OK,
            "error_code": refusal,
            "coordinator_id": NO_OFFSET if refusal else NODE_ID,
            "host": "" if refusal else address.host,
            "port": NO_OFFSET if refusal else address.port,
        }

    async def join_group(self, call: Call, refusal: ErrorCode) -> Answer:
        """Let a member join, and answer when its group has assembled."""
        body = call.body
        answered: asyncio.Future[JoinAnswer] = asyncio.get_running_loop().create_future()
        group, code = self._group(body["group"])
        if refusal or code or group is None:
            answered.set_result(JoinAnswer(refusal or code, member_id=body["member_id"] or ""))
        else:
            group.join(_join_request(call), _settle(answered), self._clock())
        answer = await answered
        return {
            **OK,
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

    async def sync_group(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return a member's assignment once its leader has told it."""
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
        return {**OK, "error_code": answer.code, "member_assignment": answer.assignment}

    async def heartbeat(self, call: Call, refusal: ErrorCode) -> Answer:
        """Take a member's sign of life."""
        body = call.body
        group = self._groups.get(body["group"])
        code = refusal or (
            ErrorCode.UNKNOWN_MEMBER_ID
            if group is None
            else group.heartbeat(body["member_id"], body["generation_id"], self._clock())
        )
        return {**OK, "error_code": code}

    async def leave_group(self, call: Call, refusal: ErrorCode) -> Answer:
        """Let a member go."""
        body = call.body
        group = self._groups.get(body["group"])
        code = refusal or (
            ErrorCode.UNKNOWN_MEMBER_ID if group is None else group.leave(body["member_id"], self._clock())
        )
        return {**OK, "error_code": code}

    async def offset_commit(self, call: Call, refusal: ErrorCode) -> Answer:
        """Keep how far a group has come."""
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
            **OK,
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

    async def offset_fetch(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return how far a group has come."""
        group = self._groups.get(call.body["consumer_group"])
        offsets = group.offsets if group is not None else {}
        asked = call.body["topics"]
        if asked is None:
            by_topic: dict[str, list[int]] = {}
            for name, partition in sorted(offsets):
                by_topic.setdefault(name, []).append(partition)
        else:
            by_topic = {topic["topic"]: topic["partitions"] for topic in asked}
        nothing = Committed(NO_OFFSET, "")
        return {
            **OK,
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

    async def list_groups(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return the groups."""
        return {
            **OK,
            "error_code": refusal,
            "groups": [] if refusal else [{"group": g.name, "protocol_type": g.protocol_type} for g in self._groups],
        }

    async def describe_groups(self, call: Call, refusal: ErrorCode) -> Answer:
        """Return groups with their members."""
        return {
            **OK,
            "groups": [_described_group(name, self._groups.get(name), refusal) for name in call.body["groups"]],
        }

    async def delete_groups(self, call: Call, refusal: ErrorCode) -> Answer:
        """Delete groups that nobody is in."""
        return {
            **OK,
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
