"""On a Kafka that trusts nobody: every service does its work with exactly its rights, and is refused elsewhere."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer

from neverblink import telemetry
from neverblink.bridge import service as bridge
from neverblink.camera import commands as camera
from neverblink.challenges.announcing import announce
from neverblink.console.access.database import AccessDatabase
from neverblink.demo.plant_file import write_plant
from neverblink.demo.stream import simulated_streams
from neverblink.drift import commands as drift
from neverblink.events import Alarm, Challenge, DeadLetter, DriftReport, Judgement, ServiceReport, Verdict
from neverblink.events.context_schedule import Wish, changed
from neverblink.events.envelope import E
from neverblink.events.identity import challenge_id
from neverblink.kafka import EventConsumer
from neverblink.kafka.connection import connection_settings
from neverblink.kafka.line_contexts import change_context
from neverblink.kafka.line_holds import holds_of, say_hold
from neverblink.kafka.replaying import letters, planned, replay
from neverblink.kafka.service_reports import ServiceReports
from neverblink.ledger import service as ledger
from neverblink.model_registry import registry
from neverblink.model_registry.changes import Stamp, Which
from neverblink.plant import DriftSettings, Plant, ProofSettings
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import parts
from neverblink.reviewing.answers import Answer
from neverblink.reviewing.asking import asking
from neverblink.reviewing.desk import Desk
from neverblink.scorer import commands as scorer
from neverblink.service_life import end_all
from neverblink.simulation.plc.simulated_plcs import simulated_lines
from neverblink.simulation.plc.simulator import PlcSimulator
from rigs.demo_line import fit_small
from rigs.locked_plant import LockedPlant, expected, table
from rigs.secured_kafka import SecuredKafka, secured_kafka
from rigs.served_console import listening

pytestmark = pytest.mark.plant

PARTS = 6
WITHIN_S = 90.0
GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/kafka-security.md"
SERVICES = {"camera", "scorer", "bridge", "drift", "ledger"}


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    """One broker, whose logins hold."""
    yield from secured_kafka(session_ms=0)


@pytest.mark.timeout(600)  # all services begin in it: on a busy machine that takes minutes
async def test_each_service_does_its_work_with_exactly_its_rights_and_is_refused_elsewhere(
    secured: SecuredKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    locked = LockedPlant(secured, tmp_path, f"p{uuid4().hex[:6]}")
    await locked.allow()
    whole = plant_of(locked, tmp_path)
    keyword_defaults = ServiceReports.__init__.__kwdefaults__
    monkeypatch.setitem(keyword_defaults, "first_s", 1.0)
    caplog.set_level(logging.INFO)
    (belt,) = simulated_lines(whole, running=False)
    async with PlcSimulator(replace(belt, rate_per_s=2.0)) as plc, serving(locked, whole, monkeypatch, tmp_path):
        async with asyncio.timeout(WITHIN_S):
            while not plc.value("Permit"):  # noqa: ASYNC110 - the PLC tells nobody
                await asyncio.sleep(0.1)
        await people_work(locked, whole)
        await plc.run_conveyor(PARTS)
        await everybody_has_worked(locked, whole)
        async with asyncio.timeout(WITHIN_S):
            while not plc.idle:  # noqa: ASYNC110 - the PLC tells nobody
                await asyncio.sleep(0.1)
    refusals = [record.getMessage() for record in caplog.records if "not allowed" in record.getMessage()]
    assert refusals == []

    answers = await locked.ask_broker()
    assert answers == {party: expected(locked, party) for party in answers}
    rows = "\n".join(table(answers, list(locked.topics.values())))
    assert rows in GUIDE.read_text(encoding="utf-8"), f"the guide's table is not what the broker answered:\n{rows}"


def plant_of(locked: LockedPlant, folder: Path) -> Plant:
    """Write a plant of one line whose drift windows are short and whose small model is fitted."""
    stream = simulated_streams()[0]
    plant = write_plant(folder, [stream], locked.root.bootstrap, {})
    plant = plant.model_copy(
        update={
            "kafka": locked.root,
            "drift": DriftSettings(window_s=1, allowed_lateness_s=0.5),
            "proof": ProofSettings.model_validate({"challenges": {"grace_s": 0.5}}),
        }
    )
    fit_small(plant, stream)
    return plant


@contextlib.asynccontextmanager
async def serving(
    locked: LockedPlant, whole: Plant, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> AsyncIterator[None]:
    """Run every service, each as the user that it is in a plant."""
    stop = asyncio.Event()

    async def run_service(service: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        await main(stop)

    monkeypatch.setattr(telemetry, "setup", lambda *_: None)
    monkeypatch.setattr(camera, "run_service", run_service)
    monkeypatch.setattr(scorer, "run_service", run_service)
    mine = partial(locked.plant, whole)
    works = {
        "scorer": scorer.run(mine("scorer"), "one"),
        "bridge": bridge.serve(mine("bridge"), whole.lines, stop),
        "ledger": ledger.serve(mine("ledger"), stop),
        "drift": drift.serve(mine("drift"), None, stop),
        "camera": camera.run(mine("camera")),
    }
    access = AccessDatabase(f"sqlite:///{folder / 'console.db'}")
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    try:
        async with listening(mine("console"), access):
            yield
            assert [task.get_name() for task in tasks if task.done()] == []
            stop.set()
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(*tasks)
    finally:
        stop.set()
        await end_all(tasks)
        access.close()


async def people_work(locked: LockedPlant, whole: Plant) -> None:
    """Do what people and an MES do, each as the user that they are."""
    line, now = whole.lines[0].name, datetime.now(UTC)
    operator = locked.kafka("operator")
    await change_context(
        operator, whole.site, line, partial(changed, line=line, wish=Wish({"lot": "L7"}, {}), at=now, by="shift lead")
    )
    await say_hold(operator, whole.site, line, "hold", now, "shift lead", "a test")
    await say_hold(operator, whole.site, line, "released", now + timedelta(seconds=1), "shift lead", "a test")
    assert set(await holds_of(operator)) == {line}
    unknown = Challenge(
        id=challenge_id(line, "nobody-knows-it", now, "qa"), line=line, reference="nobody-knows-it", by="qa",
        at=now, expires=now + timedelta(seconds=1),
    )  # fmt: skip
    await announce(locked.plant(whole, "operator"), unknown)
    product = whole.products[0].name
    for party in ("trainer", "console"):
        stamp = Stamp(party, "a test", datetime.now(UTC))
        done = await registry.activate(locked.plant(whole, party), Which(product=product), product, None, stamp)
        assert len(done.events) == 1
    # Who may write to a topic may write what nobody can read: whoever reads it sets it aside.
    for topic in ("frames", "verdicts"):
        client = AIOKafkaProducer(**connection_settings(locked.kafka("camera"), "poison"))
        await client.start()
        await client.send_and_wait(f"{locked.root.topic_prefix}.{topic}", b"poison", key=line.encode())
        await client.stop()


async def everybody_has_worked(locked: LockedPlant, whole: Plant) -> None:
    """Wait until what each has to do is done, as those see it who may read it."""
    async with asyncio.timeout(WITHIN_S), asking(whole.storage.ledger) as records:
        while True:
            page = await records.ask(parts, PartFilter())
            if len([part for part in page.parts if part.gate is not None]) == PARTS:
                break
            await asyncio.sleep(0.2)
    for party, answer in (("reviewer", Judgement.NORMAL), ("console", Judgement.DEFECT)):
        await Desk(locked.plant(whole, party), party).answer([Answer(str(page.parts[0].serial), answer)])
    await until(locked, "sre", DriftReport, lambda found: len(found) >= 1)
    await until(locked, "sre", Alarm, lambda found: any("nobody-knows-it" in one.what for one in found))
    set_aside = {"scorer", "bridge", "drift", "ledger"}
    told = await until(locked, "maintainer", DeadLetter, lambda found: {one.service for one in found} >= set_aside)
    seen = await letters(locked.kafka("maintainer"))
    plan = planned([one for one in seen if one.letter.topic == "verdicts"], again=False)
    await replay(
        locked.kafka("maintainer"),
        whole.site,
        plan.wanted,
        by="m",
        why=None,
        now=datetime.now(UTC),
        tell=lambda _: None,
    )
    assert len(told) >= len(set_aside)
    await until(locked, "console", ServiceReport, lambda found: {one.service for one in found} >= SERVICES)
    verdicts = await asyncio.to_thread(as_mes, locked)
    assert verdicts >= PARTS


async def until(locked: LockedPlant, party: str, kind: type[E], enough: Callable[[list[E]], bool]) -> list[E]:
    """Read a topic as a party from its beginning until `enough`."""
    found: list[E] = []
    group = f"{locked.root.topic_prefix}-sre-1" if party == "sre" else None
    async with (
        asyncio.timeout(WITHIN_S),
        EventConsumer(locked.kafka(party), kind.TOPIC, client_id=f"{party}-test", group=group) as consumer,
    ):
        while not enough(found):
            found += [record.read(kind)[0] for record in await consumer.poll()]
    return found


def as_mes(locked: LockedPlant) -> int:
    """Read verdicts as an MES does, in a group of its own, with a client that is not ours; return how many came."""
    prefix = locked.root.topic_prefix
    consumer = Consumer(locked.foreign("mes", **{"group.id": f"{prefix}-mes-7", "auto.offset.reset": "earliest"}))
    consumer.subscribe([f"{prefix}.{Verdict.TOPIC}"])
    found = 0
    while found < PARTS:
        message = consumer.poll(WITHIN_S)
        assert message is not None, f"{found} verdicts came"
        assert message.error() is None, message.error()
        found += 1
    consumer.commit(asynchronous=False)
    consumer.close()
    return found
