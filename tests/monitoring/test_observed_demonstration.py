"""`neverblink demo --observe` as a person runs it, with what watches asked over HTTP."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from neverblink.demo.observing import programs
from neverblink.service_life.children import die_with_parent
from rigs import quick_demonstration
from rigs.alerting.watched_plant import PACKAGES, missing_parts
from rigs.real_parts import without

pytestmark = [pytest.mark.plant, pytest.mark.timeout(900)]

PARTS = 16
SERVICES = ("bridge", "camera", "camera", "console", "drift", "ledger", "scorer")
_WITHIN_S = 600.0
_ENDS_S = 120.0
_MARK = "NEVERBLINK_TEST_MARK"


@dataclass
class Shown:
    """The demonstration on a terminal: what it has said, and its process."""

    process: "subprocess.Popen[bytes]"
    terminal: int
    mark: str
    raw: bytes = b""

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.raw.decode(errors="replace"))

    def read(self) -> None:
        """Read until the other side is closed, which Linux tells as an error."""
        with contextlib.suppress(OSError):
            while some := os.read(self.terminal, 65536):
                self.raw += some

    def until(self, pattern: str) -> str:
        """Wait for a line, and return its first group."""
        return until(lambda: (found := re.search(pattern, self.text)) and found[1], lambda: self.text[-4000:])

    def left(self) -> list[str]:
        """Return what still runs of all that it started."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{_MARK}={self.mark}".encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found


def until(holds: Callable[[], Any], what: Callable[[], object]) -> Any:
    give_up = time.monotonic() + _WITHIN_S
    while not (found := holds()):
        assert time.monotonic() < give_up, what()
        time.sleep(0.2)
    return found


def ask(address: str, **asked: str) -> Any:
    with urllib.request.urlopen(f"{address}?{urllib.parse.urlencode(asked)}", timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    if missing := missing_parts():
        without(PACKAGES, f"{', '.join(missing)} cannot be found")
    try:
        programs.collector_program(programs.deployed())
        programs.zipkin_command(1)
    except programs.PartMissing as error:
        pytest.skip(f"a trace cannot be shown: {error}")
    ours, theirs = pty.openpty()
    mark = uuid.uuid4().hex
    words = ("demo", "--observe", "--parts", str(PARTS), "--folder", str(tmp_path_factory.mktemp("run") / "demo"))
    process = subprocess.Popen(
        [sys.executable, quick_demonstration.__file__, *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        env=os.environ | {"COLUMNS": "200", "TERM": "xterm", _MARK: mark}, preexec_fn=die_with_parent,
    )  # fmt: skip
    os.close(theirs)
    one = Shown(process, ours, mark)
    reading = threading.Thread(target=one.read, name="terminal", daemon=True)
    reading.start()
    try:
        yield one
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(_ENDS_S)
        reading.join(10)
        os.close(ours)


def test_prometheus_asks_every_service_and_holds_the_rules(shown: Shown) -> None:
    address = shown.until(r"Prometheus +what is measured, and alerts +(http://127\.0\.0\.1:\d+)")
    up = lambda: {  # noqa: E731
        (one["metric"]["job"], one["metric"]["instance"])
        for one in ask(f"{address}/api/v1/query", query="up == 1")["data"]["result"]
    }
    until(lambda: len(up()) == len(SERVICES), lambda: (up(), shown.text[-2000:]))
    assert sorted(job for job, _ in up()) == [f"neverblink-{name}" for name in SERVICES]
    rules = {
        rule["name"]: rule["health"]
        for group in ask(f"{address}/api/v1/rules", type="alert")["data"]["groups"]
        for rule in group["rules"]
    }
    assert {"ServiceSilent", "LineNotServed", "PartsNotToldInTime"} <= rules.keys()
    assert "err" not in rules.values()
    assert len(ask(f"{address}/api/v1/alertmanagers")["data"]["activeAlertmanagers"]) == 1


def test_the_trace_of_a_part_that_was_not_passed_leads_from_the_trigger_to_the_record(shown: Shown) -> None:
    store = shown.until(r"Zipkin +each part's trace +(http://127\.0\.0\.1:\d+)/zipkin/")
    place = shown.until(r"not passed, from the trigger to the record: (\S+)\s")
    assert place.startswith(f"{store}/zipkin/traces/")
    spans = ask(f"{store}/api/v2/trace/{place.rsplit('/', 1)[1]}")
    services = {one["localEndpoint"]["serviceName"] for one in spans}
    assert {f"neverblink-{name}" for name in ("camera", "scorer", "bridge", "ledger", "drift")} <= services
    # On a machine that has other work it is late: then it is not told, and has no score that acts.
    assert {"trigger", "capture", "gate", "process neverblink.frames", "process neverblink.actuations"} <= {
        one["name"] for one in spans
    }
    assert {one["tags"]["neverblink.decision"] for one in spans if one["name"] == "part"} <= {"reject", "unscored"}


def test_ctrl_c_ends_all_of_it(shown: Shown) -> None:
    shown.until(r"(Ctrl-C ends it)")
    shown.until(r"(the trace of a part that was not passed)")
    assert len(shown.left()) > len(SERVICES), "what is looked for is found while it runs"
    shown.process.send_signal(signal.SIGINT)
    # 1: a part came too late on a machine that has other work.
    assert shown.process.wait(_ENDS_S) in (0, 1), shown.text[-3000:]
    until(lambda: not shown.left(), shown.left)
