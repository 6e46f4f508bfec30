"""What makes each alert fire, and what ends it: on real services where that takes seconds, else on the metrics
that the services' own instruments export.
"""

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from neverblink import __version__
from neverblink.brokers.apache import free_port
from neverblink.demo.plant_file import write_plant
from neverblink.demo.stream import simulated_streams
from neverblink.telemetry import HEALTH
from rigs.alerting.watched_plant import WatchedPlant, child

MEASURING = str(Path(__file__).with_name("measuring_process.py"))
PUMP_S = 0.25

Order = list[Any]


class Measured:
    """A process that measures what it is told to, once or again and again; it can be ended and started."""

    def __init__(self, folder: Path, service: str, port: int) -> None:
        self._folder, self._service, self._port = folder, service, port
        self._pumped: dict[str, list[Order]] = {}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ends = contextlib.ExitStack()

    @contextlib.contextmanager
    def running(self) -> Iterator["Measured"]:
        """Run it, and go on saying what is pumped."""
        over = threading.Event()
        pump = threading.Thread(target=self._pump, args=(over,), name="pump", daemon=True)
        self.start()
        pump.start()
        try:
            yield self
        finally:
            over.set()
            pump.join(30)
            self.end()

    def start(self) -> None:
        """Start the process."""
        os.environ[HEALTH] = str(self._port)
        self._process = self._ends.enter_context(child(self._folder, self._service, MEASURING, self._service))

    def end(self) -> None:
        """End the process."""
        with self._lock:
            self._process = None
        self._ends.close()

    def say(self, *orders: Order) -> None:
        """Give orders once."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            process = self._process
            if process is not None and process.stdin is not None:
                process.stdin.write(b"".join(json.dumps(order).encode() + b"\n" for order in orders))
                process.stdin.flush()

    def pump(self, name: str, *orders: Order) -> None:
        """Give orders again and again, in the place of those of that name."""
        self._pumped = {**self._pumped, name: list(orders)}

    def _pump(self, over: threading.Event) -> None:
        while not over.wait(PUMP_S):
            self.say(*(order for orders in self._pumped.values() for order in orders))


@dataclass(frozen=True)
class Scenario:
    """One alert: by which key it is told, what happens, and who makes it happen and ends it."""

    key: str
    what: str
    begin: Callable[[], None]
    finish: Callable[[], None]
    real: bool = False


TOP = {"station": "top"}
DISK, SLOTS, DRIFT = ["observe", "disks"], ["observe", "slots"], ["observe", "drift"]


def _told(line: str, outcome: str) -> Order:
    return ["bridge", "told", "add", 5, {"line": line, "decision": "pass", "outcome": outcome}]


def _judged(line: str, decision: str) -> Order:
    return ["scorer", "verdicts", "add", 5, {"line": line, **TOP, "decision": decision}]


def _slack(line: str, left_s: float) -> Order:
    return ["bridge", "slack", "record", left_s, {"line": line}]


def _left(days: int) -> Order:
    return ["bridge", "certificate_left", "set", days, {"line": "expired", "certificate": "plc"}]


def _waiting(frames: int) -> Order:
    return ["camera", "spool_waiting", "set", frames, {"line": "spool", **TOP, "kind": "frame"}]


_SCORER = "neverblink-scorer"
_PICTURES: Order = ["camera", "pictures", "add", 10, {"line": "lost", **TOP}]
_RAISED = {"kind": "missed", "stage": "raised", "severity": "high"}
_BUDGET: Order = ["bridge", "budget", "set", 0.1, {"line": "thin"}]

Row = tuple[str, str, list[Order], list[Order]]

# Said again and again, first the bad, then what mends it. Each has a line of its own: none hides another's alert.
PUMPED: Final[list[Row]] = [
    (
        "PartsNotToldInTimeForDays/days", "one part in six is told late",
        [_told("days", "late"), *[_told("days", "confirmed")] * 5], [],
    ),
    (
        "PartsNotJudged/unjudged", "every second frame is late",
        [_judged("unjudged", "unscored:late"), _judged("unjudged", "pass")], [],
    ),
    (
        "PartsNotJudgedForDays/unjudged-days", "every second frame is too dark",
        [_judged("unjudged-days", "unscored:too-dark"), _judged("unjudged-days", "pass")], [],
    ),
    (
        f"TasksRestart/{_SCORER}", "a task fails again and again",
        [["life", "restarts", "add", 1, {"duty": "what waits", "how": "failed"}]], [],
    ),
    (
        "SlackThin/thin", "a part in nine has 0.03 s left",
        [_BUDGET, _slack("thin", 0.03), *[_slack("thin", 0.6)] * 8], [_BUDGET, _slack("thin", 0.6)],
    ),
    (
        "PlcReconnects/reconnects", "a session is opened four times a second",
        [["bridge", "reconnects", "add", 1, {"line": "reconnects"}]], [],
    ),
    (
        "CameraKeepsLeaving/leaving", "a camera goes away again and again",
        [["camera", "disconnects", "add", 1, {"line": "leaving", **TOP}]], [],
    ),
    (
        "PicturesLost/lost", "a picture in ten is lost",
        [_PICTURES, ["camera", "pictures_lost", "add", 1, {"line": "lost", **TOP, "where": "camera"}]], [_PICTURES],
    ),
]  # fmt: skip

# Said once, first the bad, then what mends it; nothing mends what has happened: it ends with its window.
SAID: Final[list[Row]] = [
    (
        "ServiceDoesAPart/scorer", "a scorer cannot read frames",
        [["tell", False, "no broker answers"]], [["tell", True, ""]],
    ),
    ("DiskFillsUp/scorer", "8 % of a disk is free", [[*DISK, [["/data", 8]]]], [[*DISK, [["/data", 50]]]]),
    (
        "CertificateExpires/scorer", "12 days are left",
        [["observe", "certificates", [["ours", 12]]]], [["observe", "certificates", [["ours", 300]]]],
    ),
    ("CertificateExpired/expired", "a day is left", [_left(1)], [_left(300)]),
    (
        f"ScorerBehind/{_SCORER}", "the most urgent frame is 0.4 s late",
        [["observe", "slack", -0.4]], [["observe", "slack", 0.3]],
    ),
    ("ModelNotInForce/faulty", "a model cannot be taken", [[*SLOTS, [["faulty", "top", 1]]]], [[*SLOTS, []]]),
    (
        "StationDrifts/drifts", "drift says act",
        [[*DRIFT, [["drifts", "top", "act"]]]], [[*DRIFT, [["drifts", "top", "steady"]]]],
    ),
    (
        f"LedgerBehind/{_SCORER}", "the oldest event is five minutes old",
        [["ledger", "lag_time", "set", 300, {}]], [["ledger", "lag_time", "set", 1, {}]],
    ),
    (
        f"DriftBehind/{_SCORER}", "the oldest verdict is five minutes old",
        [["drift", "lag_time", "set", 300, {}]], [["drift", "lag_time", "set", 1, {}]],
    ),
    ("EventsWaitOnDisk/spool", "nine frames wait on disk", [_waiting(9)], [_waiting(0)]),
    (
        "PartPassedUnasked/incident", "the gate passes a part",
        [["bridge", "incidents", "add", 1, {"line": "incident"}]], [],
    ),
    (
        "EvidenceLost", "a picture was forgotten by its topic",
        [["evidence", "lost", "add", 1, {"reason": "forgotten"}]], [],
    ),
    ("DeadLetters", "a record cannot be read", [["kafka", "dead", "add", 1, {"topic": "frames"}]], []),
    (
        "EventsLost/dropped", "an actuation is dropped",
        [["bridge", "dropped_events", "add", 1, {"line": "dropped"}]], [],
    ),
    (
        "ReferencePartAlarm/reference", "a defective reference part passes",
        [["alarms", "alarms", "add", 1, {"line": "reference", **_RAISED}]],
        [],
    ),
    (f"AlarmsNotDelivered/{_SCORER}", "a mail is lost", [["telling", "mail_dropped", "add", 1, {}]], []),
]  # fmt: skip


def exported_scenarios(at: Measured, other: Measured) -> list[Scenario]:
    """Return the scenarios on exported metrics."""
    pumped = [
        Scenario(key, what, partial(at.pump, key, *bad), partial(at.pump, key, *good))
        for key, what, bad, good in PUMPED
    ]
    said = [Scenario(key, what, partial(at.say, *bad), partial(at.say, *good)) for key, what, bad, good in SAID]
    versions = Scenario(
        "VersionsDiffer",
        "one service is of another version",
        partial(other.say, ["version", "9.9"]),
        partial(other.say, ["version", __version__]),
    )
    return [*pumped, *said, versions]


def at_start(begin: Callable[[], None]) -> list[Scenario]:
    """Return those that fire before any service is there, and end once they are started."""
    return [
        Scenario("NoServiceHeard", "nothing is started yet", lambda: None, begin),
        Scenario("ServiceSilent/neverblink-scorer", "a service is not started yet", lambda: None, lambda: None),
    ]


def full_disk(at: Measured) -> Scenario:
    """Return the scenario that would hide that of a disk which fills up."""
    return Scenario(
        "DiskFull/scorer", "1 % of a disk is free",
        lambda: at.say(["observe", "disks", [["/data", 1]]]), lambda: at.say(["observe", "disks", [["/data", 50]]]),
    )  # fmt: skip


class BridgedLine:
    """A broker, a simulated PLC that triggers parts, and the bridge, as processes; nobody scores."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        folder.mkdir(parents=True)
        broker = free_port({port})
        self._broker = str(broker)
        self.plant = write_plant(folder, [simulated_streams()[0]], f"127.0.0.1:{broker}", {})
        self.line = self.plant.lines[0].name
        self._file = str(folder / "plant.yaml")
        self._running: dict[str, contextlib.ExitStack] = {}

    def __enter__(self) -> "BridgedLine":
        self.start("broker", "broker", "--port", self._broker)
        self.start_plc()
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._running)):
            self.stop(name)

    def start(self, name: str, *arguments: str) -> None:
        """Start a command of ours."""
        os.environ.pop(HEALTH, None)
        stack = self._running[name] = contextlib.ExitStack()
        stack.enter_context(child(self._folder, name, "-m", "neverblink", *arguments))

    def start_plc(self) -> None:
        """Start the PLC: two parts a second, and somebody who releases each stop."""
        certificates = str(self._folder / "plcs")
        self.start(
            "plc",
            "plc-sim",
            "--plant",
            self._file,
            "--line",
            self.line,
            "--rate",
            "2",
            "--reset-after",
            "0.5",
            "--certificates",
            certificates,
        )

    def start_bridge(self) -> None:
        """Start the bridge."""
        self.start("bridge", "bridge", "--plant", self._file, "--line", self.line, "--health", str(self._port))

    def hold(self, word: str) -> None:
        """Put the line on hold, or release it, as a person does."""
        with child(
            self._folder,
            word,
            "-m",
            "neverblink",
            "bridge",
            word,
            self.line,
            "--why",
            "a scenario",
            "--plant",
            self._file,
        ) as one:
            one.wait(120)

    def stop(self, name: str) -> None:
        """End a command of ours."""
        self._running.pop(name).close()


