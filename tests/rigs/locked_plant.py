"""A plant on a Kafka that trusts nobody: each party has its own user and the rights of the registry, and no more."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from confluent_kafka import KafkaError as Fault
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from neverblink.events import TOPICS
from neverblink.events.parties import PARTIES
from neverblink.kafka.connection import connection_settings
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
        """Let every party try everything, and return what the broker said.

        It writes records that nobody can read: services must have ended.
        """
        return {party: await self._ask(party) for party in PARTIES}

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

    async def _ask(self, party: str) -> "Answers":
        found = Answers(
            await asyncio.to_thread(self._try_writing, party),
            administered=await asyncio.to_thread(self._try_administering, party),
        )
        admin = AIOKafkaAdminClient(**connection_settings(self._kafka[party], "probe"))
        await admin.start()
        try:
            asked = [(full, [(0, 0, 1)]) for full in self.topics]
            answer = await admin._send_request(FetchRequest(0, 1, 1, 0, asked))
            for full, ((_, code, *_),) in answer.topics:
                if _let(party, full, code):
                    found.read.add(self.topics[full])
            for full, group in self.groups.items():
                answer = await admin._send_request(FindCoordinatorRequest(full, 0))
                # A broker that has just begun has no coordinators yet, and says so to who may ask.
                if answer.error_code == Fault.COORDINATOR_NOT_AVAILABLE or _let(party, full, answer.error_code):
                    found.joined.add(group)
        finally:
            await admin.close()
        return found

    def _try_writing(self, party: str) -> set[str]:
        told: dict[str | None, Fault | None] = {}
        producer = Producer(self.foreign(party, **{"message.timeout.ms": int(_ANSWER_S * 1000)}))
        for full in self.topics:
            producer.produce(
                full, b"probe", b"probe", on_delivery=lambda fault, message: told.update({message.topic(): fault})
            )
        left = producer.flush(_ANSWER_S)
        assert left == 0, f"{party}: {left} records without an answer"
        return {name for full, name in self.topics.items() if _allowed(party, full, told[full])}

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
    return _let(party, what, 0 if fault is None else fault.code())


def _let(party: str, what: str, code: int) -> bool:
    """Say whether an answer is that it was let, and not refused; any other answer is a fault of ours."""
    assert code in {0, *_DENIED}, f"{party}, {what}: the broker answers {code}"
    return code == 0
