"""The whole bridge service between a Kafka in memory and simulated PLCs: start, ready, work, stop."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from neverblink.bridge import service, succession
from neverblink.bridge.readiness import Readiness
from neverblink.events import Actuation, Decision, Event, Outcome, Reason, Times, Tracking, Verdict, encode
from neverblink.events.identity import frame_id, verdict_id
from neverblink.kafka import Record
from neverblink.kafka.trouble import Trouble
from neverblink.plant import Line, Plant, Product, Timing
from neverblink.plc.contract import BridgeState
from neverblink.plc.trigger import triggers
from neverblink.service_life import READY_FILE
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.simulator import PlcSimulator

TIMING = Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)


class MemoryKafka:
    """One topic of verdicts in, events out."""

    def __init__(self) -> None:
        self.records: asyncio.Queue[Record] = asyncio.Queue(1000)
        self.sent: list[Event] = []
        self.began_at: datetime | None = None
        self.keys: list[str] = []

    def publish(self, event: Event) -> None:
        message = encode(event, source="/test/scorer")
        now = datetime.now(UTC)
        self.records.put_nowait(Record("verdicts", 0, 0, now, event.key, message.value, tuple(message.headers)))

    def producer(self, *_: Any, **__: Any) -> "Producer":
        return Producer(self)

    def consumer(self, *_: Any, keys: list[str], group: str | None = None, **__: Any) -> "Consumer":
        assert group is None
        self.keys = keys
        return Consumer(self)

    def holds(self, *_: Any, **__: Any) -> "Holds":
        return Holds()


class Holds:
    """A topic that says nothing of any line."""

    async def follow(self) -> None:
        await asyncio.Event().wait()

    async def known(self, within_s: float) -> None:
        pass


class Producer:
    troubles: tuple[Trouble, ...] = ()

    def __init__(self, kafka: MemoryKafka) -> None:
        self._kafka = kafka

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def send(self, event: Event, *, trace: Mapping[str, str] | None = None) -> None:
        self._kafka.sent.append(event)


class Consumer(Producer):
    trouble: Trouble | None = None

    async def ends(self) -> dict[tuple[str, int], int]:
        return {}

    async def seek_to_time(self, moment: datetime) -> None:
        self._kafka.began_at = moment

    async def poll(self, timeout_s: float = 0.2) -> list[Record]:
        try:
            return [await asyncio.wait_for(self._kafka.records.get(), timeout_s)]
        except TimeoutError:
            return []


async def feed(kafka: MemoryKafka, line: Line) -> None:
    """Reject what the PLC triggers, through the topic."""
    assert line.plc is not None
    async for trigger in triggers(line.plc, poll_ms=10):
        frame = frame_id(trigger.at)
        kafka.publish(
            Verdict(
                id=verdict_id(frame),
                frame_id=frame,
                line=line.name,
                station="top",
                product="pcb",
                part=str(trigger.number),
                seq=trigger.number,
                tracking=Tracking(epoch=trigger.epoch, number=trigger.number),
                decision=Decision.UNSCORED,
                reason=Reason.TOO_DARK,
                times=Times(captured=trigger.at, emitted=datetime.now(UTC)),
                deadline=trigger.at + timedelta(seconds=line.timing.budget_s),
            )
        )


def plant_for(*simulators: PlcSimulator) -> Plant:
    return Plant.model_validate(
        {
            "site": "test",
            "products": [Product(name="pcb", artifact="pcb").model_dump()],  # type: ignore[arg-type]
            "lines": [
                {
                    "name": simulator.line.name,
                    "timing": TIMING.model_dump(),
                    "plc": {
                        "endpoint": simulator.endpoint,
                        "security": {"policy": "None", "allow_insecure": True},
                    },
                    "stations": [
                        {
                            "name": "top",
                            "product": "pcb",
                            "source": {"kind": "simulated", "drawing": "pcb"},
                            "trigger": {"kind": "plc"},
                        }
                    ],
                }
                for simulator in simulators
            ],
        }
    )


def in_memory(monkeypatch: pytest.MonkeyPatch) -> MemoryKafka:
    """Put the service on a Kafka in memory."""
    kafka = MemoryKafka()

    async def ensure_topics(settings: Any, names: Iterable[str]) -> None:
        assert set(names) == {"verdicts", "actuations", "dead-letters"}

    monkeypatch.setattr(service, "EventProducer", kafka.producer)
    monkeypatch.setattr(service, "EventConsumer", kafka.consumer)
    monkeypatch.setattr(succession, "EventConsumer", kafka.consumer)
    monkeypatch.setattr(service, "ensure_topics", ensure_topics)
    monkeypatch.setattr(service, "FollowedTopic", kafka.holds)
    return kafka


async def test_a_refused_line_is_named_beside_one_that_works_and_the_bridge_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    in_memory(monkeypatch)
    caplog.set_level("INFO", "neverblink.bridge")
    file = tmp_path / "ready"
    file.touch()
    monkeypatch.setenv(READY_FILE, str(file))
    sound = SimulatedLine("line-1", TIMING, running=False)
    wrong = SimulatedLine("line-2", TIMING, running=False, read_only=frozenset({"BridgeHb"}))
    async with PlcSimulator(sound) as first, PlcSimulator(wrong) as second:
        plant, stop = plant_for(first, second), asyncio.Event()
        counts: list[dict[str, int]] = []
        serving = asyncio.create_task(
            service.serve(plant, service.lines_with_plc(plant, None), stop, ["line 7 is odd"])
        )
        monkeypatch.setattr(Readiness, "count", counted(counts, Readiness.count))
        async with asyncio.timeout(10):
            while first.value("BridgeState") != BridgeState.READY or not of_state(caplog, "unready"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.6)
        stop.set()
        await serving
    (entry,) = of_state(caplog, "unready")
    assert entry["lines"] == ("line-1",)
    assert "BridgeHb) is read-only" in entry["missing"]["line-2"]
    assert "line 7 is odd" in " ".join(entry["missing"].values())
    assert not of_state(caplog, "ready")
    assert not file.exists()
    assert counts[-1]["ready"] == counts[-1]["refused"] == counts[-1]["left-out"] == 1


def of_state(caplog: pytest.LogCaptureFixture, state: str) -> list[dict[str, Any]]:
    return [fields for entry in caplog.records if (fields := getattr(entry, "fields", {})).get("state") == state]


def counted(counts: list[dict[str, int]], count: Callable[..., Any]) -> Callable[..., Any]:
    def counting(self: Readiness, lines: Any) -> Any:
        counts.append(count(self, lines))
        return counts[-1]

    return counting


async def test_verdicts_on_the_topic_reach_the_gate_and_their_outcomes_come_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kafka = in_memory(monkeypatch)
    caplog.set_level("INFO", "neverblink.bridge")
    wanted = SimulatedLine("line-1", TIMING, rate_per_s=20, running=False)
    async with PlcSimulator(wanted) as simulator:
        plant, stop = plant_for(simulator), asyncio.Event()
        serving = asyncio.create_task(service.serve(plant, service.lines_with_plc(plant, None), stop))
        feeding = asyncio.create_task(feed(kafka, plant.lines[0]))
        async with asyncio.timeout(10):
            while not of_state(caplog, "ready"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.6)  # the PLC trusts a heartbeat that it has seen move
        await simulator.run_conveyor(10)
        await asyncio.sleep(2.0)
        stop.set()
        await asyncio.wait_for(serving, 5)
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding
        assert simulator.value("BridgeState") == BridgeState.STOPPING
        assert {entry["action"] for entry in simulator.gated} == {"rejected"}
    assert kafka.keys == ["line-1"]
    assert kafka.began_at is not None
    assert datetime.now(UTC) - kafka.began_at > timedelta(seconds=TIMING.lead_s)
    told = [event for event in kafka.sent if isinstance(event, Actuation) and event.stage == "told"]
    gate = [event for event in kafka.sent if isinstance(event, Actuation) and event.stage == "gate"]
    assert {event.outcome for event in told} == {Outcome.CONFIRMED}
    assert sorted(event.tracking.number for event in told) == list(range(1, 11))
    assert sorted(event.tracking.number for event in gate) == list(range(1, 11))
