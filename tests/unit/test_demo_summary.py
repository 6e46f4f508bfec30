"""How a demonstration ends: a part that the PLC rejected by itself is safe, one that it let by never is."""

from typing import Any

import pytest

from neverblink.demo.board import LineState
from neverblink.demo.stream import simulated_streams
from neverblink.demo.summary import Ending, ending_of, outcome_of
from neverblink.events import Decision, Verdict
from neverblink.events.examples import examples

(EXAMPLE,) = (event for event in examples() if type(event) is Verdict)
PASS, REJECT = 1, 2


def ended(*parts: tuple[Decision | None, str, int], incidents: int = 0) -> Ending:
    """Return how it ends with 40 parts that go well and these: decision, what the gate did, the code it read."""
    stream, _ = simulated_streams()
    state, entries = LineState(), []
    for number, (decision, action, code) in enumerate((*parts, *[(Decision.PASS, "passed", PASS)] * 40), 1):
        entry: dict[str, Any] = {"line": stream.line, "epoch": 1, "number": number, "action": action, "code": code}
        entries.append(entry)
        if decision is not None:
            state.verdicts[f"{stream.line}/1/{number}"] = EXAMPLE.model_copy(update={"decision": decision})
    return ending_of([outcome_of(stream, entries, state)], incidents)


def test_all_as_the_verdicts_say_is_good() -> None:
    found = ended((Decision.REJECT, "rejected", REJECT))
    assert found == Ending(("gate decisions equal to the verdicts: 41 of 41; parts without verdict: 0",), True)


def test_fail_safe_parts_are_told_with_number_and_reason_and_are_no_fault() -> None:
    found = ended((Decision.PASS, "fail-safe", 0), (Decision.PASS, "stale", PASS))
    assert found.good
    assert "40 of 42" in found.sentences[0]
    assert "by itself: 2 of 42 (no word in time 1, word of another part 1); at most 5%" in found.sentences[1]
    assert "no sign of life from the bridge 1" in ended((Decision.PASS, "fail-safe", PASS)).sentences[1]


def test_a_reject_that_the_plc_threw_away_by_itself_is_as_the_verdict_says() -> None:
    found = ended(*[(Decision.REJECT, "fail-safe", 0)] * 9)
    assert found.good
    assert "49 of 49" in found.sentences[0]


def test_more_fail_safe_parts_than_a_busy_machine_may_cost_are_a_fault() -> None:
    found = ended(*[(Decision.PASS, "fail-safe", 0)] * 3)
    assert not found.good
    assert "3 of 43 (no word in time 3); more than the 5%" in found.sentences[1]


@pytest.mark.parametrize("decision", [Decision.REJECT, Decision.UNSCORED, None])
def test_a_gate_that_passes_what_was_not_to_pass_is_always_a_fault(decision: Decision | None) -> None:
    found = ended((decision, "passed", PASS))
    assert not found.good
    assert "passed by a gate although they were not to pass: 1" in found.sentences[1]


def test_what_the_bridge_saw_let_by_is_a_fault_too() -> None:
    assert not ended(incidents=1).good


def test_a_good_part_that_is_rejected_although_told_to_pass_is_a_fault() -> None:
    found = ended((Decision.PASS, "rejected", REJECT), (Decision.PASS, "confirm-fail", PASS))
    assert not found.good
    assert "although it was told to pass them: 2" in found.sentences[1]


def test_a_part_without_a_verdict_and_a_demonstration_without_parts_are_faults() -> None:
    assert not ended((None, "fail-safe", 0)).good
    assert not ending_of([], 0).good
