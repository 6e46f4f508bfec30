"""Prometheus and Alertmanager of Debian, the project's rules with shortened windows, and somebody who is told."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from neverblink.brokers.apache import free_port
from neverblink.demo.observing import programs
from neverblink.demo.observing.asking import alertmanager_settings, prometheus_settings
from neverblink.service_life.children import die_with_parent

DEPLOYED = Path(__file__).resolve().parents[3] / "deploy/prometheus"
NEEDED = ("prometheus", "prometheus-alertmanager")
PACKAGES = "prometheus and prometheus-alertmanager"

SHORT = {
    "30s": "1s", "1m": "1s", "2m": "2s", "5m": "5s", "10m": "3s", "15m": "8s", "30m": "8s", "1h": "10s", "2h": "10s",
    "6h": "15s", "1d": "20s", "3d": "25s",
}  # fmt: skip
"""What each window and each patience of the rules lasts here."""

_WINDOW = re.compile(r"(?<=[\[ ])(\d+[smhd])(?=\]|$|\))", re.MULTILINE)
_HOLDS_S = 0.2
_STARTS_S = 240.0


def missing_parts() -> list[str]:
    """Return which programs are not there."""
    return [name for name in NEEDED if shutil.which(name) is None]


def shortened(text: str) -> str:
    """Return rules whose windows, patience and bounds of time are those of a scenario; all else is as deployed."""
    document = yaml.safe_load(text)
    for group in document["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            found = _WINDOW.sub(lambda match: SHORT[match.group(1)], rule["expr"])
            rule["expr"] = found.replace("_beat_seconds > 60", "_beat_seconds > 12")
            if "for" in rule:
                rule["for"] = SHORT[rule["for"]]
    return yaml.safe_dump(document, sort_keys=False)


@dataclass
class Told:
    """When an alert was told to people: first as firing, last as resolved; seconds of a steady clock."""

    fired: dict[str, float] = field(default_factory=dict)
    resolved: dict[str, float] = field(default_factory=dict)
    runbooks: dict[str, str] = field(default_factory=dict)

    def has_fired(self, key: str) -> bool:
        """Return whether it was told as firing."""
        return key in self.fired

    def is_quiet(self, key: str) -> bool:
        """Return whether it was never told, or was told as over since."""
        return key not in self.fired or key in self.resolved

    def forget(self, key: str) -> None:
        """Forget what was told of it before."""
        self.fired.pop(key, None)
        self.resolved.pop(key, None)

    def take(self, alert: Mapping[str, Any]) -> None:
        """Take one alert of Alertmanager's webhook, by `key_of`."""
        name, now = key_of(alert["labels"]), time.monotonic()
        self.runbooks[name] = alert["annotations"].get("runbook", "")
        if alert["status"] == "firing":
            self.fired.setdefault(name, now)
            self.resolved.pop(name, None)
        else:
            self.resolved[name] = now


def key_of(labels: Mapping[str, str]) -> str:
    """Return what tells one scenario's alert from another's: its name, and the line, service or job that it is of."""
    about = labels.get("line") or labels.get("service") or labels.get("job") or ""
    return f"{labels['alertname']}/{about}" if about else labels["alertname"]


class WatchedPlant:
    """Prometheus asks `targets` (a job and its port), Alertmanager tells what it finds to `told`."""

    def __init__(self, folder: Path, targets: Sequence[tuple[str, int]]) -> None:
        self._folder = folder
        self._targets = targets
        taken = {port for _, port in targets}
        self.port, self._alertmanager, self._hook = (free_port(taken) for _ in range(3))
        self.told = Told()
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> "WatchedPlant":
        self._write()
        hook = ThreadingHTTPServer(("127.0.0.1", self._hook), _hook_of(self.told))
        threading.Thread(target=hook.serve_forever, name="told", daemon=True).start()
        self._ends.callback(hook.server_close)
        self._ends.callback(hook.shutdown)
        watching = (
            programs.alertmanager(self._alertmanager, self._folder),
            programs.prometheus(self.port, self._folder),
        )
        for one in watching:
            one.start()
            self._ends.callback(one.stop)
        for one in watching:
            one.until_serving(_STARTS_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what Prometheus answers to an expression now."""
        found: list[dict[str, Any]] = self._ask("query", query=expression)["data"]["result"]
        return found

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Return the exemplars of the last ten minutes."""
        now = time.time()
        found: list[dict[str, Any]] = self._ask("query_exemplars", query=expression, start=now - 600, end=now)["data"]
        return found

    def until(self, holds: Callable[[], bool], what: str, within_s: float = 240.0) -> None:
        """Wait for something. Raises TimeoutError, with what fires."""
        give_up = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > give_up:
                raise TimeoutError(f"waited {within_s:g} s in vain for {what}; told: {self.told}")
            time.sleep(_HOLDS_S)

    def _ask(self, kind: str, **asked: object) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{kind}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.loads(answer.read())

    def _write(self) -> None:
        rules = self._folder / "rules"
        rules.mkdir(parents=True)
        for path in (DEPLOYED / "rules").glob("*.yml"):
            (rules / path.name).write_text(shortened(path.read_text()))
        told = alertmanager_settings(DEPLOYED.parent, f"http://127.0.0.1:{self._hook}/")
        hurry = {"group_wait": "0s", "group_interval": "1s"}
        told["route"] |= hurry
        for route in told["route"]["routes"]:
            route |= hurry
        # By alert, line and service: each scenario is told for itself, not with the next change of its group.
        told["route"]["group_by"] = ["alertname", "line", "service", "job"]
        (self._folder / "alertmanager.yml").write_text(yaml.safe_dump(told))
        watching = prometheus_settings(DEPLOYED.parent, self._targets, self._alertmanager, rules, "1s")
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(watching))


def _hook_of(told: Told) -> type[BaseHTTPRequestHandler]:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in sent["alerts"]:
                told.take(alert)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Hook


@contextlib.contextmanager
def child(folder: Path, name: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Python with these arguments, ended by SIGTERM; it is given orders on standard input."""
    with (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=log, stderr=log, stdin=subprocess.PIPE, preexec_fn=die_with_parent
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)
