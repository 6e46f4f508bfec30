"""GateRing is read as state: each part once, after its confirmation, and what was overwritten is counted."""

from hypothesis import given
from hypothesis import strategies as st

from neverblink.bridge.gate_feedback import CONFIRM_WAIT_S, GateFeedback
from neverblink.events import GateAction
from neverblink.plc.contract import GATE_RING, Confirm, GateCode
from neverblink.plc.word import encode_gate


class Ring:
    """The PLC's ring."""

    def __init__(self) -> None:
        self.words = [0] * GATE_RING

    def put(
        self, number: int, action: GateCode = GateCode.PASSED, confirm: Confirm = Confirm.SEEN, epoch: int = 1
    ) -> "Ring":
        self.words[number % GATE_RING] = encode_gate(epoch, number, action, confirm)
        return self


def test_a_confirmed_part_is_told_once() -> None:
    feedback, ring = GateFeedback(), Ring().put(5, GateCode.REJECTED)
    events, _ = feedback.read(ring.words, 1, 9, 0.0)
    assert [(event.number, event.reported) for event in events] == [(5, GateAction.REJECTED)]
    assert feedback.read(ring.words, 1, 9, 0.1) == ([], 0)


def test_an_unconfirmed_part_waits_for_its_sensor() -> None:
    feedback, ring = GateFeedback(), Ring().put(5, GateCode.REJECTED, Confirm.PENDING)
    assert feedback.read(ring.words, 1, 9, 0.0) == ([], 0)
    ring.put(5, GateCode.REJECTED, Confirm.FAILED)
    (event,), _ = feedback.read(ring.words, 1, 9, 0.1)
    assert (event.action, event.reported) == (GateAction.REJECTED, GateAction.CONFIRM_FAIL)


def test_a_sensor_that_never_speaks_does_not_silence_the_part() -> None:
    feedback, ring = GateFeedback(), Ring().put(5, GateCode.PASSED, Confirm.PENDING)
    feedback.read(ring.words, 1, 9, 0.0)
    (event,), _ = feedback.read(ring.words, 1, 9, CONFIRM_WAIT_S)
    assert event.reported is GateAction.PASSED


def test_an_overwritten_unconfirmed_part_is_told_as_it_was_seen() -> None:
    feedback, ring = GateFeedback(), Ring().put(5, GateCode.PASSED, Confirm.PENDING)
    feedback.read(ring.words, 1, 9, 0.0)
    ring.put(5 + GATE_RING)
    events, _ = feedback.read(ring.words, 1, 30, 0.1)
    assert [event.number for event in events] == [5, 21]


def test_entries_of_an_older_epoch_are_left_alone() -> None:
    assert GateFeedback().read(Ring().put(5, epoch=1).words, 2, 9, 0.0) == ([], 0)


def test_entries_ahead_of_a_reset_counter_are_left_alone() -> None:
    assert GateFeedback().read(Ring().put(500).words, 1, 9, 0.0) == ([], 0)


def test_what_was_overwritten_unseen_is_counted() -> None:
    feedback, ring = GateFeedback(), Ring().put(1)
    feedback.read(ring.words, 1, 1, 0.0)
    for number in range(2, 41):
        ring.put(number)
    events, lost = feedback.read(ring.words, 1, 40, 1.0)
    assert [event.number for event in events] == list(range(25, 41))
    assert lost == 39 - GATE_RING


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_told_and_lost_together_are_all_parts_and_none_is_told_twice(steps: list[int], start: int) -> None:
    feedback, ring, last, told, lost = GateFeedback(), Ring(), start, [], 0
    ring.put(start)
    first, _ = feedback.read(ring.words, 1, start, 0.0)
    told += [event.number for event in first]
    for step in steps:
        for _ in range(step):
            last = (last + 1) % 2**32
            ring.put(last)
        events, missing = feedback.read(ring.words, 1, last, 0.0)
        told += [event.number for event in events]
        lost += missing
    assert len(told) == len(set(told))
    assert len(told) + lost == 1 + sum(steps)
