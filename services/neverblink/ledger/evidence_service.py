"""What the ledger service runs to keep evidence: the parts put together, their duties and how they stand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from neverblink.events.topics import TOPICS
from neverblink.kafka import EventConsumer, ensure_topics
from neverblink.ledger.evidence_book import EvidenceBook
from neverblink.ledger.evidence_desk import EvidenceDesk
from neverblink.ledger.evidence_keeper import EvidenceKeeper
from neverblink.ledger.evidence_pictures import EvidencePictures
from neverblink.ledger.instruments import evidence_instruments
from neverblink.ledger.retention import Retention
from neverblink.plant import Plant
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.service_life import Duty
from neverblink.service_life.standing import Parts
from neverblink.storage.frame_objects import ObjectStore


@dataclass(frozen=True, slots=True)
class KeepingEvidence:
    """The duties of a ledger that keeps evidence."""

    keeper: EvidenceKeeper
    pictures: EvidencePictures

    def duties(self) -> list[Duty]:
        """Return what has to run."""
        return [
            Duty("keeping frames", self.keeper.run),
            Duty("keeping overlays", self.pictures.run),
            Duty("tidying the evidence store", self.keeper.tidy),
        ]

    def parts(self) -> Parts:
        """Return what is amiss, in words."""
        faults = dict.fromkeys(
            fault for fault in (self.keeper.fault, self.pictures.fault, self.keeper.untidy) if fault is not None
        )
        return {"evidence": "; ".join(faults) or None}


@contextlib.asynccontextmanager
async def keeping_evidence(plant: Plant, stop: asyncio.Event) -> AsyncIterator[KeepingEvidence | None]:
    """Give what keeps the plant's evidence, None where the plant keeps none; the records' database is there.

    Raises PlantError for a store that no installed package knows, LedgerError, KafkaError.
    """
    policy = plant.records.evidence
    if policy.store is None:
        yield None
        return
    store = await asyncio.to_thread(EvidenceStore, policy.store)
    await ensure_topics(plant.kafka, ("frames", "evidence"))
    # A connection of its own: keeping records never waits for a question about pictures.
    database = await asyncio.to_thread(Database, plant.storage.ledger, create=False)
    try:
        book = EvidenceBook(database, policy, timedelta(milliseconds=TOPICS["frames"].retention_ms))
        retention = Retention(book, store, policy, datetime.now(UTC))
        desk = EvidenceDesk(database, book, store, retention, evidence_instruments(), stop)
        consumer = EventConsumer(
            plant.kafka,
            "evidence",
            client_id="neverblink-ledger-overlays",
            group=f"{plant.kafka.topic_prefix}-ledger-evidence",
        )
        try:
            async with consumer:
                keeper = EvidenceKeeper(plant.kafka, desk, ObjectStore.of(plant.storage), stop)
                yield KeepingEvidence(keeper, EvidencePictures(consumer, desk, stop))
        finally:
            desk.close()
    finally:
        database.close()
