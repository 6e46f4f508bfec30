"""Five services on Apache Kafka while hostile records come on every topic that they read, and what became of each."""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import orjson
import yaml
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from neverblink.brokers.apache import LocalKafka, free_port
from neverblink.drift.changelog import TABLE, app_id
from neverblink.drift.moments import unmeasurable
from neverblink.events import TOPICS, DeadLetter, Event, EventError, Frame, Message, Verdict, encode
from neverblink.events.examples import examples
from neverblink.events.identity import verdict_id
from neverblink.kafka import EventConsumer, Record, ensure_topics, partition_of
from neverblink.plant import Plant, load_plant
from neverblink.records.tables import KEPT
from rigs.hostile_batches import RawProducer
from rigs.hostile_mutations import bomb, mutated_batch
from rigs.scored_line import ScoredLine, fit_striped
from rigs.supervised_process import SupervisedProcess

SHARES = {
    "frames": 0.08, "verdicts": 0.42, "shadow-verdicts": 0.1, "actuations": 0.1, "reviews": 0.1, "drift": 0.1,
    "models": 0.02, "dead-letters": 0.05, "changelog": 0.03,
}  # fmt: skip
"""Of all records, by topic; `changelog` is the drift service's own."""

LIMITS_MIB = {"camera": 512, "scorer": 4096, "bridge": 256, "drift": 512, "ledger": 256}
"""What compose.yaml gives each container."""

_BOMBS_EVERY = 400
_SETTLED_S = 900.0
_EXAMPLES = {one.TOPIC: one for one in reversed(examples())}
_NOTHING_TAKEN_S = 60.0


