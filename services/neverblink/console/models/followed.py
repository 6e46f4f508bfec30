"""What the models topic says, followed while the console runs: pages wait for no broker."""

import asyncio
from collections.abc import Iterable
from typing import Final

from neverblink import telemetry
from neverblink.events import ModelSlots
from neverblink.kafka import KafkaError, LatestEvents, ensure_topics
from neverblink.kafka.trouble import Trouble, Watch
from neverblink.plant import Plant
from neverblink.service_life import wait_or_stop

_READ_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.5
_AGAIN_S: Final = 3.0
_MOST_OF_A_STATION: Final = 100
"""Earlier changes of a station that are kept; compaction leaves fewer."""

_CLIENT = "console-models"


class FollowedModels:
    """The state of every station's models, and its changes before as far as the topic still holds them."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._log = telemetry.Recurring(telemetry.logger("console"))
        self._watch = Watch()
        self._events: LatestEvents[ModelSlots] | None = None
        self._changes: dict[str, list[ModelSlots]] = {}
        self.known = False
        """Whether the topic was read to its end once."""

    @property
    def trouble(self) -> Trouble | None:
        """Return why the topic cannot be read now, and since when; None while it can."""
        return self._watch.now or (self._events.trouble if self._events is not None else None)

    def changes(self, key: str) -> tuple[ModelSlots, ...]:
        """Return what the topic holds of a station (`line/station`), in order."""
        return tuple(self._changes.get(key, ()))

    def now(self, key: str) -> ModelSlots | None:
        """Return the last change of a station, None where there was none."""
        held = self._changes.get(key)
        return held[-1] if held else None

    async def follow(self, stop: asyncio.Event) -> None:
        """Read the topic until `stop` is set."""
        kafka = self._plant.kafka
        while not stop.is_set():
            try:
                await ensure_topics(kafka, (ModelSlots.TOPIC,))
                async with LatestEvents(kafka, ModelSlots, client_id=_CLIENT) as events:
                    whole = await events.to_the_end(_READ_WITHIN_S)
                    self._changes = {}
                    self.take(whole)
                    self._events, self.known = events, True
                    self._watch.worked()
                    while not stop.is_set():
                        self.take(await events.poll(_POLL_S))
            except KafkaError as error:
                self._watch.failed(str(error))
                self._log.tell("models", f"{error}; the pages say so")
                await wait_or_stop(stop, _AGAIN_S)
            finally:
                self._events = None

    def take(self, events: Iterable[tuple[str, ModelSlots | None]]) -> None:
        """Take what the topic says, or what was just published: each event once, by its id."""
        for key, event in events:
            if event is None:
                self._changes.pop(key, None)
                continue
            held = self._changes.setdefault(key, [])
            if all(one.id != event.id for one in held):
                held.append(event)
                del held[:-_MOST_OF_A_STATION]
