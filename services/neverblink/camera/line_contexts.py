"""Follows the context topic: which order, lot and product is on a line, now and from a later part on."""

import asyncio
from collections.abc import Callable, Iterable

from neverblink import telemetry
from neverblink.camera.triggers import Trigger
from neverblink.events import Context
from neverblink.events.context import ContextValues
from neverblink.kafka import KafkaError, LatestEvents, ensure_topics
from neverblink.plant import Kafka
from neverblink.service_life import time_limit

# A node that cannot read the context judges its parts without: it is tried again, and never waited for.
_READ_WITHIN_S = 30.0
_POLL_S = 1.0
_AGAIN_S = 5.0


class LineContexts:
    """The newest context of each line. Of a topic that is not there or may not be read, nothing is known."""

    def __init__(self, kafka: Kafka, lines: Iterable[str], *, client_id: str) -> None:
        self._kafka = kafka
        self._client_id = client_id
        self._contexts: dict[str, Context | None] = dict.fromkeys(lines)
        self._recurring = telemetry.Recurring(telemetry.logger("camera"))
        self._read = asyncio.Event()

    def of(self, line: str) -> Callable[[Trigger], ContextValues | None]:
        """Return what says the values that hold for a part of a line."""

        def held(trigger: Trigger) -> ContextValues | None:
            context = self._contexts.get(line)
            return None if context is None else context.of_part(trigger.at, trigger.tracking)

        return held

    async def known(self, within_s: float) -> None:
        """Wait until the topic has been read once, or so long: parts do not wait for it."""
        try:
            async with time_limit(within_s):
                await self._read.wait()
        except TimeoutError:
            self._recurring.tell("late", f"the context could not be read within {within_s:g} s: parts go without it")

    async def follow(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await ensure_topics(self._kafka, (Context.TOPIC,))
                async with LatestEvents(self._kafka, Context, client_id=self._client_id) as events:
                    self._take(await events.to_the_end(_READ_WITHIN_S))
                    self._read.set()
                    while True:
                        self._take(await events.poll(_POLL_S))
            except KafkaError as error:
                self._recurring.tell("unread", f"{error}; parts go on with the context that was known")
                await asyncio.sleep(_AGAIN_S)

    def _take(self, events: Iterable[tuple[str, Context | None]]) -> None:
        for key, context in events:
            # By the record's key: a writer that says another line inside would take the wrong line's parts along.
            if key in self._contexts and (context is None or context.line == key):
                self._contexts[key] = context