class HostileLine:
    """Starts broker, PLC and services, sends, and reports. Everything is gone with the block."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._drawn = random.Random(seed)
        self._kafka = LocalKafka(heap_mib=1280)  # it unpacks what it checks, bombs too
        self._services: dict[str, SupervisedProcess] = {}
        self._stack = contextlib.AsyncExitStack()
        self._most_mib: Counter[str] = Counter()
        self._sent, self._taken = Counter[str](), Counter[str]()
        self._refusals = Counter[str]()
        self._took_s = 0.0
        self._began = datetime.now(UTC)
        self.plant: Plant

    async def __aenter__(self) -> Self:
        await self._kafka.start()
        self._stack.push_async_callback(self._kafka.stop)
        artifacts = await asyncio.to_thread(fit_striped, self._folder)
        self._scored = ScoredLine(self._kafka.bootstrap, artifacts, lines=("line-1",))
        file = self._plant_file(artifacts)
        self.plant = load_plant(file)
        self._prefix = self.plant.kafka.topic_prefix
        await ensure_topics(self.plant.kafka)
        arguments: dict[str, tuple[str, ...]] = {
            "plc": ("plc-sim", "--plant", str(file)),
            "scorer": ("scorer", "--plant", str(file)),
            "bridge": ("bridge", "--plant", str(file)),
            "drift": ("drift", "--plant", str(file)),
            "ledger": ("ledger", "run", "--plant", str(file)),
            "camera": ("camera", "--plant", str(file)),
        }
        for name, words in arguments.items():
            process = SupervisedProcess(name, ("-m", "neverblink", *words), self._folder)
            self._services[name] = await self._stack.enter_async_context(process)
            if name != "plc":
                await process.said('"ready"', within_s=120)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _plant_file(self, artifacts: Path) -> Path:
        described: dict[str, Any] = orjson.loads(self._scored.plant.model_dump_json())
        described["storage"] = {"artifacts": str(artifacts), "ledger": f"sqlite:///{self._folder / 'ledger.db'}"}
        described["drift"] = {"window_s": 30, "allowed_lateness_s": 5}
        (line,) = described["lines"]
        line["plc"] = {
            "endpoint": f"opc.tcp://127.0.0.1:{free_port()}",
            "security": {"policy": "None", "allow_insecure": True},
        }
        line["stations"][0]["trigger"] = {"kind": "timer", "rate_per_s": 0.5}
        file = self._folder / "plant.yaml"
        file.write_text(yaml.safe_dump(described))
        return file

    async def send(self, count: int, rate: float) -> None:
        """Send until the broker has taken so many records, about so many a second, in batches of one to twenty."""
        self._began = datetime.now(UTC)
        began = time.monotonic()
        async with RawProducer(self._kafka.bootstrap) as producer:
            batches, taken_at = 0, began
            while (taken := sum(self._taken.values())) < count:
                name = self._drawn.choices(list(SHARES), list(SHARES.values()))[0]
                batches += 1
                if batches % _BOMBS_EVERY == 0:
                    raw, records = bomb(b"line-1", self._drawn), 1
                else:
                    raw, records = self._batch(name)
                topic = self._topic(name)
                there = await producer.write(topic, self._drawn.randrange(self.plant.kafka.partitions), raw) >= 0
                self._sent[name] += records
                self._taken[name] += records * there
                taken_at = time.monotonic() if there else taken_at
                if time.monotonic() - taken_at > _NOTHING_TAKEN_S:
                    raise TimeoutError(
                        f"Apache Kafka has taken nothing for {_NOTHING_TAKEN_S:.0f} s, of {taken} records before:"
                        f" {dict(producer.refusals)}; {self._kafka.last_words()}"
                    )
                self._measure()
                ahead_s = taken / rate - (time.monotonic() - began)
                await asyncio.sleep(max(0.0, ahead_s))
            self._refusals = producer.refusals
        self._took_s = time.monotonic() - began
        await self._settled()

    def _batch(self, name: str) -> tuple[bytes, int]:
        messages = [self._message(name) for _ in range(self._drawn.randint(1, 4 if name == "frames" else 20))]
        return mutated_batch(messages, self._drawn, keyed=name in {"models", "changelog"})

    def _message(self, name: str) -> Message:
        if name == "frames":
            return encode(self._scored.frame(self._drawn.randrange(1000)), source="/hostile")
        if name == "changelog":
            key = self._drawn.choice(
                (b"line-1/top/striped/none", b"watch:line-1/top/striped/none", b"alerts:line-1/top")
            )
            return Message(name, key, self._drawn.choice((b'{"layout":3,"marks":{},"clock":null}', b"{}", b"\xff")), [])
        return encode(_named(_EXAMPLES[name]), source="/hostile")

    def _topic(self, name: str) -> str:
        if name == "changelog":
            return f"{app_id(self.plant.kafka)}-{TABLE}-changelog"
        return TOPICS[name].full_name(self._prefix)

    def _measure(self) -> None:
        for name, process in self._services.items():
            self._most_mib[name] = max(self._most_mib[name], round(process.most_resident_mib))

    async def _settled(self) -> None:
        """Wait until every group has passed everything that is there, twice in a row."""
        give_up = time.monotonic() + _SETTLED_S
        calm = 0
        while calm < 3 and time.monotonic() < give_up:
            await asyncio.sleep(2)
            self._measure()
            calm = calm + 1 if await self._behind() == 0 else 0

    async def _behind(self) -> int:
        """Return how many records the groups have not passed yet; the camera's own are few and new."""
        behind = 0
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka.bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka.bootstrap)
        await admin.start()
        await consumer.start()
        try:
            for group, topics in self._groups().items():
                offsets = await admin.list_consumer_group_offsets(group)
                places = [TopicPartition(topic, p) for topic in topics for p in range(self.plant.kafka.partitions)]
                ends = await consumer.end_offsets(places)
                behind += sum(
                    max(0, ends[place] - (offsets[place].offset if place in offsets else 0) - 3) for place in places
                )
        finally:
            await consumer.stop()
            await admin.close()
        return behind

    def _groups(self) -> dict[str, list[str]]:
        return {
            f"{self._prefix}-scorer": [self._topic("frames")],
            f"{self._prefix}-ledger": [self._topic(kind.TOPIC) for kind in KEPT],
            app_id(self.plant.kafka): [self._topic("verdicts")],
        }

    async def report(self) -> list[str]:
        """Return what became of all records, as rows of tables."""
        records = {name: await self._all(name) for name in TOPICS if name != "evidence"}
        letters = self._letters(records["dead-letters"])
        verdicts = {event.id for _, event in _readable(records["verdicts"], Verdict)}
        restarts = {name: process.restarts for name, process in self._services.items()}
        behind = await self._behind()
        return [
            "| topic | read by | records there | with their effect | dead letters | neither |",
            "|---|---|---|---|---|---|",
            self._scorers(records["frames"], letters["scorer"], verdicts),
            self._drifts(records["verdicts"], letters["drift"]),
            self._bridges(records["verdicts"], letters["bridge"]),
            *self._ledgers(records, letters["ledger"]),
            "",
            "| service | ended | most memory MiB | its container's limit |",
            "|---|---|---|---|",
            *(
                f"| {name} | {restarts[name]} times | {self._most_mib[name]} | {limit} |"
                for name, limit in LIMITS_MIB.items()
            ),
            "",
            "| topic | sent | taken by Apache Kafka |",
            "|---|---|---|",
            *(f"| {name} | {self._sent[name]} | {self._taken[name]} |" for name in SHARES),
            "",
            f"Refused by Apache Kafka, in batches: {dict(self._refusals.most_common())}.",
            f"{sum(self._taken.values())} records in {self._took_s:.0f} s; {behind} not passed at the end.",
        ]

    async def _all(self, name: str) -> list[Record]:
        found: list[Record] = []
        async with EventConsumer(self.plant.kafka, name, client_id="audit") as consumer:
            ends = await consumer.ends()
            while any(at < ends[place] for place, at in (await consumer.positions()).items()):
                found += await consumer.poll(2000)
        return found

    def _letters(self, records: list[Record]) -> dict[str, set[tuple[str, int, int]]]:
        found: dict[str, set[tuple[str, int, int]]] = {name: set() for name in LIMITS_MIB}
        for _, letter in _readable(records, DeadLetter):
            if letter.service in found:
                found[letter.service].add((letter.topic, letter.partition, letter.offset))
        return found

    def _scorers(self, records: list[Record], letters: set[tuple[str, int, int]], verdicts: set[str]) -> str:
        done = aside = neither = 0
        for record in records:
            event = _event(record, Frame)
            if isinstance(event, Frame) and verdict_id(event.id) in verdicts:
                done += 1
            elif _place(record) in letters:
                aside += 1
            else:
                neither += 1
        return f"| frames | scorer | {len(records)} | {done} | {aside} | {neither} |"

    def _drifts(self, records: list[Record], letters: set[tuple[str, int, int]]) -> str:
        """A verdict's effect is that it is counted: it is readable, and its offset is behind the group's."""
        return _two_kinds("verdicts", "drift", records, letters, lambda event: unmeasurable(event) is None)

    def _bridges(self, records: list[Record], letters: set[tuple[str, int, int]]) -> str:
        """Of its line's key, or of nobody's where it cannot be known; what is older than itself is no more its."""
        place = partition_of("line-1", self.plant.kafka.partitions)
        here = [one for one in records if one.partition == place]
        ours = [one for one in here if one.is_unreadable or (one.key == "line-1" and one.time >= self._began)]
        return _two_kinds("verdicts", "bridge", ours, letters, lambda _: True)

    def _ledgers(self, records: dict[str, list[Record]], letters: set[tuple[str, int, int]]) -> Iterator[str]:
        with sqlite3.connect(self._folder / "ledger.db") as database:
            for kind in KEPT:
                table = {"drift": "drift_reports"}.get(kind.TOPIC, kind.TOPIC.replace("-", "_"))
                known = {row[0] for row in database.execute(f"select id from {table}")}
                done = aside = neither = 0
                for record in records[kind.TOPIC]:
                    event = _event(record, *KEPT)
                    if event is not None and (event.id in known or not isinstance(event, kind)):
                        done += 1
                    elif _place(record) in letters:
                        aside += 1
                    elif event is None and kind is DeadLetter:
                        aside += 1  # it is not answered by another one, but told in the log
                    else:
                        neither += 1
                yield f"| {kind.TOPIC} | ledger | {len(records[kind.TOPIC])} | {done} | {aside} | {neither} |"


def _named(event: Event) -> Event:
    """Return an example as our line would say it, with an id of its own."""
    changes = {"id": str(uuid4())} | {name: "line-1" for name in ("line",) if hasattr(event, name)}
    return event.model_copy(update=changes)


def _event(record: Record, *kinds: type[Event]) -> Event | None:
    try:
        return record.read(*kinds)[0]
    except EventError:
        return None


def _readable(records: list[Record], kind: Any) -> Iterator[tuple[Record, Any]]:
    for record in records:
        event = _event(record, kind)
        if event is not None:
            yield record, event


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _two_kinds(topic: str, service: str, records: list[Record], letters: set[tuple[str, int, int]], fits: Any) -> str:
    done = aside = neither = 0
    for record in records:
        event = _event(record, Verdict)
        if event is not None and fits(event):
            done += 1
        elif _place(record) in letters:
            aside += 1
        else:
            neither += 1
    return f"| {topic} | {service} | {len(records)} | {done} | {aside} | {neither} |"
