"""Follows the context topic: which order, lot and product is on a line, now and from a later part on."""

from collections.abc import Callable, Iterable

from neverblink.camera.triggers import Trigger
from neverblink.events import Context
from neverblink.events.context import ContextValues
from neverblink.kafka.followed_topic import FollowedTopic
from neverblink.plant import Kafka


class LineContexts:
    """The newest context of each line. Of a topic that is not there or may not be read, nothing is known."""

    def __init__(self, kafka: Kafka, lines: Iterable[str], *, client_id: str) -> None:
        self._contexts: dict[str, Context | None] = dict.fromkeys(lines)
        self._topic = FollowedTopic(kafka, Context, "context", self._take, client_id=client_id)

    def of(self, line: str) -> Callable[[Trigger], ContextValues | None]:
        """Return what says the values that hold for a part of a line."""

        def held(trigger: Trigger) -> ContextValues | None:
            context = self._contexts.get(line)
            return None if context is None else context.of_part(trigger.at, trigger.tracking)

        return held

    async def known(self, within_s: float) -> None:
        """Wait until the topic has been read once, or so long: parts do not wait for it."""
        await self._topic.known(within_s)

    async def follow(self) -> None:
        """Work until cancelled."""
        await self._topic.follow()

    def _take(self, events: Iterable[tuple[str, Context | None]]) -> None:
        for key, context in events:
            # By the record's key: a writer that says another line inside would take the wrong line's parts along.
            if key in self._contexts and (context is None or context.line == key):
                self._contexts[key] = context
