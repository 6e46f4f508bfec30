"""A holdout that passed looks like any other part that waits: an answer that follows the machine says nothing of it."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from neverblink.cli.reviews import _table, _told_counts, _told_taken
from neverblink.records.questions.review_queue import Judged, Waiting, WaitingCount
from neverblink.records.review_severity import LOOK, Severity
from neverblink.reviewing import Taken

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ALIKE = [Severity.UNSURE, Severity.HOLDOUT, Severity.SHADOW_DISAGREEMENT, Severity.SECOND_LOOK]


def waiting(severity: Severity, ratio: float = 0.31, decision: str = "pass") -> Waiting:
    judged = Judged("v-1", "f-1", "line-1", "top", "pcb", "1-7", decision, None, ratio, NOON, 7, None)
    return Waiting(judged, severity, "first")


def listed(row: Waiting) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(_table((row,)))
    return out.getvalue()


@pytest.mark.parametrize("severity", ALIKE)
def test_the_queue_and_the_desk_show_a_holdout_as_they_show_what_is_no_holdout(severity: Severity) -> None:
    one, other = waiting(severity, ratio=0.97), waiting(Severity.HOLDOUT, ratio=0.12)
    assert listed(one) == listed(other)
    for told in (listed(other), _told_taken(Taken(other.judged, other.severity, "first", NOON, (), ()))):
        assert LOOK in told
        assert not any(word in told for word in ("holdout", "pass", "0.12", "threshold"))


def test_a_reject_is_shown_with_what_was_decided() -> None:
    assert "reject at 1.40 of threshold" in listed(waiting(Severity.REJECT, 1.4, "reject"))


def test_the_counts_say_how_many_wait_and_not_how_many_are_holdouts() -> None:
    counts = [WaitingCount(Severity.REJECT, 3, False), WaitingCount(Severity.UNSURE, 2, False)]
    assert _told_counts((*counts, WaitingCount(Severity.HOLDOUT, 2000, True))) == "3 reject, 2002 or more look"
