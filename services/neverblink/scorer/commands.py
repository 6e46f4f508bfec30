"""`neverblink scorer`: loads the models, then joins the group."""

import asyncio
import socket

from neverblink import telemetry
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.plant import Plant
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from neverblink.service_life import ready, run_service

_TOPICS = ("frames", "verdicts", "shadow-verdicts", "evidence", "dead-letters")


async def run(plant: Plant, instance: str | None = None) -> None:
    """Run one scorer until SIGTERM. `instance` names it among the group's members, the host by default."""
    name = instance or socket.gethostname()

    telemetry.setup("scorer", plant.site)

    async def main(stop: asyncio.Event) -> None:
        telemetry.logger("scorer").info("loading models")
        # Before joining: a member that holds partitions must be able to score at once.
        models = await asyncio.to_thread(Models.load, plant)
        await ensure_topics(plant.kafka, ("frames", "verdicts", "shadow-verdicts", "evidence", "dead-letters"))
        consumer = EventConsumer(
            plant.kafka,
            "frames",
            client_id=f"scorer-{name}",
            group=f"{plant.kafka.topic_prefix}-scorer",
            instance=f"scorer-{name}",
        )
        producer = EventProducer(plant.kafka, source=f"/{plant.site}/scorer", client_id=f"scorer-{name}")
        async with producer, consumer:
            scorer = Scorer(consumer, producer, models, plant.scorer, scales=plant.scales())
            ready("scorer", products=[product.name for product in plant.products])
            await scorer.run(stop)

    await run_service("scorer", main)
