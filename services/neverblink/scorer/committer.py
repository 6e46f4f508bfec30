"""Moves the group's offsets up to what is finished."""

import asyncio
import contextlib

from neverblink.kafka import EventConsumer, KafkaError, Partition
from neverblink.scorer.watermark import Watermark
from neverblink.service_life.time_limit import time_limit

_COMMIT_EVERY_S = 0.2
# While partitions are given back the whole group stands still, and a coordinator that is away must not prolong it.
_GIVE_BACK_S = 1.0
_LAST_COMMIT_S = 2.0


class Committer:
    """Commits the watermark, now and then and before partitions move away."""

    def __init__(self, consumer: EventConsumer, watermark: Watermark) -> None:
        self._consumer = consumer
        self._watermark = watermark
        consumer.on_revoked(self._give_back)

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await asyncio.sleep(_COMMIT_EVERY_S)
            with contextlib.suppress(KafkaError):  # the next round commits more
                await self._commit()

    async def finish(self) -> None:
        """Commit what is finished, for the last time."""
        await self._commit_within(_LAST_COMMIT_S)

    async def _give_back(self, places: set[Partition]) -> None:
        """Commit what is finished of partitions that move away; the new owner scores the rest again."""
        await self._commit_within(_GIVE_BACK_S)
        self._watermark.forget(places)

    async def _commit_within(self, seconds: float) -> None:
        with contextlib.suppress(KafkaError, TimeoutError):
            async with time_limit(seconds):
                await self._commit()

    async def _commit(self) -> None:
        due = self._watermark.due()
        if due:
            await self._consumer.commit(due)
            self._watermark.committed(due)
