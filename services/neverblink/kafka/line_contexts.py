"""Reads what is on the lines, and writes a change of it: the state for camera nodes, the change for the records."""

from collections.abc import Callable, Iterable

from neverblink.events import Context, ContextChange
from neverblink.events.context_schedule import Changed
from neverblink.kafka.latest_events import LatestEvents
from neverblink.kafka.producer import EventProducer
from neverblink.kafka.topics import ensure_topics
from neverblink.plant import Kafka

_CLIENT = "neverblink-context"
_READ_WITHIN_S = 30.0


async def contexts_of(kafka: Kafka) -> dict[str, Context]:
    """Return the context of every line that has one. Raises KafkaError."""
    await ensure_topics(kafka, (Context.TOPIC, ContextChange.TOPIC))
    async with LatestEvents(kafka, Context, client_id=_CLIENT) as events:
        found = dict(await events.to_the_end(_READ_WITHIN_S))
    return {line: context for line, context in found.items() if context is not None}


async def context_history(kafka: Kafka, lines: Iterable[str]) -> list[ContextChange]:
    """Return what was ever put onto these lines, the oldest first. Raises KafkaError."""
    wanted = set(lines)
    async with LatestEvents(kafka, ContextChange, client_id=_CLIENT) as events:
        found = [change for line, change in await events.to_the_end(_READ_WITHIN_S) if line in wanted]
    return sorted((change for change in found if change is not None), key=lambda change: change.at)


async def change_context(kafka: Kafka, site: str, line: str, make: Callable[[Context | None], Changed]) -> Changed:
    """Put onto a line what `make` makes of its present state. Raises KafkaError, and what `make` raises."""
    changed = make((await contexts_of(kafka)).get(line))
    producer = EventProducer(
        kafka, source=f"/{site}/context", client_id=_CLIENT, writes=(Context.TOPIC, ContextChange.TOPIC)
    )
    async with producer:
        # The state first: a line that has its lot and no history of it is better off than one with the opposite.
        await producer.send(changed.context)
        await producer.send(changed.change)
    return changed
