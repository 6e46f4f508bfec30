"""Where a consumer reads on when its place is gone: deleted by retention, or in a topic that was made anew.

The library would move silently. Here what is lost is counted and told, and reading goes on at the oldest record that
is there: what has not been read must not be skipped as well.
"""

from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from neverblink import telemetry
from neverblink.kafka.instruments import lost, moved
from neverblink.service_life.time_limit import time_limit

_WITHIN_S = 15.0

PLACE_GONE = (OffsetOutOfRangeError, NoOffsetForPartitionError)
"""What a consumer with `auto_offset_reset="none"` raises until it is told where to read."""

_log = telemetry.logger("kafka")
_lost = lost()
_moved = moved()


async def begin(client: AIOKafkaConsumer, places: set[TopicPartition], start: Literal["earliest", "latest"]) -> None:
    """Set where these partitions are read from first. Raises TimeoutError while the cluster is away."""
    if places:
        async with time_limit(_WITHIN_S):
            await (client.seek_to_beginning if start == "earliest" else client.seek_to_end)(*sorted(places))


async def mend(client: AIOKafkaConsumer, error: Exception, start: Literal["earliest", "latest"]) -> None:
    """Set a place that is gone anew, and tell what is lost. Raises the library's errors and TimeoutError."""
    if isinstance(error, NoOffsetForPartitionError):
        await begin(client, {error.args[0]}, start)
        return
    gone: dict[TopicPartition, int] = error.args[0]
    async with time_limit(_WITHIN_S):
        firsts = await client.beginning_offsets(list(gone))
        ends = await client.end_offsets(list(gone))
    for place, wanted in gone.items():
        first, end = firsts[place], ends[place]
        _moved.add(1, {"topic": place.topic.rpartition(".")[2]})
        if wanted < first:
            _lost.add(first - wanted, {"topic": place.topic.rpartition(".")[2]})
            _log.error(
                f"records {wanted} to {first - 1} of {place.topic}[{place.partition}] were deleted before they were"
                f" read: {first - wanted} are lost. Reading goes on at {first}; a reader is too slow or was away too"
                " long, or retention is too short"
            )
        else:
            _log.error(
                f"{place.topic}[{place.partition}] ends at {end} and {wanted} was to be read next: the topic was made"
                f" anew or cut back, and what it held is gone. Reading goes on at its beginning, {first}"
            )
        client.seek(place, first)


def known(client: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Return the next offset of each assigned partition that has one, without asking the cluster."""
    states = client._subscription.subscription.assignment
    return {tp: state.position for tp in states.tps if (state := states.state_value(tp)).has_valid_position}


async def next_offsets(
    client: AIOKafkaConsumer, start: Literal["earliest", "latest"], *, committed: bool
) -> dict[TopicPartition, int]:
    """Return where each assigned partition is read next. Raises the library's errors and TimeoutError.

    The library's own question waits for ever for a partition that nobody has told it where to read yet.
    """
    found = known(client)
    async with time_limit(_WITHIN_S):
        for place in client.assignment() - found.keys():
            offset = await client.committed(place) if committed else None
            if offset is None:
                ends = await (client.beginning_offsets if start == "earliest" else client.end_offsets)([place])
                offset = ends[place]
            found[place] = offset
    return found
