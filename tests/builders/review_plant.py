"""A plant whose parts are reviewed: verdicts on a broker, the ledger in this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from camera_line import line_of

from neverblink.events import ArtifactRef, Decision, Event, Times, Verdict
from neverblink.events.identity import verdict_id
from neverblink.events.parts import Identity
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.ledger.service import TOPICS_READ, serve
from neverblink.plant import Plant, load_plant
from neverblink.records.database import LedgerError
from neverblink.records.reading import ReadOnlyRecords
from rigs.scored_line import sent

ARTIFACT = ArtifactRef(name="plate", version="3", digest="sha256:" + "a" * 64)
WITHIN_S = 30.0


def plant_file(bootstrap: str, folder: Path, **reviewing: Any) -> Path:
    """Write the plant file and return its place."""
    described = {
        "site": "test",
        "kafka": {"bootstrap": bootstrap, "topic_prefix": "review", "partitions": 2, "replication": 1},
        "storage": {"artifacts": str(folder), "ledger": f"sqlite:///{folder / 'ledger.db'}"},
        "records": {"reviewing": reviewing},
        "products": [{"name": "plate", "artifact": "plate"}],
        "lines": [
            line_of({"product": "plate"}).model_copy(update={"name": name}).model_dump(mode="json")
            for name in ("line-1", "line-2")
        ],
    }
    file = folder / "plant.yaml"
    file.write_text(yaml.safe_dump(described))
    return file


def scored(number: int, decision: str = "reject", *, line: str = "line-1", **changes: Any) -> Verdict:
    """Build the verdict of a part that was captured some minutes ago, part 1 first."""
    captured = datetime.now(UTC) - timedelta(minutes=50) + timedelta(seconds=number)
    known = decision != Decision.UNSCORED
    fields = {
        "id": verdict_id(f"{line}-{number}"), "frame_id": f"{line}-{number}", "line": line, "station": "top",
        "product": "plate", "part": f"1-{number}", "seq": number, "decision": decision,
        "reason": None if decision == "pass" else "anomaly", "score": 1.0 if known else None,
        "threshold": 2.0 if known else None, "ratio": 0.5 if known else None, "artifact": ARTIFACT if known else None,
        "times": Times(captured=captured), "deadline": captured + timedelta(seconds=2),
        "identity": Identity(serial=f"{line}-SN-{number}", lot="L7"),
    }  # fmt: skip
    return Verdict.model_validate({**fields, **changes})


@asynccontextmanager
async def reviewed_plant(file: Path, *events: Event) -> AsyncIterator[Plant]:
    """Publish events and keep the plant's ledger running, from when it has the last of them on."""
    plant = load_plant(file)
    await ensure_topics(plant.kafka, TOPICS_READ)
    stop = asyncio.Event()
    ledger = asyncio.create_task(serve(plant, stop))
    try:
        async with EventProducer(plant.kafka, source="/test", client_id="test") as producer:
            await sent(producer, *events)
        wanted = sum(isinstance(event, Verdict) for event in events)
        await until(plant, lambda records: count_of(records, "verdicts") >= wanted)
        yield plant
    finally:
        stop.set()
        await asyncio.wait_for(ledger, WITHIN_S)


async def publish(plant: Plant, *events: Event) -> None:
    """Publish events around the desk, as another program would."""
    async with EventProducer(plant.kafka, source="/test", client_id="test") as producer:
        await sent(producer, *events)


async def until(plant: Plant, true: Callable[[ReadOnlyRecords], bool]) -> None:
    """Wait until the records say so. Raises TimeoutError."""

    def holds() -> bool:
        try:
            records = ReadOnlyRecords(plant.storage.ledger, answer_s=5)
        except LedgerError:
            return False  # not made yet
        try:
            return true(records)
        finally:
            records.close()

    async with asyncio.timeout(WITHIN_S):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - another thread writes
            await asyncio.sleep(0.05)


def count_of(records: ReadOnlyRecords, table: str) -> int:
    """Return the rows of a table."""
    with records.asking() as session:
        return int(session.connection().exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
