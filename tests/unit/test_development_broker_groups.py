"""The group coordinator of the development broker, with a clock that the test moves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.brokers.development.groups import (
    Committed,
    Group,
    Groups,
    JoinAnswer,
    JoinRequest,
    State,
    SyncAnswer,
)
from neverblink.brokers.development.protocol import ErrorCode

PLACE = ("frames", 0)


class Member:
    """One side of the conversation: what it asked and what it was told."""

    def __init__(self, group: Group, instance: str | None = None, *, session_s: float = 10.0) -> None:
        self.group, self.instance, self.session_s = group, instance, session_s
        self.member_id = ""
        self.joined: list[JoinAnswer] = []
        self.synced: list[SyncAnswer] = []

    def join(self, now: float, *, protocols: tuple[str, ...] = ("range",), promised: bool = False) -> None:
        request = JoinRequest(
            self.member_id, self.instance, "client", "127.0.0.1", self.session_s, 30.0, "consumer",
            tuple((name, b"topics") for name in protocols), needs_known_id=promised,
        )  # fmt: skip
        self.group.join(request, self._on_join, now)

    def sync(self, now: float, assignments: dict[str, bytes] | None = None) -> None:
        self.group.sync(
            self.member_id, self.instance, self.joined[-1].generation, assignments or {}, self.synced.append, now
        )

    def heartbeat(self, now: float) -> ErrorCode:
        return self.group.heartbeat(self.member_id, self.joined[-1].generation, now)

    @property
    def leads(self) -> bool:
        return self.joined[-1].leader == self.member_id

    def _on_join(self, answer: JoinAnswer) -> None:
        self.joined.append(answer)
        self.member_id = answer.member_id or self.member_id


def state_of(group: Group) -> State:
    """Return the state as it is now; a plain attribute would be taken for constant by the type checker."""
    return group.state


def settle(members: list[Member], now: float) -> None:
    """Let members that were told to join again do so, and sync."""
    for member in members:
        member.join(now)
    assert all(member.joined[-1].code is ErrorCode.NONE for member in members)
    for member in members:
        shares = {one.member_id: one.member_id.encode() for one in members} if member.leads else {}
        member.sync(now, shares)


def stable(count: int, now: float = 0.0, **settings: float) -> tuple[Group, list[Member]]:
    group = Group("scorers")
    members = [Member(group, **settings) for _ in range(count)]
    members[0].join(now)
    members[0].sync(now, {members[0].member_id: b""})
    for member in members[1:]:
        member.join(now)
    if count > 1:
        settle(members, now)
    assert state_of(group) is State.STABLE
    return group, members


def test_the_leader_alone_is_told_who_is_there_and_everyone_gets_a_share() -> None:
    group, members = stable(3)
    leaders = [member for member in members if member.leads]
    assert len(leaders) == 1
    assert {one[0] for one in leaders[0].joined[-1].members} == set(group.members)
    assert all(not member.joined[-1].members for member in members if not member.leads)
    assert all(member.synced[-1].assignment == member.member_id.encode() for member in members)


def test_a_silent_member_is_removed_after_its_session_and_not_before() -> None:
    group, (first, second) = stable(2, session_s=6.0)
    for now in (2.0, 4.0, 5.9):
        assert first.heartbeat(now) is ErrorCode.NONE
        assert group.expire(now) == []
    assert group.expire(6.1) == [second.member_id]
    assert first.heartbeat(6.2) is ErrorCode.REBALANCE_IN_PROGRESS
    first.join(6.3)
    assert first.joined[-1].code is ErrorCode.NONE
    assert len(first.joined[-1].members) == 1


def test_a_member_that_does_not_join_again_in_time_is_left_behind() -> None:
    group, (first, second) = stable(2, session_s=60.0)
    third = Member(group, session_s=60.0)
    third.join(1.0)
    first.join(2.0)
    assert state_of(group) is State.JOINING
    second.heartbeat(25.0)
    group.expire(30.9)
    assert state_of(group) is State.JOINING
    group.expire(31.1)
    assert state_of(group) is State.SYNCING
    assert set(group.members) == {first.member_id, third.member_id}
    assert second.heartbeat(32.0) is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_leader_that_never_assigns_is_removed() -> None:
    group, (first, second) = stable(2, session_s=600.0)
    first.join(1.0)
    second.join(1.0)
    leader, other = (first, second) if first.leads else (second, first)
    other.sync(2.0)
    assert group.expire(31.5) == [leader.member_id]
    assert other.synced[-1].code is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_member_that_leaves_makes_room_at_once() -> None:
    group, (first, second) = stable(2)
    assert group.leave(second.member_id, 1.0) is ErrorCode.NONE
    assert first.heartbeat(1.1) is ErrorCode.REBALANCE_IN_PROGRESS
    first.join(1.2)
    assert first.joined[-1].code is ErrorCode.NONE
    assert group.leave(first.member_id, 2.0) is ErrorCode.NONE
    assert state_of(group) is State.EMPTY


def test_who_comes_during_the_assignment_makes_everyone_join_again() -> None:
    group = Group("scorers")
    first, second = Member(group), Member(group)
    first.join(0.0)
    assert state_of(group) is State.SYNCING
    second.join(0.1)
    assert state_of(group) is State.JOINING
    first.sync(0.2, {})
    assert first.synced[-1].code is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_member_whose_answer_was_lost_is_told_again_without_a_rebalance() -> None:
    group, (first, second) = stable(2)
    follower = second if first.leads else first
    generation = group.generation
    follower.join(1.0)
    assert follower.joined[-1].generation == generation
    assert state_of(group) is State.STABLE


def test_an_id_is_promised_before_a_member_joins_and_forgotten_when_it_is_not_used() -> None:
    group, (first,) = stable(1, session_s=60.0)
    ghost = Member(group, session_s=5.0)
    ghost.join(0.0, promised=True)
    assert [answer.code for answer in ghost.joined] == [ErrorCode.MEMBER_ID_REQUIRED]
    assert state_of(group) is State.STABLE, "a client that dies now disturbs nobody"
    group.expire(5.1)
    ghost.join(6.0)
    assert ghost.joined[-1].code is ErrorCode.UNKNOWN_MEMBER_ID
    living = Member(group)
    living.join(7.0, promised=True)
    living.join(7.1, promised=True)
    first.join(7.2)
    assert living.joined[-1].code is ErrorCode.NONE


def test_a_static_member_comes_back_into_its_place_and_fences_its_double() -> None:
    group = Group("scorers")
    first, second = Member(group, "scorer-0"), Member(group, "scorer-1")
    first.join(0.0)
    first.sync(0.0, {first.member_id: b""})
    second.join(0.0)
    settle([first, second], 0.0)
    generation, share = group.generation, second.synced[-1].assignment
    again = Member(group, "scorer-1")
    again.join(1.0)
    again.sync(1.0)
    assert (again.joined[-1].generation, again.synced[-1].assignment) == (generation, share)
    assert not again.leads
    second.sync(2.0)
    assert second.synced[-1].code is ErrorCode.FENCED_INSTANCE_ID
    assert second.heartbeat(2.0) is ErrorCode.UNKNOWN_MEMBER_ID
    assert first.heartbeat(2.0) is ErrorCode.NONE


def test_a_group_that_speaks_another_assignment_protocol_is_refused() -> None:
    group, _ = stable(1)
    stranger = Member(group)
    stranger.join(1.0, protocols=("sticky",))
    assert stranger.joined[-1].code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert state_of(group) is State.STABLE


@pytest.mark.parametrize("session_s", [0.0, 0.01, 99_999.0])
def test_an_absurd_session_timeout_is_refused(session_s: float) -> None:
    member = Member(Group("scorers"), session_s=session_s)
    member.join(0.0)
    assert member.joined[-1].code is ErrorCode.INVALID_SESSION_TIMEOUT


def test_only_the_current_generation_commits() -> None:
    group, (first, second) = stable(2)
    offsets = {PLACE: Committed(5, "")}
    assert group.commit(first.member_id, group.generation, offsets, 1.0) is ErrorCode.NONE
    assert group.commit(first.member_id, group.generation - 1, offsets, 1.0) is ErrorCode.ILLEGAL_GENERATION
    assert group.commit("stranger", group.generation, offsets, 1.0) is ErrorCode.UNKNOWN_MEMBER_ID
    assert group.commit("", -1, offsets, 1.0) is ErrorCode.UNKNOWN_MEMBER_ID
    first.join(2.0)
    second.join(2.0)
    assert group.commit(first.member_id, group.generation, offsets, 2.0) is ErrorCode.REBALANCE_IN_PROGRESS


def test_a_pause_of_the_broker_costs_nobody_its_place() -> None:
    group, members = stable(2, session_s=6.0)
    group.postpone(100.0)
    assert group.expire(105.0) == []
    assert group.expire(106.5) == [member.member_id for member in members]


def test_when_the_room_is_full_the_group_that_is_empty_the_longest_goes() -> None:
    groups = Groups(max_groups=2)
    old, new = groups.open("old", 0.0), groups.open("new", 1.0)
    assert old is not None
    assert new is not None
    assert groups.open("third", 2.0) is not None
    assert (groups.get("old"), groups.get("new")) == (None, new)
    Member(new).join(3.0)
    third = groups.get("third")
    assert third is not None
    Member(third).join(3.0)
    assert groups.open("fourth", 4.0) is None


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["join", "sync", "heartbeat", "leave", "wait"]), st.integers(0, 3)), max_size=60
)


@given(ACTIONS)
def test_no_order_of_events_breaks_a_group_or_leaves_a_living_one_stuck(actions: list[tuple[str, int]]) -> None:
    group, now = Group("scorers"), 0.0
    members = [Member(group, session_s=5.0) for _ in range(4)]
    generation = 0
    for action, who in actions:
        member = members[who]
        now += 0.5
        if action == "join":
            member.join(now)
            if member.joined and member.joined[-1].code is ErrorCode.UNKNOWN_MEMBER_ID:
                member.member_id = ""
        elif action == "wait":
            now += 3.0
            group.expire(now)
        elif member.joined and member.joined[-1].generation >= 0:
            if action == "sync":
                member.sync(now, {one: one.encode() for one in group.members})
            elif action == "heartbeat":
                member.heartbeat(now)
            else:
                group.leave(member.member_id, now)
        assert group.generation >= generation
        assert (group.state is State.EMPTY) <= (not group.members)
        assert group.state not in {State.STABLE, State.SYNCING} or group.leader in group.members
        generation = group.generation
    for _ in range(40):
        now += 5.0
        group.expire(now)
    assert state_of(group) is State.EMPTY, "when everyone has gone silent the group comes to rest"
    assert not group.members
