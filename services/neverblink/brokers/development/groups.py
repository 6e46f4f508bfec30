"""Consumer groups: who is a member, who reads which partition, and how far a group has read.

The classic protocol: members join, the leader assigns, everyone syncs, heartbeats keep a member alive. Nothing
here waits or looks at a clock: callers pass `now` (seconds, monotonic) and a function that takes the answer, and
call `expire` regularly. Sources of the rules: Kafka's protocol guide, KIP-345 (static members), KIP-394 (a member
gets its id before it joins).
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from neverblink.brokers.development.protocol import ErrorCode

_MIN_SESSION_S = 0.1
_MAX_SESSION_S = 1800.0
_MAX_MEMBERS = 1000
_MAX_METADATA = 4096


class State(Enum):
    """Where a group is between two assignments; the values are Kafka's names."""

    EMPTY = "Empty"
    JOINING = "PreparingRebalance"
    SYNCING = "CompletingRebalance"
    STABLE = "Stable"


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """What a member that joins is told; `members` (id, instance, metadata) is for the leader only."""

    code: ErrorCode
    generation: int = -1
    protocol: str = ""
    leader: str = ""
    member_id: str = ""
    members: tuple[tuple[str, str | None, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class SyncAnswer:
    """What a member may read, in the encoding of the members' own protocol."""

    code: ErrorCode
    assignment: bytes = b""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a member says when it joins. An empty `member_id` means a new member."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_s: float
    rebalance_s: float
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    needs_known_id: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """How far a group has read one partition."""

    offset: int
    metadata: str


@dataclass(slots=True)
class Member:
    """A member of a group. `joining` and `syncing` take its answer while it waits for one."""

    member_id: str
    request: JoinRequest
    heard: float
    assignment: bytes = b""
    joining: Callable[[JoinAnswer], None] | None = None
    syncing: Callable[[SyncAnswer], None] | None = None

    @property
    def waits(self) -> bool:
        """Whether the member waits for the group; such a member cannot send heartbeats."""
        return self.joining is not None or self.syncing is not None

    def metadata(self, protocol: str) -> bytes:
        """Return what the member said about this protocol."""
        return next((data for name, data in self.request.protocols if name == protocol), b"")


@dataclass(slots=True)
class Group:
    """One consumer group."""

    name: str
    state: State = State.EMPTY
    generation: int = 0
    protocol_type: str = ""
    protocol: str = ""
    leader: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    offsets: dict[tuple[str, int], Committed] = field(default_factory=dict)
    emptied: float = 0.0
    _promised: dict[str, float] = field(default_factory=dict)
    _deadline: float = 0.0

    def join(self, request: JoinRequest, answer: Callable[[JoinAnswer], None], now: float) -> None:
        """Take a member in, or back; it is answered when everyone has joined or the time is up."""
        refused = self._refused(request)
        if refused:
            answer(JoinAnswer(refused, member_id=request.member_id))
            return
        if not request.member_id:
            self._join_new(request, answer, now)
            return
        if request.member_id in self._promised:
            del self._promised[request.member_id]
            self._add(request.member_id, request, answer, now)
            return
        member = self.members.get(request.member_id)
        if member is None or member.request.instance_id != request.instance_id:
            known = self._static(request.instance_id)
            code = ErrorCode.UNKNOWN_MEMBER_ID if known is None else ErrorCode.FENCED_INSTANCE_ID
            answer(JoinAnswer(code, member_id=request.member_id))
            return
        self._join_again(member, request, answer, now)

    def sync(
        self,
        member_id: str,
        instance_id: str | None,
        generation: int,
        assignments: Mapping[str, bytes],
        answer: Callable[[SyncAnswer], None],
        now: float,
    ) -> None:
        """Give a member its assignment; the leader brings everyone's."""
        code = self._check(member_id, generation, instance_id)
        if code:
            answer(SyncAnswer(code))
            return
        member = self.members[member_id]
        member.heard = now
        if self.state is State.JOINING:
            answer(SyncAnswer(ErrorCode.REBALANCE_IN_PROGRESS))
        elif self.state is State.STABLE:
            answer(SyncAnswer(ErrorCode.NONE, member.assignment))
        else:
            if member.syncing is not None:
                member.syncing(SyncAnswer(ErrorCode.REBALANCE_IN_PROGRESS))
            member.syncing = answer
            if member_id == self.leader:
                self._assign(assignments, now)

    def heartbeat(self, member_id: str, generation: int, now: float) -> ErrorCode:
        """Note that a member lives and tell it whether it has to join again."""
        code = self._check(member_id, generation)
        if code:
            return code
        self.members[member_id].heard = now
        return ErrorCode.REBALANCE_IN_PROGRESS if self.state is State.JOINING else ErrorCode.NONE

    def leave(self, member_id: str, now: float) -> ErrorCode:
        """Let a member go at its own wish."""
        if self._promised.pop(member_id, None) is not None:
            self._complete_if_all_joined(now)
            return ErrorCode.NONE
        if member_id not in self.members:
            return ErrorCode.UNKNOWN_MEMBER_ID
        self._remove(member_id, now)
        return ErrorCode.NONE

    def commit(
        self, member_id: str, generation: int, offsets: Mapping[tuple[str, int], Committed], now: float
    ) -> ErrorCode:
        """Remember how far the group has read; members of an older generation are refused."""
        if generation < 0 and not member_id:
            # Someone who assigns partitions by hand, or an administrator: only while nobody is a member.
            if self.members:
                return ErrorCode.UNKNOWN_MEMBER_ID
        else:
            code = self._check(member_id, generation)
            if code:
                return code
            self.members[member_id].heard = now
            if self.state is State.SYNCING:
                return ErrorCode.REBALANCE_IN_PROGRESS
        self.offsets.update(offsets)
        return ErrorCode.NONE

    def expire(self, now: float) -> list[str]:
        """Do what is due: end a wait that is over, remove who is not heard. Returns the ids removed."""
        for member_id in [one for one, until in self._promised.items() if until <= now]:
            del self._promised[member_id]
            self._complete_if_all_joined(now)
        silent = [
            member.member_id
            for member in self.members.values()
            if not member.waits and member.heard + member.request.session_s <= now
        ]
        for member_id in silent:
            self._remove(member_id, now)
        if self.state is State.JOINING and self._deadline <= now:
            self._complete_join(now)
        elif self.state is State.SYNCING and self._deadline <= now:
            idle = [member.member_id for member in self.members.values() if member.syncing is None]
            silent += idle
            for member_id in idle:
                self._remove(member_id, now)
            if not idle:
                self._begin_join(now)
        return silent

    def postpone(self, seconds: float) -> None:
        """Move everything that is due later: the broker stood still that long."""
        self._deadline += seconds
        for member in self.members.values():
            member.heard += seconds
        for member_id in self._promised:
            self._promised[member_id] += seconds

    def _refused(self, request: JoinRequest) -> ErrorCode:
        if not _MIN_SESSION_S <= request.session_s <= _MAX_SESSION_S:
            return ErrorCode.INVALID_SESSION_TIMEOUT
        if len(self.members) >= _MAX_MEMBERS and request.member_id not in self.members:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        others = [member for member in self.members.values() if member.member_id != request.member_id]
        if not request.protocols or not request.protocol_type:
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        if others:
            shared = set.intersection(*({name for name, _ in one.request.protocols} for one in others))
            if request.protocol_type != self.protocol_type or not shared & {n for n, _ in request.protocols}:
                return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        return ErrorCode.NONE

    def _static(self, instance_id: str | None) -> Member | None:
        if instance_id is None:
            return None
        return next((one for one in self.members.values() if one.request.instance_id == instance_id), None)

    def _join_new(self, request: JoinRequest, answer: Callable[[JoinAnswer], None], now: float) -> None:
        member_id = f"{request.instance_id or request.client_id or 'member'}-{uuid.uuid4()}"
        replaced = self._static(request.instance_id)
        if replaced is not None:
            self._replace(replaced, member_id, request, answer, now)
        elif request.needs_known_id and request.instance_id is None:
            # KIP-394: a client that dies before it hears its id must not hold up the group as a ghost.
            self._promised[member_id] = now + request.session_s
            answer(JoinAnswer(ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id))
        else:
            self._add(member_id, request, answer, now)

    def _add(self, member_id: str, request: JoinRequest, answer: Callable[[JoinAnswer], None], now: float) -> None:
        self.protocol_type = request.protocol_type
        self.members[member_id] = Member(member_id, request, now, joining=answer)
        if self.state is not State.JOINING:
            self._begin_join(now)
        self._complete_if_all_joined(now)

    def _join_again(
        self, member: Member, request: JoinRequest, answer: Callable[[JoinAnswer], None], now: float
    ) -> None:
        unchanged = member.request.protocols == request.protocols
        member.request = request
        member.heard = now
        if unchanged and (
            self.state is State.SYNCING or (self.state is State.STABLE and member.member_id != self.leader)
        ):
            # The answer to its last join was lost: say it again.
            answer(self._joined(member))
            return
        if member.joining is not None:
            member.joining(JoinAnswer(ErrorCode.REBALANCE_IN_PROGRESS, member_id=member.member_id))
        member.joining = answer
        if self.state is not State.JOINING:
            self._begin_join(now)
        self._complete_if_all_joined(now)

    def _replace(
        self,
        old: Member,
        member_id: str,
        request: JoinRequest,
        answer: Callable[[JoinAnswer], None],
        now: float,
    ) -> None:
        """Give a static member that came back its place, under a new id, and fence who held it."""
        if old.joining is not None:
            old.joining(JoinAnswer(ErrorCode.FENCED_INSTANCE_ID, member_id=old.member_id))
        if old.syncing is not None:
            old.syncing(SyncAnswer(ErrorCode.FENCED_INSTANCE_ID))
        new = Member(member_id, request, now, old.assignment)
        self.members = {
            (member_id if one is old else name): (new if one is old else one) for name, one in self.members.items()
        }
        leader = self.leader
        if leader == old.member_id:
            self.leader = member_id
        if self.state is State.STABLE and old.request.protocols == request.protocols:
            # The former id is named as leader, so that the member takes its assignment and does not make one.
            answer(JoinAnswer(ErrorCode.NONE, self.generation, self.protocol, leader, member_id))
            return
        new.joining = answer
        if self.state is not State.JOINING:
            self._begin_join(now)
        self._complete_if_all_joined(now)

    def _check(self, member_id: str, generation: int, instance_id: str | None = None) -> ErrorCode:
        member = self.members.get(member_id)
        if instance_id is not None:
            static = self._static(instance_id)
            if static is not None and static.member_id != member_id:
                return ErrorCode.FENCED_INSTANCE_ID
        if member is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if generation != self.generation:
            return ErrorCode.ILLEGAL_GENERATION
        return ErrorCode.NONE

    def _begin_join(self, now: float) -> None:
        for member in self.members.values():
            if member.syncing is not None:
                member.syncing(SyncAnswer(ErrorCode.REBALANCE_IN_PROGRESS))
                member.syncing = None
                member.heard = now
        self.state = State.JOINING
        self._deadline = now + max((one.request.rebalance_s for one in self.members.values()), default=0.0)

    def _complete_if_all_joined(self, now: float) -> None:
        if self.state is State.JOINING and not self._promised and all(m.joining for m in self.members.values()):
            self._complete_join(now)

    def _complete_join(self, now: float) -> None:
        """Begin the next generation with who has joined; static members keep their place until they expire."""
        for member_id in [
            member.member_id
            for member in self.members.values()
            if member.joining is None and member.request.instance_id is None
        ]:
            del self.members[member_id]
        joined = [member for member in self.members.values() if member.joining is not None]
        if self.members and not joined:
            self._deadline = now + max(one.request.rebalance_s for one in self.members.values())
            return
        self.generation += 1
        if not self.members:
            self.state, self.leader, self.protocol, self.emptied = State.EMPTY, "", "", now
            return
        if self.leader not in {member.member_id for member in joined}:
            self.leader = joined[0].member_id
        self.protocol = self._vote()
        self.state = State.SYNCING
        self._deadline = now + max(one.request.rebalance_s for one in self.members.values())
        for member in joined:
            answer, member.joining, member.heard = member.joining, None, now
            assert answer is not None
            answer(self._joined(member))

    def _joined(self, member: Member) -> JoinAnswer:
        members = tuple(
            (one.member_id, one.request.instance_id, one.metadata(self.protocol))
            for one in self.members.values()
            if member.member_id == self.leader
        )
        return JoinAnswer(ErrorCode.NONE, self.generation, self.protocol, self.leader, member.member_id, members)

    def _vote(self) -> str:
        members = list(self.members.values())
        shared = set.intersection(*({name for name, _ in one.request.protocols} for one in members))
        votes = Counter(next(name for name, _ in one.request.protocols if name in shared) for one in members)
        return votes.most_common(1)[0][0]

    def _assign(self, assignments: Mapping[str, bytes], now: float) -> None:
        self.state = State.STABLE
        for member in self.members.values():
            member.assignment = assignments.get(member.member_id, b"")
            if member.syncing is not None:
                answer, member.syncing, member.heard = member.syncing, None, now
                answer(SyncAnswer(ErrorCode.NONE, member.assignment))

    def _remove(self, member_id: str, now: float) -> None:
        member = self.members.pop(member_id)
        if member.joining is not None:
            member.joining(JoinAnswer(ErrorCode.UNKNOWN_MEMBER_ID, member_id=member_id))
        if member.syncing is not None:
            member.syncing(SyncAnswer(ErrorCode.UNKNOWN_MEMBER_ID))
        if self.state is not State.JOINING:
            self._begin_join(now)
        self._complete_if_all_joined(now)


class Groups:
    """All consumer groups, within a bound: above it the group that is empty the longest is forgotten."""

    def __init__(self, max_groups: int = 1000) -> None:
        self._groups: dict[str, Group] = {}
        self._max_groups = max_groups

    def __iter__(self) -> Iterator[Group]:
        return iter(self._groups.values())

    def get(self, name: str) -> Group | None:
        """Return the group, or None."""
        return self._groups.get(name)

    def open(self, name: str, now: float) -> Group | None:
        """Return the group, made if need be; None when the broker has no room for another."""
        group = self._groups.get(name)
        if group is None:
            if len(self._groups) >= self._max_groups and not self._forget_one():
                return None
            group = self._groups[name] = Group(name, emptied=now)
        return group

    def delete(self, name: str) -> ErrorCode:
        """Forget a group that has no members."""
        group = self._groups.get(name)
        if group is None:
            return ErrorCode.GROUP_ID_NOT_FOUND
        if group.members:
            return ErrorCode.NON_EMPTY_GROUP
        del self._groups[name]
        return ErrorCode.NONE

    def forget_topic(self, topic: str) -> None:
        """Drop what groups committed on a topic that is gone."""
        for group in self._groups.values():
            for key in [key for key in group.offsets if key[0] == topic]:
                del group.offsets[key]

    def _forget_one(self) -> bool:
        empty = [group for group in self._groups.values() if not group.members]
        if not empty:
            return False
        del self._groups[min(empty, key=lambda group: group.emptied).name]
        return True


def committable(metadata: str | None) -> ErrorCode:
    """Return the error for metadata of a commit that is too long, else NONE."""
    too_long = metadata is not None and len(metadata) > _MAX_METADATA
    return ErrorCode.OFFSET_METADATA_TOO_LARGE if too_long else ErrorCode.NONE
