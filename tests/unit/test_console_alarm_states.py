"""The states of an alarm: whatever its source says and people do, nothing that wants somebody is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from neverblink.console.alarms.state import (
    LONGEST_SHELF,
    Alarm,
    AlarmError,
    Priority,
    Stage,
    State,
    acknowledged,
    looked,
    shelved,
    unshelved,
)

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
causes = st.dictionaries(st.sampled_from("abc"), st.sampled_from(Priority), max_size=3)


class Operation(RuleBasedStateMachine):
    """An operator, a source and the clock, in any order; what a person must know of is counted beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.alarm = Alarm()
        self.stands: dict[str, Priority] = {}
        self.unseen = False
        """Something has been raised or has worsened that nobody has acknowledged or shelved."""

    @rule(stands=causes, went=causes)
    def look(self, stands: dict[str, Priority], went: dict[str, Priority]) -> None:
        before, ended = self.alarm, self.alarm.shelved_until is not None and self.now >= self.alarm.shelved_until
        self.alarm, steps = looked(before, stands, self.now, went)
        shelf = before.shelved_until is not None and not ended
        new = stands.keys() - before.causes or went.keys() - stands.keys()
        if not shelf and (new or (ended and before.causes)):
            self.unseen = True
        self.stands = stands
        assert any(step.calls for step in steps) is (self.alarm.rounds > before.rounds)
        if shelf:
            assert not any(step.calls for step in steps), "what is shelved calls nobody"
        again, nothing = looked(self.alarm, stands, self.now)
        assert (again, nothing) == (self.alarm, ()), "a look that finds nothing new changes nothing"
        if any(step.stage is Stage.ESCALATED and step.calls for step in steps):
            self.unseen = True

    @rule()
    def acknowledge(self) -> None:
        if self.alarm.shelved_until is None:
            self.alarm, _ = acknowledged(self.alarm, self.alarm.rounds)
            self.unseen = False

    @rule(hours=st.integers(1, 48))
    def shelve(self, hours: int) -> None:
        if self.alarm.state is not State.NORMAL:
            self.alarm, _ = shelved(self.alarm, self.now + hours * HOUR, "the belt is being mended", self.now)
            self.unseen = False

    @rule()
    def unshelve(self) -> None:
        called = self.alarm.shelved_until is not None and bool(self.alarm.causes)
        self.alarm, _ = unshelved(self.alarm)
        self.unseen = self.unseen or called

    @rule(hours=st.integers(1, 30))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR

    @invariant()
    def no_person_makes_a_cause_go_away(self) -> None:
        assert self.alarm.causes == self.stands.keys()

    @invariant()
    def what_nobody_has_seen_is_never_normal_and_never_quiet(self) -> None:
        assert self.unseen is (self.alarm.state in {State.UNACKNOWLEDGED, State.RETURNED})

    @invariant()
    def it_is_normal_only_with_no_cause_and_nothing_to_acknowledge(self) -> None:
        normal = self.alarm.state is State.NORMAL
        assert normal is (not self.alarm.causes and self.alarm.acknowledged and self.alarm.shelved_until is None)

    @invariant()
    def every_shelf_has_an_end(self) -> None:
        until = self.alarm.shelved_until
        assert until is None or until <= self.now + LONGEST_SHELF

    @invariant()
    def the_priority_is_at_least_that_of_what_stands(self) -> None:
        assert self.alarm.priority >= max(self.stands.values(), default=Priority.LOW)


TestOperation = Operation.TestCase
TestOperation.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def raised(*names: str, priority: Priority = Priority.MEDIUM) -> Alarm:
    return looked(Alarm(), dict.fromkeys(names, priority), NOW)[0]


def test_what_is_raised_stays_on_the_list_when_its_cause_is_gone_until_somebody_has_seen_it() -> None:
    alarm = raised("a")
    assert alarm.state is State.UNACKNOWLEDGED
    alarm, [step] = looked(alarm, {}, NOW)
    assert (alarm.state, step.stage) == (State.RETURNED, Stage.RETURNED)
    alarm, _ = acknowledged(alarm, alarm.rounds)
    assert alarm.state is State.NORMAL
    assert alarm.priority is Priority.LOW


def test_what_came_and_went_between_two_looks_is_told_as_well() -> None:
    alarm, steps = looked(Alarm(), {}, NOW, {"a": Priority.HIGH})
    assert [step.stage for step in steps] == [Stage.RAISED, Stage.RETURNED]
    assert alarm.state is State.RETURNED
    assert alarm.priority is Priority.HIGH


def test_one_more_cause_and_a_higher_priority_call_anew() -> None:
    alarm, _ = acknowledged(raised("a"), 1)
    assert alarm.state is State.ACKNOWLEDGED
    again, [step] = looked(alarm, {"a": Priority.MEDIUM, "b": Priority.LOW}, NOW)
    assert (again.state, step.source, step.calls) == (State.UNACKNOWLEDGED, "b", True)
    worse, [step] = looked(alarm, {"a": Priority.URGENT}, NOW)
    assert (worse.state, worse.priority, step.stage) == (State.UNACKNOWLEDGED, Priority.URGENT, Stage.ESCALATED)


def test_nobody_acknowledges_what_has_called_again_since_it_was_seen() -> None:
    alarm, _ = looked(raised("a"), {"a": Priority.MEDIUM, "b": Priority.MEDIUM}, NOW)
    with pytest.raises(AlarmError, match="called again"):
        acknowledged(alarm, 1)
    assert acknowledged(alarm, 2)[0].state is State.ACKNOWLEDGED


def test_a_shelf_ends_by_itself_and_what_still_stands_calls_anew() -> None:
    alarm, _ = shelved(raised("a"), NOW + HOUR, "the belt is being mended", NOW)
    assert alarm.state is State.SHELVED
    with pytest.raises(AlarmError, match="off the shelf"):
        acknowledged(alarm, alarm.rounds)
    alarm, steps = looked(alarm, {"a": Priority.MEDIUM, "b": Priority.HIGH}, NOW + HOUR / 2)
    assert not any(step.calls for step in steps)
    alarm, [step] = looked(alarm, {"a": Priority.MEDIUM, "b": Priority.HIGH}, NOW + HOUR)
    assert (alarm.state, step.stage, step.calls) == (State.UNACKNOWLEDGED, Stage.UNSHELVED, True)
    gone = replace(alarm, causes=frozenset(), shelved_until=NOW + HOUR, acknowledged=True)
    assert looked(gone, {}, NOW + HOUR)[0].state is State.NORMAL


@pytest.mark.parametrize(
    ("span", "reason", "said"),
    [
        (HOUR, " ", "say why"),
        (HOUR, "x" * 301, "say why"),
        (timedelta(0), "why", "at most"),
        (LONGEST_SHELF + HOUR, "why", "at most"),
    ],
)
def test_a_shelf_needs_a_reason_and_an_end(span: timedelta, reason: str, said: str) -> None:
    with pytest.raises(AlarmError, match=said):
        shelved(raised("a"), NOW + span, reason, NOW)


def test_what_does_not_stand_cannot_be_shelved() -> None:
    with pytest.raises(AlarmError, match="nothing to shelve"):
        shelved(Alarm(), NOW + HOUR, "why", NOW)
