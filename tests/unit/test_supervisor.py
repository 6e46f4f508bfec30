"""A task that ends without having been told to is never taken for a good end."""

import asyncio
import importlib.util
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from neverblink.service_life.back_off import BackOff
from neverblink.service_life.standing import Standing
from neverblink.service_life.supervisor import Duty, DutyEndedError, Ending, end_all, supervise

wait_for2: Any = importlib.import_module("wait_for2") if importlib.util.find_spec("wait_for2") else None
with_wait_for2 = pytest.mark.skipif(wait_for2 is None, reason="the OPC UA client needs it before Python 3.12 alone")


def soon() -> BackOff:
    return BackOff(0.001, 0.002)


async def answer_meets_time_out() -> None:
    """End as an OPC UA session on a busy loop: the answer and the enclosing time-out come in one turn."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(0.02):
        answer = loop.create_future()
        loop.call_later(0.015, answer.set_result, "answer")
        loop.call_later(0.005, time.sleep, 0.05)
        await wait_for2.wait_for(answer, 5)


async def returns() -> None:
    await asyncio.sleep(0)


async def raises() -> None:
    raise OSError("the wire is cut")


async def is_cancelled() -> None:
    raise asyncio.CancelledError


async def told(endings: list[Ending], work: Callable[[], Awaitable[object]], times: int = 3) -> None:
    stop = asyncio.Event()

    def ended(ending: Ending) -> None:
        endings.append(ending)
        if len(endings) == times:
            stop.set()

    async with asyncio.timeout(10):
        await supervise("test", [Duty("line-1", work, back_off=soon())], stop, ended=ended)


@pytest.mark.parametrize(
    ("work", "how"),
    [(returns, "returned"), (raises, "failed"), (is_cancelled, "was cancelled")],
)
async def test_however_a_duty_ends_it_is_counted_and_begun_again(
    work: Callable[[], Awaitable[object]], how: str
) -> None:
    endings: list[Ending] = []
    await told(endings, work)
    assert [ending.how for ending in endings] == [how] * 3
    assert [ending.times for ending in endings] == [1, 2, 3]


@with_wait_for2
async def test_an_answer_that_meets_its_time_out_does_not_end_a_line() -> None:
    endings: list[Ending] = []
    await told(endings, answer_meets_time_out, times=2)
    assert len(endings) == 2


async def test_the_error_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    await told([], is_cancelled, times=1)
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert "nobody had cancelled it" in record.getMessage()
    assert record.exc_info is not None
    assert "is_cancelled" in caplog.text


async def test_one_duty_that_fails_costs_the_others_nothing() -> None:
    stop, turns = asyncio.Event(), 0

    async def works() -> None:
        nonlocal turns
        while not stop.is_set():
            turns += 1
            await asyncio.sleep(0.001)

    ends = 0

    def ended(_: Ending) -> None:
        nonlocal ends
        ends += 1
        if ends == 5:
            stop.set()

    await supervise("test", [Duty("a", raises, back_off=soon()), Duty("b", works)], stop, ended=ended)
    assert turns >= 5


async def test_a_duty_that_cannot_begin_again_ends_the_service_with_an_error() -> None:
    stop, others_stopped = asyncio.Event(), False

    async def other() -> None:
        nonlocal others_stopped
        await stop.wait()
        others_stopped = True

    with pytest.raises(DutyEndedError, match="verdicts failed after"):
        await supervise("test", [Duty("verdicts", raises, again=False), Duty("line-1", other)], stop)
    assert others_stopped


async def test_a_duty_that_may_finish_finishes() -> None:
    async with asyncio.timeout(5):
        await supervise("test", [Duty("folder", returns, may_finish=True)], asyncio.Event())


async def test_a_duty_that_does_not_stop_is_ended_after_its_grace() -> None:
    stop = asyncio.Event()
    began = time.monotonic()

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if time.monotonic() - began > 0.3:
                    raise

    asyncio.get_running_loop().call_later(0.05, stop.set)
    async with asyncio.timeout(10):
        await supervise("test", [Duty("stubborn", stubborn)], stop, grace_s=0.1)


async def test_a_cancellation_from_outside_is_one() -> None:
    stop, cancelled = asyncio.Event(), False

    async def works() -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise

    task = asyncio.create_task(supervise("test", [Duty("line-1", works)], stop))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled()
    assert cancelled


async def test_ending_tasks_reads_their_errors() -> None:
    task = asyncio.create_task(raises())
    await asyncio.sleep(0)
    await end_all([task])
    assert task.done()


def test_a_service_is_ready_when_each_of_its_parts_is_and_says_what_is_not() -> None:
    said: list[str] = []
    now = [0.0]
    standing = Standing(
        "bridge",
        clock=lambda: now[0],
        tell_ready=lambda _, **__: said.append("ready"),
        tell_unready=lambda _, sentence, **__: said.append(sentence),
    )

    def at(when: float, **parts: str | None) -> list[str]:
        now[0] = when
        before = len(said)
        standing.update(parts)
        return said[before:]

    assert at(0, top=None, database="it is opened") == []
    assert at(0.5, top=None, database=None) == ["ready"]
    assert at(1, top=None, database="no answer") == []  # a moment's trouble is nobody's business
    assert at(1.5, top=None, database=None) == []
    assert at(2, top=None, database="no answer") == []
    lasting = "bridge does a part of its work only. database: no answer"
    assert at(3.1, top=None, database="no answer") == [lasting]
    assert at(200, top=None, database="no answer") == []
    assert at(304, top=None, database="no answer") == [lasting]
    assert at(305, top=None, database=None) == ["ready"]
