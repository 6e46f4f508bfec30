"""Frames that are still on Kafka, between two instants: read without a group, and nothing is committed."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from neverblink.events import EventError, Frame, Reason
from neverblink.events.envelope import attributes
from neverblink.events.identity import derived_id
from neverblink.kafka import EventConsumer, Record
from neverblink.kafka.topic_span import TopicSpan
from neverblink.plant import Kafka
from neverblink.storage.frame_objects import ObjectError, ObjectStore, body_of
from neverblink.trainer.datasets.inputs import Frozen, Input, InspectionError, Origin, UnreadableError
from neverblink.vision.decode import Image, decode

T = TypeVar("T")


_TOPIC = "frames"
_AT_ONCE = 64
_NAMED = 4
_MINUTE = "%Y-%m-%d %H:%M"


class TopicFrames:
    """The frames of a product that were published between two instants, partition after partition.

    `until` None ends where the topic ends when the inspection is first started. A frame that was sent twice counts
    once; a record that is no frame is an input that cannot be read. To be used as a context manager.
    """

    def __init__(
        self,
        kafka: Kafka,
        product: str,
        since: datetime,
        until: datetime | None,
        *,
        stations: Sequence[str],
        objects: ObjectStore | None = None,
        depths: Mapping[tuple[str, str], int] | None = None,
        depth: int | None = None,
        known_parts: bool = True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`stations` (LINE/STATION) are those that are wanted, `objects` has large images. `depths` are the bits that
        values of 16-bit pictures of a (line, station) use, `depth` those of all others. Parts that were sent to
        prove the system are among them unless `known_parts` is false.

        Raises InspectionError for a span that is none, or that is not over.
        """
        if until is not None and until > clock():
            raise InspectionError(
                f"the span ends at {until.isoformat()}, which is still to come: wait, or leave it open"
            )
        if until is not None and until <= since:
            raise InspectionError(f"the span from {since.isoformat()} to {until.isoformat()} holds no time")
        self._kafka, self._product, self._objects = kafka, product, objects
        self._since, self._until = since, until
        self._depths, self._depth = depths or {}, depth
        self._known_parts = known_parts
        self._stations = frozenset(stations)
        self._ranges: dict[int, range] = {}
        self._loop = _LoopThread()
        self._open = AsyncExitStack()
        self._reader: EventConsumer | None = None
        self._others: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._loop.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._open.aclose())
        self._loop.stop()

    @property
    def subject(self) -> str:
        """Return product, places and times."""
        places = (
            ", ".join(sorted(self._stations)) if len(self._stations) <= _NAMED else f"{len(self._stations)} stations"
        )
        span = (
            f"since {self._since:{_MINUTE}}"
            if self._until is None
            else (f"from {self._since:{_MINUTE}} to {self._until:{_MINUTE}}")
        )
        return f"frames of {self._product} at {places}, {span} UTC"

    @property
    def identity(self) -> dict[str, object]:
        """Return what was asked for; the offsets that this came to are frozen by the first run."""
        return {
            "topic": f"{self._kafka.topic_prefix}.{_TOPIC} at {self._kafka.bootstrap}",
            "product": self._product,
            "stations": ", ".join(sorted(self._stations)),
            "from": self._since.isoformat(),
            "to": None if self._until is None else self._until.isoformat(),
        }

    @property
    def total(self) -> int:
        """Return the number of offsets in the span."""
        return sum(len(span) for span in self._ranges.values())

    def freeze(self, frozen: Frozen | None) -> Frozen:
        """Turn the instants into offsets, or take the first run's. Raises KafkaError."""
        if frozen is None:
            frozen = {"offsets": self._loop.run(self._offsets())}
        offsets = frozen["offsets"]
        assert isinstance(offsets, dict)
        self._ranges = {int(partition): range(*span) for partition, span in sorted(offsets.items(), key=_by_number)}
        return frozen

    def go_through(self, after: Origin | None = None, parts: Collection[str] | None = None) -> Iterator[Input]:
        """Yield the frames after one that is done, of all parts or of these. Raises KafkaError."""
        passed = 0
        for partition, span in self._ranges.items():
            start = span.start
            if after is not None and after.partition is not None and after.offset is not None:
                if partition < after.partition:
                    start = span.stop
                elif partition == after.partition:
                    start = after.offset + 1
            for record in self._records(partition, start, span.stop):
                found = self._input(record, passed + record.offset - span.start + 1)
                if found is not None and (parts is None or found.origin.part in parts):
                    yield found
            passed += len(span)

    def again(self, origins: Collection[Origin]) -> Iterator[Input]:
        """Yield these frames once more, without those that are no longer kept. Raises KafkaError."""
        for origin in origins:
            if origin.partition is not None and origin.offset is not None:
                for record in self._records(origin.partition, origin.offset, origin.offset + 1):
                    found = self._input(record, 0)
                    if found is not None:
                        yield found

    def nothing(self) -> str:
        """Return the sentence for a span without frames of the product."""
        others = ", ".join(f"{count} of {name}" for name, count in sorted(self._others.items()))
        return f"there are no {self.subject}" + (f"; there are frames of other products: {others}" if others else "")

    async def _consumer(self) -> EventConsumer:
        if self._reader is None:
            consumer = EventConsumer(self._kafka, _TOPIC, client_id="inspect", keys=sorted(self._stations))
            self._reader = await self._open.enter_async_context(consumer)
        return self._reader

    async def _offsets(self) -> dict[str, tuple[int, int]]:
        consumer = await self._consumer()
        starts = await consumer.offsets_at(self._since)
        stops = await consumer.ends() if self._until is None else await consumer.offsets_at(self._until)
        return {str(place[1]): (start, max(start, stops[place])) for place, start in starts.items()}

    def _records(self, partition: int, start: int, stop: int) -> Iterator[Record]:
        if start >= stop:
            return
        place = (_TOPIC, partition)
        consumer = self._loop.run(self._consumer())
        self._loop.run(_read_alone(consumer, partition, start))
        span = TopicSpan(consumer, {place: stop}, at_once=_AT_ONCE)
        while records := self._loop.run(span.take()):
            yield from records

    def _input(self, record: Record, position: int) -> Input | None:
        """Return the input that a record is, None when it is of a station or product that is not asked for."""
        if record.key not in self._stations:
            return None
        try:
            frame, envelope = record.read(Frame)
        except EventError as error:
            return self._unreadable(record, position, str(error))
        if frame.product != self._product:
            self._others[frame.product] += 1
            return None
        if frame.challenge and not self._known_parts:
            return None
        origin = Origin(
            frame.id,
            frame.part,
            line=frame.line,
            station=frame.station,
            product=frame.product,
            captured=frame.captured,
            partition=record.partition,
            offset=record.offset,
        )
        depth = self._depths.get((frame.line, frame.station), self._depth)
        return Input(origin, position, partial(_image, frame, self._objects, depth), envelope.trace)

    def _unreadable(self, record: Record, position: int, sentence: str) -> Input | None:
        try:
            known = attributes(record.headers)
        except EventError:
            known = {}
        if known.get("product", self._product) != self._product:
            return None
        line, _, station = record.key.partition("/")
        name = known.get("id", derived_id("record", record.topic, record.partition, record.offset))

        def refuse() -> Image:
            raise UnreadableError(Reason.BAD_EVENT, sentence)

        origin = Origin(
            name,
            known.get("part", f"unknown/{name}"),
            line=line,
            station=station,
            product=self._product,
            partition=record.partition,
            offset=record.offset,
        )
        return Input(origin, position, refuse)


def _image(frame: Frame, objects: ObjectStore | None, depth: int | None) -> Image:
    """Return a frame's pixels, from its body or its object. Raises UnreadableError, ImageError."""
    try:
        return decode(body_of(frame, objects), content_type=frame.content_type, depth=depth)
    except ObjectError as error:
        raise UnreadableError(error.reason, str(error)) from error


async def _read_alone(consumer: EventConsumer, partition: int, start: int) -> None:
    consumer.read_alone(((_TOPIC, partition), start))


def _by_number(span: tuple[str, object]) -> int:
    return int(span[0])


class _LoopThread:
    """An event loop in a thread of its own: the client answers its brokers while another thread computes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="kafka", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
