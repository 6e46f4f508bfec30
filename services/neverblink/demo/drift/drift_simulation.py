"""`neverblink simulate-drift`: weeks of a simulated line through the drift service itself, in minutes."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.table import Table

from neverblink.brokers.apache import free_port
from neverblink.demo.drift.drift_plot import svg
from neverblink.demo.drift.scenarios import DAY_S, SCENARIOS, START, WEEK_S, Line, Scenario
from neverblink.demo.drift.simulated_verdicts import LINE, PRODUCT, STATION, verdicts, weeks_back
from neverblink.events import AlertStage, DriftAlert, DriftReport
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.kafka.connection import connection_settings
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.plant import Kafka, Plant, load_plant
from neverblink.service_life.children import ProcessError, Services
from neverblink.storage.whole_file import write_whole

_READY_TIMEOUT_S = 60.0
_QUIET_S = 60.0
_AT_ONCE = 400
_LEAD_S = 3 * DAY_S
"""How far in event time verdicts may be ahead of the newest report, which a weekend takes two days of: the development
broker keeps little."""
_PARTS_A_WINDOW = 10
_LATENESS_S = 10.0
_COLOURS = {AlertStage.RAISED: "yellow", AlertStage.ESCALATED: "red", AlertStage.CLEARED: "green"}


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated. `plant` lends its Kafka, under a topic prefix of its own; without it a broker is started."""

    scenario: Scenario
    weeks: int = 4
    per_minute: float = 2.0
    seed: int = 0
    plot: Path | None = None
    plant: Plant | None = None

    @property
    def window_s(self) -> float:
        """The window of the service: so long that it has some parts."""
        return max(60.0, 60.0 * _PARTS_A_WINDOW / self.per_minute)

    @property
    def line(self) -> Line:
        """The line, whose scenario begins after two weeks, or after eight days where there are but two, or at once."""
        calm = 2 * WEEK_S if self.weeks > 2 else WEEK_S + DAY_S
        onset = 0.0 if self.scenario.from_start else calm
        return Line(self.scenario, self.seed, onset_s=onset, per_minute=self.per_minute)


@dataclass(slots=True)
class Seen:
    """The reports so far, each once, and what of them is to be said at the end."""

    begins: float
    reports: list[DriftReport] = field(default_factory=list)
    raised: list[tuple[DriftAlert, int]] = field(default_factory=list)
    parts: int = 0
    until: float = 0.0
    ids: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def grown(self) -> None:
        """Wait for the next report."""
        self._news.clear()
        await self._news.wait()

    def take(self, report: DriftReport) -> None:
        """Take a report, with the parts that had come when it spoke."""
        if report.id in self.ids:
            return
        self.ids.add(report.id)
        self._news.set()
        self.reports.append(report)
        self.parts += report.passed + report.rejected + sum(report.unscored.values())
        self.until = max(self.until, report.closed.timestamp())
        self.raised += [(alert, self.parts) for alert in report.alerts if alert.stage is AlertStage.RAISED]


async def run(simulation: Simulation, console: Console) -> int:
    """Run it; return 0 when drift was found, or nothing where nothing drifts, and 1 otherwise.

    Raises ProcessError when a service does not start or ends by itself, KafkaError when Kafka cannot be reached.
    """
    moved = weeks_back(simulation.weeks, datetime.now(UTC))
    seen = Seen(START + moved)
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="neverblink-simulate-drift-")))
        services = Services(folder / "logs")
        stack.push_async_callback(services.stop)
        kafka = await stack.enter_async_context(_topics(simulation, services))
        plant = write_plant(folder, kafka, simulation)
        await ensure_topics(kafka)
        await services.start("drift", "drift", "--plant", str(folder / "plant.yaml"))
        await services.until_ready(["drift"], _READY_TIMEOUT_S, lambda _: None)
        console.print(
            f"{simulation.scenario.name}: {simulation.scenario.about}; {simulation.weeks} weeks of"
            f" {simulation.per_minute:g} parts a minute, windows of {plant.drift.window_s:g} s, on {kafka.bootstrap}"
        )
        console.print(_heading())
        await _stream(simulation, kafka, moved, seen, services, console)
    return _conclude(simulation, seen, console)


@contextlib.asynccontextmanager
async def _topics(simulation: Simulation, services: Services) -> AsyncIterator[Kafka]:
    """Yield a cluster and a topic prefix of our own; what was made on a plant's cluster is deleted at the end."""
    if simulation.plant is None:
        port = free_port()
        await services.start("broker", "broker", "--port", str(port))
        await services.until_ready(["broker"], _READY_TIMEOUT_S, lambda _: None)
        yield Kafka(bootstrap=f"127.0.0.1:{port}", partitions=1)
        return
    lent = simulation.plant.kafka
    kafka = lent.model_copy(
        update={"topic_prefix": f"{lent.topic_prefix}-simulation-{uuid4().hex[:8]}", "partitions": 1}
    )
    try:
        yield kafka
    finally:
        # The drift service ends first: it would make its topics anew.
        await services.stop()
        await _delete_topics(kafka)


async def _delete_topics(kafka: Kafka) -> None:
    admin = AIOKafkaAdminClient(**connection_settings(kafka, "neverblink-simulation"))
    with contextlib.suppress(*CLIENT_FAULTS):
        await admin.start()
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(kafka.topic_prefix)])
    await admin.close()


