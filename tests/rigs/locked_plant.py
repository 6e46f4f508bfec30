"""A plant on a Kafka that trusts nobody: each party has its own user and the rights of the registry, and no more."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import KafkaError as Fault
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from neverblink.events import TOPICS
from neverblink.events.parties import PARTIES
from neverblink.kafka.rights import apply, grants_of
from neverblink.kafka.rights.grants import Operation, Resource
from neverblink.plant import Kafka, Plant
from rigs.secured_kafka import SecuredKafka

BY_CERTIFICATE = ("camera", "bridge", "sre")
"""Who shows a certificate; the others log in by password."""

_ANSWER_S = 60.0
_DENIED = {
    Fault.TOPIC_AUTHORIZATION_FAILED,
    Fault.GROUP_AUTHORIZATION_FAILED,
    Fault.CLUSTER_AUTHORIZATION_FAILED,
}


class LockedPlant:
    """Users of all parties on one broker, with their rights. `whole` is the plant as its superuser sees it."""

    def __init__(self, secured: SecuredKafka, folder: Path, prefix: str, partitions: int = 2) -> None:
        self._folder = folder
        self._more: dict[str, Any] = {"topic_prefix": prefix, "partitions": partitions}
        self.root = Kafka(bootstrap=secured.plaintext, replication=1, **self._more)
        self._kafka: dict[str, Kafka] = {}
        for party in PARTIES:
            name = f"{prefix}-{party}"
            if party in BY_CERTIFICATE:
                self._kafka[party] = secured.certified(name, folder, **self._more)
                continue
            secret, file = uuid4().hex, folder / f"{name}.password"
            file.write_text(secret + "\n")
            secured.user(name, secret)
            self._kafka[party] = secured.kafka(name, file, **self._more)

    async def allow(self) -> None:
        """Make the topics and give everybody the registry's rights, as `neverblink topics apply --acls` does."""
        _, left = await apply(self.root, rights=True, may_delete=False)
        assert left == [], left

    def kafka(self, party: str) -> Kafka:
        """Return how a party comes to the broker."""
        return self._kafka[party]

    def plant(self, whole: Plant, party: str) -> Plant:
        """Return the plant as a party's plant file describes it."""
        return whole.model_copy(update={"kafka": self._kafka[party]})

    def write(self, whole: Path, party: str) -> Path:
        """Write a party's plant file beside the whole one, and return its place."""
        described = yaml.safe_load(whole.read_text(encoding="utf-8"))
        described["kafka"] = self._kafka[party].model_dump(mode="json")
        file = whole.with_name(f"plant-{party}.yaml")
        file.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
        return file

    def foreign(self, party: str, **more: Any) -> dict[str, Any]:
        """Return a librdkafka client's settings of a party."""
        kafka = self._kafka[party]
        security = kafka.security
        settings = {
            "bootstrap.servers": kafka.bootstrap,
            "security.protocol": security.protocol,
            "ssl.ca.location": str(security.ca_file),
        }
        if security.cert_file is not None:
            settings |= {
                "ssl.certificate.location": str(security.cert_file), "ssl.key.location": str(security.key_file)
            }  # fmt: skip
        if security.password_file is not None:
            settings |= {
                "sasl.mechanism": security.mechanism,
                "sasl.username": str(security.username),
                "sasl.password": security.password_file.read_text().strip(),
            }
        return {**settings, **more}

    async def ask_broker(self) -> "dict[str, Answers]":
        """Let every party try everything with a client that is not ours, and return what the broker said.

        It writes records that nobody can read: services must have ended.
        """
        with ThreadPoolExecutor(4) as pool:
            loop = asyncio.get_running_loop()
            answers = await asyncio.gather(*(loop.run_in_executor(pool, self._ask, party) for party in PARTIES))
        return dict(zip(PARTIES, answers, strict=True))

    @property
    def topics(self) -> dict[str, str]:
        """Return all topics by their names on the broker: short ones, and the states that services keep."""
        prefix = self.root.topic_prefix
        kept = {f"{prefix}-{name}": name for party in PARTIES.values() for name in party.keeps}
        return {topic.full_name(prefix): name for name, topic in TOPICS.items()} | kept

    @property
    def groups(self) -> dict[str, str]:
        """Return a group of each name, by its name on the broker; of those that are made, one."""
        prefix = self.root.topic_prefix
        return {
            f"{prefix}-{group}{'-1' if party.own_groups else ''}": group
            for party in PARTIES.values()
            for group in party.groups
        }

    def _ask(self, party: str) -> "Answers":
        found = Answers()
        found.written = self._try_writing(party)
        found.read = self._try_reading(party)
        found.joined = {group for full, group in self.groups.items() if self._may_join(party, full)}
        found.administered = self._try_administering(party)
        return found

    def _try_writing(self, party: str) -> set[str]:
        told: dict[str | None, Fault | None] = {}
        producer = Producer(self.foreign(party, **{"message.timeout.ms": int(_ANSWER_S * 1000)}))
        for full in self.topics:
            producer.produce(full, b"probe", on_delivery=lambda fault, message: told.update({message.topic(): fault}))
        left = producer.flush(_ANSWER_S)
        assert left == 0, f"{party}: {left} records without an answer"
        return {name for full, name in self.topics.items() if _allowed(party, full, told[full])}

    def _try_reading(self, party: str) -> set[str]:
        told: dict[str, Fault | None] = {}
        consumer = Consumer(
            self.foreign(
                party, **{"group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True,
                          "auto.offset.reset": "earliest"}
            )
        )  # fmt: skip
        consumer.assign([TopicPartition(full, 0, 0) for full in self.topics])
        while told.keys() != self.topics.keys():
            message = consumer.poll(_ANSWER_S)
            assert message is not None, f"{party}: no answer about {sorted(self.topics.keys() - told.keys())}"
            fault = message.error()
            if (full := message.topic()) is not None:
                told.setdefault(full, None if fault is not None and fault.code() == Fault._PARTITION_EOF else fault)
        consumer.close()
        return {self.topics[full] for full, fault in told.items() if _allowed(party, full, fault)}

    def _may_join(self, party: str, group: str) -> bool:
        consumer = Consumer(self.foreign(party, **{"group.id": group}))
        try:
            consumer.committed([TopicPartition(f"{self.root.topic_prefix}.verdicts", 0)], timeout=_ANSWER_S)
        except KafkaException as error:
            return _allowed(party, group, error.args[0])
        finally:
            consumer.close()
        return True

    def _try_administering(self, party: str) -> set[str]:
        admin = AdminClient(self.foreign(party))
        prefix = self.root.topic_prefix
        asked: dict[str, dict[str, Any]] = {
            "make a topic": admin.create_topics([NewTopic(f"{prefix}.more", 1, 1)]),
            "delete a topic": admin.delete_topics([f"{prefix}.more"]),
        }
        found = set()
        for what, futures in asked.items():
            (future,) = futures.values()
            fault = future.exception(_ANSWER_S)
            if _allowed(party, what, fault.args[0] if isinstance(fault, KafkaException) else None):
                found.add(what)
        return found


