"""One partition: batches in memory, in order, with their offsets, and what its producers sent last."""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from neverblink.brokers.development.protocol import ErrorCode
from neverblink.brokers.development.record_batch import (
    NO_PRODUCER,
    BatchHeader,
    BatchRefused,
    first_at_or_after,
    placed,
)

# Kafka keeps the last five batches of a producer, because a producer has at most five in flight.
_REMEMBERED_BATCHES = 5
# A producer id is handed out at every start of a client; only the most recent ones can still retry.
_REMEMBERED_PRODUCERS = 256
_SEQUENCES = 2**31


class OffsetOutOfRange(Exception):  # noqa: N818
    """The offset asked for is before the first or after the next record of the partition."""


@dataclass(frozen=True, slots=True)
class _Batch:
    base_offset: int
    position: int
    max_timestamp: int
    arrived: float
    data: bytes


@dataclass(slots=True)
class _Producer:
    """An idempotent producer on one partition: its epoch and its last batches (first, last, offset)."""

    epoch: int
    batches: deque[tuple[int, int, int]] = field(
        default_factory=lambda: deque[tuple[int, int, int]](maxlen=_REMEMBERED_BATCHES)
    )


class PartitionLog:
    """The records of one partition, oldest first. Bounded from outside by `drop_oldest`."""

    def __init__(self) -> None:
        self.start_offset = 0
        self.next_offset = 0
        self.watchers: set[Callable[[], None]] = set()
        self._batches: list[_Batch] = []
        self._bases: list[int] = []
        self._head = 0
        self._end_position = 0
        self._producers: OrderedDict[int, _Producer] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._end_position - self._batches[self._head].position if self.oldest is not None else 0

    @property
    def batch_count(self) -> int:
        """Batches held."""
        return len(self._batches) - self._head

    @property
    def oldest(self) -> float | None:
        """When the oldest batch arrived, on the broker's clock; None for an empty partition."""
        return self._batches[self._head].arrived if self._head < len(self._batches) else None

    def append(self, batch: bytes, header: BatchHeader, now: float) -> int:
        """Store a batch and return its offset; a batch that came before returns the offset it got then.

        Raises BatchRefused for a sequence that an idempotent producer must not send.
        """
        if header.producer_id != NO_PRODUCER:
            earlier = self._offset_of_duplicate(header)
            if earlier is not None:
                return earlier
        base = self.next_offset
        data = placed(batch, header, base)
        self._batches.append(_Batch(base, self._end_position, header.max_timestamp, now, data))
        self._bases.append(base)
        self._end_position += len(data)
        self.next_offset = base + header.records
        if header.producer_id != NO_PRODUCER:
            self._remember(header, base)
        self.wake()
        return base

    def bytes_from(self, offset: int) -> int:
        """Return how many bytes a reader at `offset` has before it. Raises OffsetOutOfRange."""
        self._check(offset)
        if offset == self.next_offset:
            return 0
        return self._end_position - self._batches[self._index_of(offset)].position

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool) -> bytes:
        """Return whole batches from the one that holds `offset`, as many as fit into `max_bytes`.

        `at_least_one` returns the first batch even when it is larger, as Kafka does, so that a reader with a
        small limit still moves on. Raises OffsetOutOfRange.
        """
        self._check(offset)
        if offset == self.next_offset:
            return b""
        chosen: list[bytes] = []
        room = max_bytes
        for index in range(self._index_of(offset), len(self._batches)):
            data = self._batches[index].data
            if len(data) > room and not (at_least_one and not chosen):
                break
            chosen.append(data)
            room -= len(data)
        return chosen[0] if len(chosen) == 1 else b"".join(chosen)

    def offset_at(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Return (offset, timestamp) of the first record that is not older than `timestamp_ms`, or None."""
        for index in range(self._head, len(self._batches)):
            batch = self._batches[index]
            if batch.max_timestamp >= timestamp_ms:
                found = first_at_or_after(batch.data, timestamp_ms, self.start_offset)
                if found is not None:
                    return found
        return None

    def delete_before(self, offset: int) -> int:
        """Forget what is older than `offset` (-1: everything) and return the new first offset.

        Raises OffsetOutOfRange.
        """
        target = self.next_offset if offset == -1 else offset
        if not 0 <= target <= self.next_offset:
            raise OffsetOutOfRange
        while self.batch_count and self._end_of(self._head) <= target:
            self._drop_head()
        self.start_offset = max(self.start_offset, target)
        return self.start_offset

    def drop_oldest(self) -> int:
        """Forget the oldest batch and return its bytes; 0 when the partition is empty."""
        if not self.batch_count:
            return 0
        end = self._end_of(self._head)
        dropped = self._drop_head()
        self.start_offset = max(self.start_offset, end)
        return dropped

    def wake(self) -> None:
        """Tell everyone who waits for records of this partition to look again."""
        for watcher in tuple(self.watchers):
            watcher()

    def _check(self, offset: int) -> None:
        if not self.start_offset <= offset <= self.next_offset:
            raise OffsetOutOfRange

    def _index_of(self, offset: int) -> int:
        return bisect_right(self._bases, offset, lo=self._head) - 1

    def _end_of(self, index: int) -> int:
        return self._bases[index + 1] if index + 1 < len(self._bases) else self.next_offset

    def _drop_head(self) -> int:
        size = len(self._batches[self._head].data)
        self._batches[self._head] = _GONE
        self._head += 1
        # The lists are cut in large pieces: dropping one element at a time from the front would move the rest.
        if self._head >= 1024 or self._head == len(self._batches):
            del self._batches[: self._head], self._bases[: self._head]
            self._head = 0
        return size

    def _offset_of_duplicate(self, header: BatchHeader) -> int | None:
        producer = self._producers.get(header.producer_id)
        if producer is None:
            # As in Kafka: of a producer that is not (or no longer) known, any sequence may come first.
            return None
        if header.producer_epoch < producer.epoch:
            raise BatchRefused(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer {header.producer_id} has epoch {producer.epoch}; {header.producer_epoch} is older",
            )
        if header.producer_epoch > producer.epoch:
            if header.base_sequence != 0:
                raise BatchRefused(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"a new epoch of producer {header.producer_id} begins with sequence {header.base_sequence}",
                )
            return None
        last = _last_sequence(header)
        for first_seen, last_seen, offset in producer.batches:
            if (first_seen, last_seen) == (header.base_sequence, last):
                return offset
        newest = producer.batches[-1][1]
        if header.base_sequence == (newest + 1) % _SEQUENCES:
            return None
        older = (newest - last) % _SEQUENCES < _SEQUENCES // 2
        raise BatchRefused(
            ErrorCode.DUPLICATE_SEQUENCE_NUMBER if older else ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
            f"producer {header.producer_id} sent sequence {header.base_sequence} after {newest}",
        )

    def _remember(self, header: BatchHeader, base_offset: int) -> None:
        producer = self._producers.get(header.producer_id)
        if producer is None or producer.epoch != header.producer_epoch:
            producer = _Producer(header.producer_epoch)
            self._producers[header.producer_id] = producer
        producer.batches.append((header.base_sequence, _last_sequence(header), base_offset))
        self._producers.move_to_end(header.producer_id)
        while len(self._producers) > _REMEMBERED_PRODUCERS:
            self._producers.popitem(last=False)


def _last_sequence(header: BatchHeader) -> int:
    return (header.base_sequence + header.records - 1) % _SEQUENCES


_GONE = _Batch(-1, 0, -1, 0.0, b"")
