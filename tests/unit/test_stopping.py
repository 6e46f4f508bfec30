"""A service that is told to stop ends in time, whatever stands still in it; one that ends untold says so."""

import asyncio
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import pytest

from neverblink.service_life import DutyEndedError, nobody_asked, run_service, time_limit

wait_for2: Any = importlib.import_module("wait_for2") if importlib.util.find_spec("wait_for2") else None
with_wait_for2 = pytest.mark.skipif(wait_for2 is None, reason="the OPC UA client needs it before Python 3.12 alone")


async def an_answer_that_meets_its_time_out() -> None:
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    loop.call_later(0.04, answer.set_result, "answer")
    loop.call_later(0.01, time.sleep, 0.1)  # a busy loop: answer and time-out come in one turn
    await wait_for2.wait_for(answer, 5)


@with_wait_for2
async def test_an_answer_that_meets_our_time_out_is_a_time_out() -> None:
    with pytest.raises(TimeoutError):
        async with time_limit(0.05):
            await an_answer_that_meets_its_time_out()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_within_a_time_limit_stays_one() -> None:
    async def work() -> None:
        async with time_limit(5):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_who_asked_for_a_cancellation_is_known() -> None:
    said: list[bool] = []

    async def by_accident() -> None:
        try:
            raise asyncio.CancelledError
        except asyncio.CancelledError as error:
            said.append(nobody_asked(error))

    async def on_request() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            said.append(nobody_asked(error))
            raise

    await by_accident()
    task = asyncio.create_task(on_request())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert said == [True, False]


async def test_a_service_that_is_cancelled_by_nobody_ends_with_an_error() -> None:
    async def main(_: asyncio.Event) -> None:
        raise asyncio.CancelledError

    with pytest.raises(DutyEndedError, match="nobody had asked"):
        await run_service("test", main)


def told_to_stop(program: str, **environment: str) -> tuple[int, float, str]:
    """Start a program, tell it to stop once it prints `up`; return its exit code, how long it took, and its log."""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        _, log = process.communicate(timeout=60)
        return process.returncode, time.monotonic() - began, log
    finally:
        process.kill()
        process.wait()


STUBBORN = """
import asyncio
from neverblink import telemetry
from neverblink.service_life import run_service
telemetry.setup("test", "site")
async def library():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
async def main(stop):
    kept = asyncio.create_task(library())
    print("up", flush=True)
    await stop.wait()
asyncio.run(run_service("test", main))
"""


def test_a_librarys_task_that_swallows_its_cancellation_holds_up_no_end() -> None:
    """As a Kafka client's does whose broker is gone: the end of the loop would wait for it."""
    code, _, log = told_to_stop(STUBBORN, NEVERBLINK_GRACE_S="30")
    assert code == 0, log
    assert "did not stop within" not in log


BLOCKED = """
import asyncio, threading, time
from neverblink import telemetry
from neverblink.service_life import run_service
telemetry.setup("test", "site")
async def main(stop):
    blocked = asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
    print("up", flush=True)
    await stop.wait()
    await blocked
asyncio.run(run_service("test", main))
"""


def test_a_thread_that_blocks_holds_up_no_end() -> None:
    code, took, log = told_to_stop(BLOCKED, NEVERBLINK_GRACE_S="1.5")
    assert code == 70
    assert took < 10
    assert "did not stop within 1.5 s" in log


TRACED = """
import asyncio
from opentelemetry import trace
from neverblink import telemetry
from neverblink.service_life import run_service
telemetry.setup("test", "site")
async def main(stop):
    with telemetry.tracer("test").start_as_current_span("a part"):
        telemetry.meter("test").create_counter("parts").add(1)
    print("up", flush=True)
    await stop.wait()
asyncio.run(run_service("test", main))
"""


def test_a_collector_that_never_answers_holds_up_no_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:  # takes connections, and never answers
        endpoint = f"http://127.0.0.1:{hole.getsockname()[1]}"
        code, took, log = told_to_stop(TRACED, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert code == 0
    assert took < 10
    assert "the collector did not take the last traces and metrics" in log


SENT_TO = """
from opentelemetry import metrics, trace
from neverblink import telemetry
telemetry.setup("test", "site")
print(type(trace.get_tracer_provider()).__module__, type(metrics.get_meter_provider()).__module__)
telemetry.flush()
"""


@pytest.mark.parametrize(
    ("signals", "exported"),
    [("METRICS_", (False, True)), ("TRACES_", (True, False)), ("", (True, True))],
)
def test_only_the_signal_whose_endpoint_is_set_is_exported(signals: str, exported: tuple[bool, bool]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hole:
        endpoint = f"http://127.0.0.1:{hole.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", SENT_TO],
            env=os.environ | {f"OTEL_EXPORTER_OTLP_{signals}ENDPOINT": endpoint},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert tuple("sdk" in module for module in done.stdout.split()) == exported