@dataclass(slots=True)
class Answers:
    """What the broker let a party do: topics that it wrote and read, groups that it may join, and more than that."""

    written: set[str] = field(default_factory=set)
    read: set[str] = field(default_factory=set)
    joined: set[str] = field(default_factory=set)
    administered: set[str] = field(default_factory=set)


def expected(plant: LockedPlant, party: str) -> Answers:
    """Return what the registry's rights let a party do."""
    grants = grants_of(plant.root, [party])

    def of(resource: Resource, operation: Operation) -> Iterable[str]:
        return (one.name for one in grants if one.resource is resource and one.operation is operation)

    joined = {short for full, short in plant.groups.items() for name in of(Resource.GROUP, Operation.READ)
              if full == name or full.removesuffix("-1") == name}  # fmt: skip
    return Answers(
        {plant.topics[name] for name in of(Resource.TOPIC, Operation.WRITE)},
        {plant.topics[name] for name in of(Resource.TOPIC, Operation.READ)},
        joined,
    )


def table(answers: Mapping[str, Answers], topics: Sequence[str]) -> list[str]:
    """Return what the broker answered as lines of Markdown: who read (R) and wrote (W), and who was refused (–)."""
    head = ["topic", *answers]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for topic in topics:
        cells = [
            f"{'R' if topic in one.read else ''}{'W' if topic in one.written else ''}" or "–"
            for one in answers.values()
        ]
        lines.append(f"| `{topic}` | {' | '.join(cells)} |")
    return lines


def _allowed(party: str, what: str, fault: Fault | None) -> bool:
    if fault is None:
        return True
    assert fault.code() in _DENIED, f"{party}, {what}: {fault}"
    return False
