"""Follows a topic for a service whose parts never wait for it: what is known so far is what counts."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic

from neverblink import telemetry
from neverblink.events.envelope import E
from neverblink.kafka.connection import KafkaError
from neverblink.kafka.latest_events import LatestEvents
from neverblink.kafka.topics import ensure_topics
from neverblink.plant import Kafka
from neverblink.service_life.time_limit import time_limit

# A service that cannot read the topic judges its parts without: it is tried again, and never waited for.
_READ_WITHIN_S = 30.0
_POLL_S = 1.0
_AGAIN_S = 5.0


class FollowedTopic(Generic[E]):
    """Reads a topic to its end, then what comes, and gives all of it with its keys to `take`.

    `what` is what the topic says, as people call it. Of a topic that is not there or may not be read, nothing is known.
    """

    def __init__(
        self,
        kafka: Kafka,
        kind: type[E],
        what: str,
        take: Callable[[Iterable[tuple[str, E | None]]], None],
        *,
        client_id: str,
        service: str = "camera",
    ) -> None:
        self._kafka = kafka
        self._kind = kind
        self._what = what
        self._take = take
        self._client_id = client_id
        self._recurring = telemetry.Recurring(telemetry.logger(service))
        self._read = asyncio.Event()

    async def known(self, within_s: float) -> None:
        """Wait until the topic has been read once, or so long: parts do not wait for it."""
        try:
            async with time_limit(within_s):
                await self._read.wait()
        except TimeoutError:
            self._recurring.tell(
                "late", f"the {self._what} could not be read within {within_s:g} s: parts go without it"
            )

    async def follow(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await ensure_topics(self._kafka, (self._kind.TOPIC,))
                async with LatestEvents(self._kafka, self._kind, client_id=self._client_id) as events:
                    self._take(await events.to_the_end(_READ_WITHIN_S))
                    self._read.set()
                    while True:
                        self._take(await events.poll(_POLL_S))
            except KafkaError as error:
                self._recurring.tell("unread", f"{error}; parts go on with the {self._what} that was known")
                await asyncio.sleep(_AGAIN_S)
