"""What goes on happening is told when it begins and counted from then on: an outage is a few lines, not one a part."""

import asyncio
import logging

import pytest

from neverblink.telemetry import Recurring, recurring
from neverblink.telemetry.recurring import PERIOD_S

LOG = logging.getLogger("neverblink.recurring-test")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]


def test_an_outage_of_ten_minutes_is_a_line_a_minute_and_no_part_is_uncounted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = [0.0]
    parts = Recurring(LOG, clock=lambda: at[0])
    for number in range(6000):
        parts.tell("broker-away", f"part {number} is not scored")
        at[0] += 0.1
    lines = told(caplog)
    assert len(lines) == 10
    counted = sum(int(line.split("(and ")[1].split()[0]) for line in lines if "(and " in line) + len(lines)
    assert counted >= 6000 - 10 * PERIOD_S
    assert lines[0] == "part 0 is not scored"


def test_another_cause_is_told_at_once_and_each_part_at_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOG.name)
    parts = Recurring(LOG, clock=lambda: 0.0)
    for number in range(5):
        parts.tell("late", f"part {number} is late", fields={"line": "line-1"})
        parts.tell("too-dark", f"part {number} is too dark", level=logging.ERROR)
    assert told(caplog) == ["part 0 is late", "part 0 is too dark"]
    assert len(caplog.records) == 10
    assert {record.fields["line"] for record in caplog.records if "late" in record.getMessage()} == {"line-1"}  # type: ignore[attr-defined]


async def test_how_many_there_were_is_told_even_if_nothing_more_happens(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurring, "PERIOD_S", 0.05)
    parts = Recurring(LOG, clock=lambda: 0.0)
    for number in range(4):
        parts.tell("late", f"part {number} is late")
    async with asyncio.timeout(20):
        while len(told(caplog)) < 2:  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.01)
    assert told(caplog)[1].startswith("3 more like this")


def test_a_flood_of_kinds_takes_no_memory_without_end() -> None:
    parts = Recurring(LOG, clock=lambda: 0.0)
    for number in range(10_000):
        parts.tell(number, "something else")
    assert len(parts._told) <= 256


def test_a_mistake_in_a_program_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    Recurring(LOG).tell("bug", "a part could not be scored", error=ZeroDivisionError("here"))
    assert "ZeroDivisionError: here" in caplog.text
