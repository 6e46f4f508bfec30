"""What anybody with write access may send: each service sets it aside, passes it and goes on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from drift_line import plant as drift_plant
from drift_line import verdict

from neverblink.brokers.broker import Broker
from neverblink.events import DeadLetter, Decision, DriftReport, Message, Reason, Verdict, encode
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics, partition_of
from neverblink.ledger import service as ledger
from neverblink.plant import Plant
from neverblink.records.database import Database
from neverblink.records.questions import ledger_figures as queries
from neverblink.scorer.models import Models
from neverblink.scorer.service import Scorer
from rigs.hostile_batches import RawProducer, batch, record
from rigs.scored_line import ScoredLine, sent

MIB = 1024 * 1024
NOW_MS = int(datetime.now(UTC).timestamp() * 1000)


def raw(message: Message, *, more: tuple[tuple[bytes, bytes | None], ...] = (), **changed: bytes) -> bytes:
    """Return a message as a record; `changed` headers by their names without the prefix."""
    headers = [(name, changed.get(name.removeprefix("ce_"), content)) for name, content in message.headers]
    return record(
        0, key=message.key, value=message.value, headers=[*((name.encode(), raw) for name, raw in headers), *more]
    )


def bomb(key: bytes, codec: str) -> bytes:
    return batch(record(0, key=key, value=bytes(64 * MIB)) + record(1, key=key), 2, codec=codec, first_ms=NOW_MS)


def hostile(message: Message) -> dict[str, tuple[str, bytes]]:
    """Return batches, by what is wrong with them, with a word of the sentence that each one's dead letter says."""
    one = {
        "a header's name that is no text": ("is not UTF-8", raw(message, more=((b"bad\xff\xfekey", b"1"),))),
        "a flood of headers": ("the bound is 1000", raw(message, more=((b"x", b"y"),) * 5000)),
        "an identity without a value": ("ce_id", record(0, key=message.key, headers=[(b"ce_id", None), (b"x", None)])),
        "an attribute that is no text": ("is not UTF-8", raw(message, source=b"\xff\xfe")),
    }
    found = {name: (word, batch(plain, 1, first_ms=NOW_MS)) for name, (word, plain) in one.items()}
    for codec in ("gzip", "snappy", "xerial", "lz4", "zstd"):
        found[f"a {codec} bomb"] = ("would unpack to more than", bomb(message.key, codec))
    return found


@contextlib.asynccontextmanager
async def serving(main: Callable[[asyncio.Event], Awaitable[None]]) -> AsyncIterator[None]:
    """Run a service in this process; its end before the block's is the test's failure."""
    stop = asyncio.Event()
    work = asyncio.ensure_future(main(stop))
    try:
        yield
        assert not work.done(), work
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await work


async def written(bootstrap: str, topic: str, partition: int, batches: dict[str, tuple[str, bytes]]) -> dict[str, str]:
    """Write them and return the word of each that the broker took."""
    taken: dict[str, str] = {}
    async with RawProducer(bootstrap) as producer:
        for name, (word, content) in batches.items():
            if await producer.write(topic, partition, content) >= 0:
                taken[name] = word
    return taken


async def letters_of(plant: Plant, service: str, count: int) -> list[DeadLetter]:
    """Return the dead letters of a service as soon as there are so many."""
    found: list[DeadLetter] = []
    async with (
        EventConsumer(plant.kafka, "dead-letters", client_id="letters") as consumer,
        asyncio.timeout(60),
    ):
        while len(found) < count:
            found += [letter for one in await consumer.poll() if (letter := one.read(DeadLetter)[0]).service == service]
    return found


def all_told(letters: list[DeadLetter], taken: dict[str, str]) -> None:
    assert len(letters) == len(taken)
    for name, word in taken.items():
        assert any(word in letter.why for letter in letters), name


async def test_a_scorer_sets_aside_what_cannot_be_read_and_scores_what_comes_behind(line: ScoredLine) -> None:
    topic = f"{line.kafka.topic_prefix}.frames"
    frames = [line.frame(number) for number in range(1, 5)]
    messages = [encode(frame, source="/test") for frame in frames]
    place = partition_of(frames[0].key, line.kafka.partitions)
    batches = hostile(messages[0])
    batches["an instant beyond the calendar"] = (
        "no date in UTC",
        batch(raw(messages[1], deadline=b"9999-12-31T23:59:59-14:00"), 1, first_ms=NOW_MS),
    )
    negative = batch(raw(messages[2]), 1, first_ms=-9 * 10**15)
    consumer = EventConsumer(line.kafka, "frames", client_id="scorer", group=f"{line.kafka.topic_prefix}-scorer")
    producer = line.producer()
    async with producer, consumer:
        scorer = Scorer(consumer, producer, Models.load(line.plant), line.plant.scorer)
        async with serving(scorer.run):
            taken = await written(line.kafka.bootstrap, topic, place, batches)
            async with RawProducer(line.kafka.bootstrap) as raw_producer:
                assert await raw_producer.write(topic, place, negative) >= 0
            await sent(producer, frames[3])
            letters = await letters_of(line.plant, "scorer", len(taken))
            # Those whose key could be read: bombs hide theirs.
            named = [name for name in taken if "bomb" not in name]
            verdicts = await line.read(Verdict, lambda found: len(found) >= len(named) + 2)
    all_told(letters, taken)
    unscored = [one for one in verdicts if one.reason == Reason.BAD_EVENT]
    assert len(unscored) == len(named)
    assert all((one.line, one.station, one.decision) == ("line-1", "top", Decision.UNSCORED) for one in unscored)
    scored = {one.id for one in verdicts if one.decision is not Decision.UNSCORED}
    assert scored == {verdict_id(frames[2].id), verdict_id(frames[3].id)}
    assert all("offsets" in letter.why for letter in letters if "unpack" in letter.why)


