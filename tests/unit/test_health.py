"""A service says over HTTP how it does, from a thread of its own that can never be why it ends."""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from neverblink import __version__
from neverblink.cli import app
from neverblink.service_life import ready, run_service, unready
from neverblink.service_life.health import STATE, HealthPlaceError, State, place_of, server
from neverblink.service_life.health.server import HealthServer, serving
from neverblink.service_life.health.state import STANDS_STILL_S
from neverblink.service_life.standing import Standing
from neverblink.telemetry import HEALTH


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no fault of the server's."""
    monkeypatch.setattr(server, "_WITHIN_S", 60.0)
    monkeypatch.setattr(server, "_BEGIN_S", 60.0)


PARTS = {"line-1": None, "Kafka": "no broker answers at 10.0.0.1:9092 since 12:00:01"}


@contextmanager
def answering(state: State) -> Iterator[str]:
    one = HealthServer("bridge", "127.0.0.1", 0, state)
    one.start()
    try:
        assert one.address is not None
        yield one.address
    finally:
        one.stop()


def asked(url: str, **headers: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def state_of(service: str, now: list[float]) -> State:
    state = State(clock=lambda: now[0])
    state.begin(service)
    return state


def test_it_lives_is_not_ready_before_it_says_so_and_names_each_part_of_its_work() -> None:
    now = [100.0]
    state = state_of("bridge", now)
    with answering(state) as address:
        assert asked(f"{address}/livez") == (200, {"status": "alive", "service": "bridge", "version": __version__})
        assert asked(f"{address}/version") == (200, {"service": "bridge", "version": __version__})
        status, said = asked(f"{address}/readyz")
        assert (status, said["status"], said["parts"]) == (503, "starting", {})
        state.tell("ready")
        state.take_parts({"line-1": None})
        now[0] = 107.0
        assert asked(f"{address}/readyz")[1] == {
            "status": "ready", "service": "bridge", "for_s": 7.0, "parts": {"line-1": "works"},
        }  # fmt: skip
        state.tell("unready", "the bridge serves 1 of 1 lines; no verdicts")
        state.take_parts(PARTS)
        status, said = asked(f"{address}/readyz")
        assert (status, said["status"], said["why"]) == (
            503,
            "unready",
            "the bridge serves 1 of 1 lines; no verdicts",
        )
        assert said["parts"] == {"line-1": "works", "Kafka": PARTS["Kafka"]}
        assert asked(f"{address}/elsewhere")[0] == 404


def test_a_loop_that_stands_still_is_told_by_the_thread_beside_it() -> None:
    now = [100.0]
    state = state_of("scorer", now)
    state.tell("ready")
    with answering(state) as address:
        now[0] += STANDS_STILL_S + 1
        status, said = asked(f"{address}/livez")
        assert (status, said["why"]) == (
            503,
            "the loop of scorer has stood still for 31 s: restart it, and keep its log",
        )
        assert asked(f"{address}/readyz")[0] == 503
        state.beat()
        assert asked(f"{address}/livez")[0] == 200


def test_what_is_no_request_is_refused_and_the_next_one_is_answered() -> None:
    with answering(state_of("drift", [0.0])) as address:
        port = int(address.rpartition(":")[2])
        for nonsense, first in (
            (b"POST /livez HTTP/1.1\r\n\r\n", b"HTTP/1.1 405"),
            (b"nothing\r\n\r\n", b"HTTP/1.1 400"),
            (b"\x16\x03\x01\r\n\r\n", b"HTTP/1.1 400"),
            (b"GET /livez HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b""),
        ):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                client.sendall(nonsense)
                try:
                    assert client.recv(12).startswith(first)
                except ConnectionResetError:
                    assert first == b""
        assert asked(f"{address}/livez")[0] == 200


def test_who_asks_nothing_holds_up_no_other_and_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(state_of("camera", [0.0])) as address:
        port = int(address.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(8)]
        assert asked(f"{address}/livez")[0] == 200
        monkeypatch.setattr(server, "_WITHIN_S", 0.1)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as another:
            assert another.recv(1) == b""  # without a word
        for client in silent:
            client.close()


async def test_a_service_answers_while_it_runs_and_with_nothing_set_has_no_thread_for_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[tuple[int, Any]] = []

    async def main(_: asyncio.Event) -> None:
        told = [
            record.fields["health"]
            for record in caplog.records
            if hasattr(record, "fields") and "health" in record.fields
        ]
        threads = [thread.name for thread in threading.enumerate()]
        assert ("health" in threads) is bool(told)
        standing = Standing("ledger", clock=time.monotonic)
        for address in told:
            standing.update({"database": None})
            seen.append(await asyncio.to_thread(asked, f"{address}/readyz"))
            unready("ledger", "the database is away")
            seen.append(await asyncio.to_thread(asked, f"{address}/readyz"))
            ready("ledger")

    monkeypatch.delenv(HEALTH, raising=False)
    await run_service("ledger", main)
    monkeypatch.setenv(HEALTH, "127.0.0.1:0")
    with caplog.at_level("INFO", "neverblink"):
        await run_service("ledger", main)
    assert [(status, said["status"]) for status, said in seen] == [(200, "ready"), (503, "unready")]
    assert seen[0][1]["parts"] == {"database": "works"}
    assert STATE.is_ready


async def test_a_place_that_is_taken_or_wrong_stops_no_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done = []

    async def main(_: asyncio.Event) -> None:
        done.append(True)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        for place in (f"127.0.0.1:{taken.getsockname()[1]}", "nowhere"):
            monkeypatch.setenv(HEALTH, place)
            await run_service("drift", main)
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert len(done) == 2
    assert "cannot listen at 127.0.0.1 port" in said
    assert "'nowhere' is no place to answer at" in said


def test_an_address_is_this_machine_alone_unless_another_is_written() -> None:
    assert place_of("9464") == place_of(":9464") == place_of("127.0.0.1:9464") == ("127.0.0.1", 9464)
    assert place_of("[::1]:1") == ("::1", 1)
    assert place_of("0.0.0.0:80") == ("0.0.0.0", 80)
    for wrong in ("", "x", "1:", "127.0.0.1", "70000", "²"):
        with pytest.raises(HealthPlaceError, match="is no place to answer at"):
            place_of(wrong)


def test_a_wrong_place_is_a_sentence_before_anything_starts() -> None:
    told = CliRunner().invoke(app, ["bridge", "--health", "nowhere"])
    assert told.exit_code == 2
    assert "is no place to answer at" in " ".join(told.output.replace("│", " ").split())


def test_what_is_set_wrong_in_the_environment_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HEALTH, "70000")
    with serving("bridge"):
        assert "health" not in [thread.name for thread in threading.enumerate()]