def write_plant(folder: Path, kafka: Kafka, simulation: Simulation) -> Plant:
    """Write the plant file of one simulated line, with the shifts and limits of the plant that lends its Kafka."""
    lent = simulation.plant.drift.model_dump(mode="json", exclude={"webhook"}) if simulation.plant else {}
    document: dict[str, Any] = {
        "site": "simulation",
        "kafka": kafka.model_dump(mode="json", exclude_none=True),
        "drift": lent | {"window_s": simulation.window_s, "allowed_lateness_s": _LATENESS_S},
        "products": [{"name": PRODUCT, "artifact": PRODUCT}],
        "lines": [
            {
                "name": LINE,
                "timing": {"distance_to_gate_m": 2, "speed_m_s": 1},
                "stations": [
                    {
                        "name": STATION,
                        "product": PRODUCT,
                        "source": {"kind": "simulated", "drawing": "pcb"},
                        "trigger": {"kind": "timer"},
                    }
                ],
            }
        ],
    }
    path = folder / "plant.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return load_plant(path)


async def _stream(
    simulation: Simulation, kafka: Kafka, moved: float, seen: Seen, services: Services, console: Console
) -> None:
    async with (
        EventProducer(kafka, source="/simulation", client_id="simulate-drift") as producer,
        EventConsumer(kafka, "drift", client_id="simulate-drift-reader") as consumer,
    ):
        publishing = asyncio.create_task(_publish(simulation, producer, moved, seen))
        try:
            quiet = 0.0
            while quiet < _QUIET_S:
                records = await consumer.poll(500, 0.5)
                quiet = 0.0 if records else quiet + 0.5
                services.check()
                for record in records:
                    report, _ = record.read(DriftReport)
                    seen.take(report)
                    for alert in report.alerts:
                        console.print(_row(seen, alert))
                if publishing.done() and seen.until >= publishing.result():
                    return
            raise ProcessError(f"the drift service reported nothing for {_QUIET_S:.0f} s")
        finally:
            publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await publishing


async def _publish(simulation: Simulation, producer: EventProducer, moved: float, seen: Seen) -> float:
    """Send all verdicts, not too far ahead of the reports; returns the event time that the last report must reach."""
    batch = []
    last = before_last = 0.0
    after = simulation.window_s + 2 * _LATENESS_S
    for verdict in verdicts(simulation.line, simulation.weeks, moved, after):
        before_last, last = last, verdict.times.captured.timestamp()
        batch.append(producer.post(verdict))
        if len(batch) >= _AT_ONCE:
            await asyncio.gather(*batch)
            batch = []
            while seen.until and last - seen.until > _LEAD_S:
                await seen.grown()
    await asyncio.gather(*batch)
    return before_last


def _heading() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_row(*(f"[dim]{word:<{width}}" for word, width in _COLUMNS))
    return table


_COLUMNS = (("day", 6), ("alert", 10), ("signal", 18), ("severity", 8), ("what changed", 40))


def _row(seen: Seen, alert: DriftAlert) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for _, width in _COLUMNS[:-1]:
        table.add_column(width=width)
    table.add_column()
    day = (alert.at.timestamp() - seen.begins) / DAY_S
    table.add_row(
        f"{day:.2f}", f"[{_COLOURS[alert.stage]}]{alert.stage}", alert.signal, alert.severity,
        f"{alert.change}\n[dim]likely {alert.cause}\nnext: {alert.next_step}",
    )  # fmt: skip
    return table


def _conclude(simulation: Simulation, seen: Seen, console: Console) -> int:
    scenario, onset = simulation.scenario, seen.begins + simulation.line.onset_s
    before = sum(
        report.passed + report.rejected + sum(report.unscored.values())
        for report in seen.reports
        if report.closed.timestamp() <= onset
    )
    table = Table("signal", "raised on day", "hours after the change", "parts after it", "likely cause")
    for alert, parts in seen.raised:
        late = (alert.at.timestamp() - onset) / 3600
        drifting = scenario.drifts and late > 0
        table.add_row(
            alert.signal,
            f"{(alert.at.timestamp() - seen.begins) / DAY_S:.2f}",
            f"{late:.1f}" if drifting else "–",
            str(parts - before) if drifting else "–",
            alert.cause,
        )
    console.print(table)
    early = [alert for alert, _ in seen.raised if not scenario.drifts or alert.at.timestamp() <= onset]
    found = [alert for alert, _ in seen.raised if scenario.drifts and alert.at.timestamp() > onset]
    console.print(
        f"{seen.parts} parts in {len(seen.reports)} windows; {len(early)} false alarms; {_said(scenario, found)}"
    )
    if simulation.plot is not None:
        title = f"{scenario.name}: {scenario.about}"
        drawn = svg(seen.reports, title, simulation.line.onset_s if scenario.drifts else None)
        write_whole(simulation.plot, drawn.encode())
        console.print(f"plot: {simulation.plot}")
    return 0 if bool(found) is scenario.drifts and not early else 1


def _said(scenario: Scenario, found: list[DriftAlert]) -> str:
    if not scenario.drifts:
        return "nothing drifts in this scenario"
    return f"the change was found, first by {found[0].signal}" if found else "the change was not found"


def scenario_named(slug: str) -> Scenario | None:
    """Return the scenario of that name, None when there is none."""
    return next((scenario for scenario in SCENARIOS if scenario.slug == slug), None)