async def test_a_ledger_keeps_what_can_be_kept_and_sets_the_rest_aside(broker: Broker, tmp_path: Path) -> None:
    plant, _ = drift_plant(broker.bootstrap, tmp_path)
    await ensure_topics(plant.kafka)
    message = encode(verdict("line-1", 1), source="/test")
    batches = hostile(message) | {
        "an instant before the calendar": ("no date in UTC", changed(message, captured="0001-01-01T00:00:00+01:00")),
        "a count beyond 64 bits": ("fit into 64 bits", changed(message, seq=2**63)),
        "lists within lists": (
            "not JSON",
            batch(record(0, key=message.key, value=b"[" * 10**5, headers=head(message)), 1),
        ),
    }
    late = batch(raw(encode(verdict("line-1", 2), source="/test")), 1, first_ms=-9 * 10**15)
    place = partition_of("line-1", plant.kafka.partitions)

    async def run(stop: asyncio.Event) -> None:
        await ledger.serve(plant, stop)

    async with serving(run), EventProducer(plant.kafka, source="/test", client_id="test") as producer:
        topic = f"{plant.kafka.topic_prefix}.verdicts"
        taken = await written(broker.bootstrap, topic, place, batches)
        async with RawProducer(broker.bootstrap) as raw_producer:
            assert await raw_producer.write(topic, place, late) >= 0
        await producer.send(verdict("line-1", 3))
        letters = await letters_of(plant, "ledger", len(taken))
        database = await asyncio.to_thread(Database, plant.storage.ledger, create=True)
        async with asyncio.timeout(30):
            while kept(database) < (2, len(taken)):  # noqa: ASYNC110 - another thread writes
                await asyncio.sleep(0.1)
        assert kept(database) == (2, len(taken))
        database.close()
    all_told(letters, taken)


async def test_drift_counts_on_behind_what_it_cannot_read(broker: Broker, tmp_path: Path) -> None:
    commands = pytest.importorskip("neverblink.drift.commands", reason="pip install neverblink[drift]")
    plant, _ = drift_plant(broker.bootstrap, tmp_path, ("line-1",))
    await ensure_topics(plant.kafka)
    message = encode(verdict("line-1", 1), source="/test")
    batches = hostile(message) | {
        "an instant beyond the calendar": ("no date in UTC", changed(message, captured="9999-12-31T23:59:59-14:00")),
        "a score that is no measurement": ("no measurement", changed(message, ratio=1e300)),
    }
    # From the future, by its own clock and by Kafka's: it must not close the windows of parts that are to come.
    future = batch(raw(replace(message, value=edited(message, captured="9990-01-01T00:00:00Z"))), 1, first_ms=2**61)
    place = partition_of("line-1", plant.kafka.partitions)
    parts = [verdict("line-1", number) for number in (2, 3, 4, 70, 71, 140)]

    async def run(stop: asyncio.Event) -> None:
        await commands.serve(plant, None, stop)

    async with serving(run), EventProducer(plant.kafka, source="/test", client_id="test") as producer:
        topic = f"{plant.kafka.topic_prefix}.verdicts"
        taken = await written(broker.bootstrap, topic, place, batches)
        await sent(producer, *parts)
        letters = await letters_of(plant, "drift", len(taken))
        reports: list[DriftReport] = []
        async with EventConsumer(plant.kafka, "drift", client_id="reports") as consumer, asyncio.timeout(60):
            while len(reports) < 2:
                reports += [one.read(DriftReport)[0] for one in await consumer.poll()]
            async with RawProducer(broker.bootstrap) as raw_producer:
                await raw_producer.write(topic, place, future)
            await sent(producer, *(verdict("line-1", number) for number in (200, 260)))
            while len(reports) < 3:
                reports += [one.read(DriftReport)[0] for one in await consumer.poll()]
    all_told(letters, taken)
    assert [one.passed + one.rejected + sum(one.unscored.values()) for one in reports[:2]] == [3, 2]


def head(message: Message) -> list[tuple[bytes, bytes | None]]:
    return [(name.encode(), content) for name, content in message.headers]


def edited(message: Message, **fields: object) -> bytes:
    found = orjson.loads(message.value)
    for name, value in fields.items():
        (found["times"] if name == "captured" else found)[name] = value
    return orjson.dumps(found)


def changed(message: Message, **fields: object) -> bytes:
    """Return a batch of the message with these fields of its data instead."""
    return carrying(message, edited(message, **fields))


def carrying(message: Message, value: bytes) -> bytes:
    """Return a batch of the message with this value instead."""
    return batch(record(0, key=message.key, value=value, headers=head(message)), 1, first_ms=NOW_MS)


def kept(database: Database) -> tuple[int, int]:
    """Return how many verdicts and dead letters there are."""
    with database.session() as session:
        totals = queries.totals(session)
    return totals.verdicts, totals.dead_letters
