"""Dead letters as people see them, and their records written again: once, with who did it, never in circles."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import orjson

from neverblink.errors import NeverblinkError
from neverblink.events import EVENTS, TOPICS, DeadLetter, EventError, Message, Replay, decode
from neverblink.events.envelope import PREFIX, E
from neverblink.events.identity import derived_id
from neverblink.events.replay import REPLAY_OF
from neverblink.kafka.connection import KafkaError, explained
from neverblink.kafka.consumer import EventConsumer
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.placed_records import PlacedRecords
from neverblink.kafka.producer import EventProducer, Place
from neverblink.kafka.record import Record
from neverblink.kafka.topic_span import TopicSpan
from neverblink.kafka.topics import ensure_topics
from neverblink.plant import Kafka
from neverblink.service_life.time_limit import time_limit

MOST_SEEN: Final = 10_000
"""So many letters are looked at, the newest: of older ones there is no end."""

_WITHIN_S = 120.0
_AT_ONCE = 100
_LOST = "\ufffd"  # what stands where a letter could not carry the record's own text
_CLIENT = "dead-letters"


class ReplayError(NeverblinkError):
    """A record that cannot be written again; the message says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A dead letter without its body: where it lies, how long the body is, and when its record was written again."""

    letter: DeadLetter
    place: Place
    size: int
    replays: tuple[Replay, ...] = ()

    @property
    def of_a_replay(self) -> bool:
        """Say whether the record had been written again already when it was set aside."""
        return any(name == PREFIX + REPLAY_OF for name, _ in _headers(self.letter))

    @property
    def origin(self) -> tuple[str, int, int]:
        """Return where the record lay at first: several services may have set it aside."""
        return self.letter.topic, self.letter.partition, self.letter.offset

    def refusal(self, *, again: bool) -> str | None:
        """Return why its record cannot be written again, None where it can be tried."""
        topic = TOPICS.get(self.letter.topic)
        if topic is None or topic.name in {DeadLetter.TOPIC, Replay.TOPIC}:
            return f"nothing is written to {self.letter.topic!r} from here"
        if topic.compacted:
            return f"the newest record of {topic.name} is what holds, and this one is old: set it anew"
        if self.letter.truncated:
            return "the letter holds only the record's beginning"
        if _LOST in self.letter.recordkey or len(self.letter.recordkey) >= 512:
            return "the letter does not hold the record's whole key"
        if any(_LOST in name + text for name, text in _headers(self.letter)):
            return "the letter does not hold all bytes of the record's headers"
        if self.replays and not again:
            last = self.replays[-1]
            return f"{last.by} had it written again at {last.at:%Y-%m-%d %H:%M} UTC; --again does it once more"
        if self.of_a_replay and not again:
            return "it was written again already, and set aside once more; --again does it once more"
        return None


async def letters(kafka: Kafka, *, since: datetime | None = None) -> list[Seen]:
    """Return the dead letters up to the topic's present end, the newest first, each once. Raises KafkaError."""
    await ensure_topics(kafka, (DeadLetter.TOPIC, Replay.TOPIC))
    replays: dict[str, list[Replay]] = {}
    found: deque[Seen] = deque(maxlen=MOST_SEEN)
    known: set[str] = set()

    def keep_replay(record: Record) -> None:
        if (replay := _read(record, Replay)) is not None:
            replays.setdefault(replay.letter, []).append(replay)

    def keep_letter(record: Record) -> None:
        letter = _read(record, DeadLetter)
        if letter is None or letter.id in known:
            return  # a service that crashed after it had set a record aside does so again, with the same id
        known.add(letter.id)
        bare = letter.model_copy(update={"body": b""})
        found.append(Seen(bare, Place(record.partition, record.offset), len(letter.body)))

    await _to_the_end(kafka, Replay.TOPIC, None, keep_replay)
    await _to_the_end(kafka, DeadLetter.TOPIC, since, keep_letter)
    told = [replace(one, replays=tuple(replays.get(one.letter.id, ()))) for one in found]
    return sorted(told, key=lambda one: (one.letter.at, one.letter.id), reverse=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which records would be written again, the oldest first, and which not, each with the reason."""

    wanted: tuple[Seen, ...]
    refused: tuple[tuple[Seen, str], ...]


def planned(chosen: Sequence[Seen], *, again: bool) -> Plan:
    """Return what would become of the chosen letters: a record that several services set aside goes out once."""
    wanted: dict[tuple[str, int, int], Seen] = {}
    refused: list[tuple[Seen, str]] = []
    for one in sorted(chosen, key=lambda seen: (seen.letter.at, seen.letter.id)):
        why = one.refusal(again=again)
        if why is None and one.origin in wanted:
            why = f"the same record as in letter {wanted[one.origin].letter.id}"
        if why is None:
            wanted[one.origin] = one
        else:
            refused.append((one, why))
    return Plan(tuple(wanted.values()), tuple(refused))


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one record: where it lies now, or why it was not written."""

    seen: Seen
    place: Place | None
    fault: str | None = None


async def replay(
    kafka: Kafka,
    site: str,
    wanted: Sequence[Seen],
    *,
    by: str,
    why: str | None,
    now: datetime,
    tell: Callable[[Replayed], None],
) -> None:
    """Write the records of letters again, in their order, and tell what became of each.

    Who did it is acknowledged on the topic `replays` before the record is sent. A record that this version cannot read
    either is left. Raises KafkaError.
    """
    async with (
        PlacedRecords(kafka, DeadLetter.TOPIC, client_id=_CLIENT) as places,
        EventProducer(kafka, source=f"/{site}/dead-letters", client_id=_CLIENT) as producer,
    ):
        for one in wanted:
            record = await places.at(one.place.partition, one.place.offset)
            try:
                message = _message(one, record)
            except ReplayError as error:
                tell(Replayed(one, None, str(error)))
                continue
            letter = one.letter
            told = Replay(
                id=derived_id("replay", letter.id, by, now.isoformat()),
                letter=letter.id,
                topic=letter.topic,
                partition=letter.partition,
                offset=letter.offset,
                recordkey=letter.recordkey,
                by=by,
                why=why,
                at=now,
            )
            await producer.send(told)
            tell(Replayed(one, await producer.send_record(message)))


def _message(seen: Seen, record: Record | None) -> Message:
    """Return a letter's record as it was, marked. Raises ReplayError."""
    if record is None:
        raise ReplayError("the topic dead-letters holds the letter no longer")
    letter = _read(record, DeadLetter)
    if letter is None or letter.id != seen.letter.id:
        raise ReplayError("another letter lies in its place")
    own = [pair for pair in _headers(letter) if pair[0] != PREFIX + REPLAY_OF]
    headers = [(name, text.encode()) for name, text in own]
    kinds = [kind for kind in EVENTS if letter.topic == kind.TOPIC]
    try:
        decode(headers, letter.body, *kinds)
    except EventError as error:
        raise ReplayError(f"this version cannot read it either: {error}") from error
    headers.append((PREFIX + REPLAY_OF, letter.id.encode()))
    return Message(letter.topic, letter.recordkey.encode(), letter.body, headers)


def _headers(letter: DeadLetter) -> list[tuple[str, str]]:
    """Return the record's headers as the letter has them; none where they are no list of pairs."""
    try:
        found = orjson.loads(letter.recordheaders or "[]")
        return [(str(name), str(text)) for name, text in found]
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return []


def _read(record: Record, kind: type[E]) -> E | None:
    try:
        return record.read(kind)[0]
    except EventError:
        return None  # who can write to the topic may write anything; it is no letter of ours


async def _to_the_end(kafka: Kafka, topic: str, since: datetime | None, take: Callable[[Record], None]) -> None:
    """Take what the topic holds now, and no more: what is set aside meanwhile is not waited for."""
    try:
        async with time_limit(_WITHIN_S), EventConsumer(kafka, topic, client_id=_CLIENT) as consumer:
            ends = await consumer.ends()
            if since is not None:
                await consumer.seek_to_time(since)
            span = TopicSpan(consumer, ends, at_once=_AT_ONCE)
            while records := await span.take():
                for record in records:
                    take(record)
    except TimeoutError as error:
        raise KafkaError(
            f"the topic {topic} on Kafka at {kafka.bootstrap} could not be read to its end within {_WITHIN_S:g} s;"
            " --from reads a part of it"
        ) from error
    except CLIENT_FAULTS as error:
        raise explained(error, kafka, f"read {topic}") from error
