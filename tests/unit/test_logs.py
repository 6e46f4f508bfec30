"""Logs an operator can live with: whole for machines, readable for people, and libraries do not flood them."""

import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider

from neverblink.telemetry import logs
from neverblink.telemetry.library_voice import FIRST_LINES, PERIOD_S, LibraryVoice


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("neverblink")
    before = root.handlers[:], root.level, own.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


def outage(voice: LibraryVoice, at: list[float], seconds: float, a_second: int) -> list[str]:
    """Log what a Kafka client logs while its broker is away; return the lines that come through."""
    seen = []
    templates = (
        "Unable connect to node with id %s: [Errno 111] Connect call failed",
        "Unable to update metadata from %s",
    )
    for number in range(int(seconds * a_second)):
        at[0] += 1 / a_second
        record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, templates[number % 2], (number,), None)
        if voice.filter(record):
            seen.append(record.getMessage())
    return seen


def test_an_outage_of_twenty_seconds_is_told_in_fewer_than_ten_lines() -> None:
    seen = outage(LibraryVoice("neverblink", clock=lambda: at[0]), at := [0.0], 21, 56)
    assert 1 <= len(seen) <= FIRST_LINES < 10


def test_an_outage_that_goes_on_is_summed_up_now_and_then_and_nothing_is_uncounted() -> None:
    at = [0.0]
    seen = outage(LibraryVoice("neverblink", clock=lambda: at[0]), at, 601, 10)
    assert len(seen) == FIRST_LINES + 600 // PERIOD_S
    assert (
        sum(int(line.split("(and ")[1].split()[0]) for line in seen if "(and " in line) + len(seen)
        >= 6010 - 10 * PERIOD_S
    )


def test_a_library_that_was_quiet_may_speak_again() -> None:
    at = [0.0]
    voice = LibraryVoice("neverblink", clock=lambda: at[0])
    assert len(outage(voice, at, 5, 10)) == FIRST_LINES
    at[0] += 10 * PERIOD_S
    assert len(outage(voice, at, 5, 10)) == FIRST_LINES


def test_our_own_sentences_are_never_held_back(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up_logs("test")
    for number in range(100):
        logs.logger("bridge").warning(f"part {number} was not told")
    assert len(capsys.readouterr().err.splitlines()) == 100


def test_a_line_that_belongs_to_a_part_carries_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up_logs("test")
    with TracerProvider().get_tracer("test").start_as_current_span("a part") as span:
        logs.logger("scorer").warning("part 7 is late")
    entry = json.loads(capsys.readouterr().err)
    assert entry["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert entry["span_id"] == f"{span.get_span_context().span_id:016x}"


def test_the_environment_chooses_level_and_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEVERBLINK_LOG_LEVEL", "error")
    monkeypatch.setenv("NEVERBLINK_LOG_FORMAT", "text")
    logs.set_up_logs("test")
    logs.logger("bridge").warning("not shown")
    logs.logger("bridge").error("line-1 is \x1b[31mdown", extra={"fields": {"line": "line-1"}})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("error   bridge: line-1 is \\x1b[31mdown line=line-1")


def test_what_the_environment_has_wrong_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEVERBLINK_LOG_LEVEL", "loud")
    monkeypatch.setenv("NEVERBLINK_LOG_FORMAT", "xml")
    logs.set_up_logs("test")
    said = [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "NEVERBLINK_LOG_LEVEL is 'loud', and there are debug, info, warning, error: info it is",
        "NEVERBLINK_LOG_FORMAT is 'xml', and there are json and text",
    ]
