"""A scorer that follows the models topic, as `neverblink scorer` does, and a wait for what it does then."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from neverblink.kafka import EventConsumer, EventProducer
from neverblink.plant import Plant
from neverblink.scorer.commands import followed_models
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from rigs.scored_line import ScoredLine


@contextlib.asynccontextmanager
async def scoring(line: ScoredLine, plant: Plant | None = None) -> AsyncIterator[Models]:
    """Run a scorer of the line's plant, or of another that shares its Kafka."""
    described, stop = plant or line.plant, asyncio.Event()
    async with followed_models(described, client_id="scorer-models") as models:
        consumer = EventConsumer(line.kafka, "frames", client_id="scorer", group=f"{line.kafka.topic_prefix}-scorer")
        producer = EventProducer(line.kafka, source="/test/scorer", client_id="scorer")
        async with producer, consumer:
            scorer = Scorer(consumer, producer, models, described.scorer, scales=described.scales())
            work = asyncio.create_task(scorer.run(stop))
            try:
                yield models
            finally:
                stop.set()
                await work


async def until(true: Callable[[], object], within_s: float = 30) -> None:
    """Wait for what has no event."""
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)