def real_scenarios(line: BridgedLine) -> list[Scenario]:
    """Return the scenarios on the real bridge with a real PLC session, in their order."""
    return [
        Scenario(
            "PartsNotToldInTime/" + line.line,
            "no scorer runs, so that no part has a verdict; then a person holds the line",
            lambda: None,
            lambda: line.hold("hold"),
            real=True,
        ),
        Scenario(
            "LineNotServed/" + line.line,
            "the PLC is switched off, and on again",
            lambda: line.stop("plc"),
            line.start_plc,
            real=True,
        ),
        Scenario(
            "ServiceSilent/neverblink-bridge",
            "the bridge is ended, and started again",
            lambda: line.stop("bridge"),
            line.start_bridge,
            real=True,
        ),
    ]


class Seen(NamedTuple):
    """Seconds from the scenario's begin until its alert was told, from its end until that was told; and what to do."""

    scenario: Scenario
    fired_s: float
    resolved_s: float
    runbook: str


def run_together(watched: WatchedPlant, scenarios: Sequence[Scenario], within_s: float = 240.0) -> list[Seen]:
    """Let all happen at once, wait until each was told, end them all, and wait until each was told as over.

    Raises TimeoutError.
    """
    told = watched.told
    for one in scenarios:
        watched.until(partial(told.is_quiet, one.key), f"{one.key} to be quiet before", within_s)
        told.forget(one.key)
    began, ended = {}, {}
    for one in scenarios:
        began[one.key] = time.monotonic()
        one.begin()
    for one in scenarios:
        watched.until(partial(told.has_fired, one.key), f"{one.key} to fire", within_s)
    for one in scenarios:
        ended[one.key] = time.monotonic()
        one.finish()
    for one in scenarios:
        watched.until(partial(told.is_quiet, one.key), f"{one.key} to end", within_s)
    return [
        Seen(
            one,
            told.fired[one.key] - began[one.key],
            max(0.0, told.resolved[one.key] - ended[one.key]),
            told.runbooks[one.key],
        )
        for one in scenarios
    ]
