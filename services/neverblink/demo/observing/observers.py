"""What watches the demonstration: what is here is started beside it, the rest is said; all of it ends with it."""

import asyncio
import contextlib
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from rich import box
from rich.table import Table

from neverblink import telemetry
from neverblink.brokers.apache import free_port
from neverblink.demo.observing import programs
from neverblink.demo.observing.asking import Target, alertmanager_settings, prometheus_settings
from neverblink.demo.observing.outside_program import OutsideProgram
from neverblink.demo.observing.programs import PartMissing
from neverblink.demo.ports import usual_port
from neverblink.service_life.children import ProcessError
from neverblink.telemetry.part_traces import name_site

_ZIPKIN, _PROMETHEUS, _ALERTMANAGER = 9411, 9090, 9093
_SERVING_S = 60.0
_EVERY = "2s"
_DECISION_WAIT_S = 8
"""From a part's first span to its record: four seconds of belt, and what comes after the gate."""
_TRACE_S = 25.0
_ASK_EVERY_S = 0.5
_OURS = "neverblink-"
_WHOLE_WAY = {f"{_OURS}camera", f"{_OURS}bridge", f"{_OURS}ledger"}
"""Whose spans a trace has that leads from the trigger to the record."""


@dataclass(slots=True)
class _Watcher:
    """One part that watches: what it shows and where, or what is amiss."""

    shows: str
    address: str
    program: OutsideProgram | None = None
    lacking: str = ""


