"""What a topic holds from an instant on: read without a group, and nothing is committed."""

from collections.abc import Sequence
from datetime import datetime

from neverblink.events import EventError
from neverblink.events.envelope import E
from neverblink.kafka import EventConsumer, KafkaError
from neverblink.plant import Kafka


async def events_since(kafka: Kafka, kind: type[E], keys: Sequence[str], since: datetime, *, client_id: str) -> list[E]:
    """Return the events of the partitions that hold `keys`, from an instant on to the topic's end, each one's in order.

    Raises KafkaError.
    """
    found: list[E] = []
    async with EventConsumer(kafka, kind.TOPIC, client_id=client_id, keys=keys) as consumer:
        ends = await consumer.ends()
        await consumer.seek_to_time(since)
        while any(position < ends[place] for place, position in (await consumer.positions()).items()):
            records = await consumer.poll(timeout_s=SILENT_S)
            if not records:
                raise silent(kafka)
            for record in records:
                try:
                    found.append(record.read(kind)[0])
                except EventError:
                    continue  # not ours to judge: who publishes what is none is told by its other readers
    return found


SILENT_S = 60.0
"""So long without a record, though there are more: the broker is away."""


def silent(kafka: Kafka) -> KafkaError:
    """Return the sentence for a broker that sends nothing although there are more records."""
    return KafkaError(
        f"Kafka at {kafka.bootstrap} has sent nothing for {SILENT_S:.0f} s; is it running? The same command goes on"
    )
