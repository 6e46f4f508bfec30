"""A line on hold: whose word counts, which parts it is about, and what is told of them."""

from datetime import UTC, datetime

import pytest

from neverblink.bridge.line_hold import SKEW_S, LineHold
from neverblink.bridge.scheduler import Order, PlcView, Scheduler
from neverblink.bridge.write_budget import WriteBudget
from neverblink.events import Hold
from neverblink.events.hold import BYPASS, HELD, PEOPLE, PLC, RELEASED
from neverblink.plc.contract import Code


def said(state: str, at: float = 0.0, source: str = PEOPLE) -> Hold:
    moment = datetime.fromtimestamp(at, UTC)
    return Hold(id=f"{source}-{state}-{at}", line="line-1", source=source, state=state, at=moment, by="m.okafor")


def test_a_line_is_on_hold_while_people_or_the_plc_say_so() -> None:
    hold = LineHold("line-1")
    hold.heard(said(HELD), 10.0)
    hold.asked(1, 11.0)
    hold.heard(said(RELEASED), 12.0)
    assert hold.is_held, "the PLC has not let go"
    hold.asked(0, 13.0)
    assert not hold.is_held


def test_a_part_that_was_on_the_belt_during_a_hold_stays_held_when_its_verdict_comes_after_it() -> None:
    hold = LineHold("line-1")
    hold.heard(said(HELD), 10.0)
    hold.heard(said(RELEASED), 20.0)
    assert hold.covers(9.0)
    assert hold.covers(19.9)
    assert not hold.covers(20.0 + SKEW_S + 0.01)


def test_a_bridge_that_begins_just_after_a_release_holds_the_parts_from_before_it() -> None:
    hold = LineHold("line-1")
    hold.heard(said(RELEASED, at=20.0), 20.5)
    assert hold.covers(19.0)
    assert not hold.covers(20.4)


@pytest.mark.parametrize("value", [1, 3, 65535])
def test_a_word_of_the_plc_that_nobody_knows_is_a_hold(value: int) -> None:
    hold = LineHold("line-1")
    news = hold.asked(value, 5.0)
    assert hold.is_held
    assert news is not None
    assert (news.source, news.state, news.key) == (PLC, HELD, "line-1/plc")


def test_what_the_plc_says_is_told_when_it_changes_and_never_where_it_has_no_such_node() -> None:
    hold = LineHold("line-1")
    assert hold.asked(None, 1.0) is None
    told = [hold.asked(value, 2.0 + index) for index, value in enumerate((0, 0, 2, 2, 1, 0))]
    assert [None if one is None else one.state for one in told] == [RELEASED, None, BYPASS, None, HELD, RELEASED]


def test_a_bridge_that_restarts_does_not_tell_again_what_the_topic_has() -> None:
    hold = LineHold("line-1")
    hold.heard(said(BYPASS, source=PLC), 1.0)
    assert not hold.is_held
    assert hold.asked(2, 2.0) is None
    gone = hold.asked(None, 3.0)
    assert gone is not None
    assert gone.state == RELEASED


def test_a_gate_is_taken_to_have_been_in_bypass_for_the_parts_that_passed_it_just_before_the_end() -> None:
    hold = LineHold("line-1")
    hold.asked(2, 5.0)
    hold.asked(0, 6.0)
    assert hold.bypassed(since=5.5)
    assert not hold.bypassed(since=6.1)


def order(number: int, code: int) -> Order:
    return Order(3, number, code, deadline=100.0, accepted=1.0)


def test_no_pass_is_written_after_the_hold_is_known_and_a_reject_stays_one() -> None:
    scheduler = Scheduler(WriteBudget(0.01, 0.05))
    scheduler.look(PlcView(3, 20, 64, 0.0), 1.0)
    for number, code in ((1, Code.PASS), (2, Code.REJECT), (3, Code.UNSURE)):
        scheduler.submit(order(number, code), 1.0)
    scheduler.hold(True)
    write = scheduler.next_write(2.0)
    assert write is not None
    assert {one.number: one.code for one in write.orders} == {1: Code.HELD, 2: Code.REJECT, 3: Code.HELD}


@pytest.mark.parametrize("how", ["unanswered", "disconnected"])
def test_a_pass_whose_write_was_not_answered_is_told_again_as_held(how: str) -> None:
    scheduler = Scheduler(WriteBudget(0.01, 0.05))
    scheduler.look(PlcView(3, 20, 64, 0.0), 1.0)
    scheduler.submit(order(1, Code.PASS), 1.0)
    write = scheduler.next_write(2.0)
    assert write is not None
    scheduler.hold(True)
    if how == "unanswered":
        scheduler.unanswered(write, 0.05, 2.1)
    else:
        scheduler.disconnected()
        scheduler.look(PlcView(3, 20, 64, 2.2), 2.2)
    again = scheduler.next_write(2.3)
    assert again is not None
    assert [one.code for one in again.orders] == [Code.HELD]


def test_a_pass_that_the_plc_confirms_although_the_hold_came_meanwhile_is_reported_as_what_it_was() -> None:
    scheduler = Scheduler(WriteBudget(0.01, 0.05))
    scheduler.look(PlcView(3, 20, 64, 0.0), 1.0)
    scheduler.submit(order(1, Code.PASS), 1.0)
    write = scheduler.next_write(2.0)
    assert write is not None
    scheduler.hold(True)
    scheduler.answered(write, {}, 0.01, 2.1)
    assert [told.order.code for told in scheduler.take_settled()] == [Code.PASS]