@dataclass(slots=True)
class Observers:
    """The parts that watch one run. `environment` is for the services, `trace_url` for the plant file."""

    deploy: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    trace_url: str | None = None
    _watchers: dict[str, _Watcher] = field(default_factory=dict)
    _targets: list[Target] = field(default_factory=list)
    _taken: set[int] = field(default_factory=set)

    def asked(self, service: str) -> list[str]:
        """Return the options by which a service answers Prometheus; `camera-line-1` is one of several cameras."""
        port = free_port(self._taken)
        self._targets.append((f"{_OURS}{service.partition('-')[0]}", port))
        return ["--health", f"127.0.0.1:{port}"]

    def follow_parts(self) -> None:
        """Start what keeps traces, before any service: without one of the two the other has nothing to do."""
        port = usual_port(_ZIPKIN, self._taken)
        ports = {name: free_port(self._taken) for name in ("http", "grpc", "metrics", "health")}
        store = f"http://127.0.0.1:{port}"
        settings = {
            "NEVERBLINK_TRACES": f"{store}/api/v2/spans",
            "NEVERBLINK_DECISION_WAIT": f"{_DECISION_WAIT_S}s",
        }
        zipkin = self._add(
            "Zipkin", "each part's trace", f"{store}/zipkin/", lambda: programs.zipkin(port, self.folder)
        )
        collector = self._add(
            "collector",
            "takes OTLP; keeps what did not simply pass",
            f"http://127.0.0.1:{ports['http']}",
            lambda: self._collector(ports, settings),
        )
        for one, other, name in ((zipkin, collector, "collector"), (collector, zipkin, "Zipkin")):
            if other.program is None and not one.lacking:
                one.lacking = f"not started without {name}"
        if zipkin.lacking or collector.lacking:
            return
        self._start(zipkin, collector)
        self.environment = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.address}/v1/traces",
            # A part's last spans are looked for at the end of a short run.
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
        }
        self.trace_url = f"{store}/zipkin/traces/{{trace_id}}"

    def measure(self) -> None:
        """Start what asks the services, once each has its port."""
        port, told = (usual_port(usual, self._taken) for usual in (_PROMETHEUS, _ALERTMANAGER))
        alertmanager = self._add(
            "Alertmanager", "who would be told", f"http://127.0.0.1:{told}", self._alertmanager(told)
        )
        told_to = None if alertmanager.lacking else told
        prometheus = self._add(
            "Prometheus", "what is measured, and alerts", f"http://127.0.0.1:{port}", self._prometheus(port, told_to)
        )
        if prometheus.lacking and not alertmanager.lacking:
            alertmanager.lacking = "not started without Prometheus"
        self._start(*(one for one in (prometheus, alertmanager) if not one.lacking))

    async def table(self) -> Table:
        """Wait for what was started; return what watches and where, or why not and how to get it."""
        await asyncio.gather(*(self._settled(one) for one in self._watchers.values()))
        table = Table(title="what watches", box=box.SIMPLE_HEAD, title_style="bold", expand=False)
        for heading in ("part", "shows", "where"):
            table.add_column(heading, overflow="fold")
        for name, one in self._watchers.items():
            table.add_row(name, one.shows, one.lacking or one.address)
        if all(one.lacking for one in self._watchers.values()):
            table.caption = f"Nothing watches: {programs.GET} gets what can be had on one machine."
        return table

    async def trace_of(self, site: str, part: str) -> str | None:
        """Return where a part's trace is shown, waiting for it to be whole; None where no trace is kept."""
        zipkin = self._watchers["Zipkin"]
        if self.trace_url is None or zipkin.lacking:
            return None
        name_site(site)
        trace = telemetry.trace_id_of(part)
        await asyncio.to_thread(self._until_whole, trace)
        return self.trace_url.replace("{trace_id}", trace)

    def stop(self) -> None:
        """End all of them."""
        for one in self._watchers.values():
            if one.program is not None:
                one.program.stop()

    def _add(self, name: str, shows: str, address: str, make: Callable[[], OutsideProgram]) -> _Watcher:
        one = self._watchers[name] = _Watcher(shows, address)
        try:
            one.program = make()
        except PartMissing as error:
            one.lacking = f"not here: {error}"
        return one

    def _collector(self, ports: dict[str, int], settings: dict[str, str]) -> OutsideProgram:
        programs.exporter()
        return programs.collector(self.deploy, self.folder, ports, settings)

    def _alertmanager(self, port: int) -> Callable[[], OutsideProgram]:
        self._write("alertmanager.yml", alertmanager_settings(self.deploy, None))
        return lambda: programs.alertmanager(port, self.folder)

    def _prometheus(self, port: int, alertmanager: int | None) -> Callable[[], OutsideProgram]:
        rules = self.deploy / "prometheus/rules"
        settings = prometheus_settings(self.deploy, self._targets, alertmanager, rules, _EVERY)
        self._write("prometheus.yml", settings)
        return lambda: programs.prometheus(port, self.folder)

    def _write(self, name: str, settings: dict[str, object]) -> None:
        (self.folder / name).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")

    def _start(self, *watchers: _Watcher) -> None:
        for one in watchers:
            assert one.program is not None
            try:
                one.program.start()
            except OSError as error:
                one.lacking = f"cannot be started: {error}"

    async def _settled(self, one: _Watcher) -> None:
        if one.program is None or one.lacking:
            return
        try:
            await asyncio.to_thread(one.program.until_serving, _SERVING_S)
        except ProcessError as error:
            one.lacking = str(error)

    def _until_whole(self, trace: str) -> None:
        give_up = time.monotonic() + _TRACE_S
        while time.monotonic() < give_up and not self._is_whole(trace):
            time.sleep(_ASK_EVERY_S)

    def _is_whole(self, trace: str) -> bool:
        address = self._watchers["Zipkin"].address.replace("/zipkin/", f"/api/v2/trace/{trace}")
        with (
            contextlib.suppress(OSError, ValueError),
            urllib.request.urlopen(address, timeout=5) as answer,  # noqa: S310 - on this machine
        ):
            spans = json.load(answer)
            return {one.get("localEndpoint", {}).get("serviceName") for one in spans} >= _WHOLE_WAY
        return False


@contextlib.asynccontextmanager
async def observers_of(folder: Path) -> AsyncIterator[Observers]:
    """Give what watches a run that lies in this folder; all that was started has ended afterwards.

    Raises ObservingError, where no deploy/ is.
    """
    deploy = programs.deployed()
    place = folder / "watching"
    place.mkdir()
    observers = Observers(deploy, place)
    try:
        observers.follow_parts()
        yield observers
    finally:
        await asyncio.to_thread(observers.stop)
