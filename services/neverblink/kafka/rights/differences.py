"""What a cluster has otherwise than the registry of topics, and who can mend it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from neverblink.events import TOPICS
from neverblink.events.parties import PARTIES
from neverblink.kafka.rights.grants import Grant, Operation, grants_of
from neverblink.kafka.rights.texts import quotas_by_user
from neverblink.plant import Kafka


class Mend(Enum):
    """How a difference goes away."""

    APPLY = "apply"
    DELETES = "apply --may-delete-records"
    BY_HAND = "by hand"
    NOTE = "not ours"


class Kind(Enum):
    """What a difference is about."""

    TOPIC = "topic"
    RIGHT = "right"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be: of a topic or user `which` is `found` and should be `wanted`.

    `said` is why it matters or what to do; `grant` is the right that is missing, of a right that is.
    """

    kind: Kind
    name: str
    which: str
    found: str
    wanted: str
    mend: Mend
    said: str
    grant: Grant | None = None


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as it is on the cluster; `copies` are those of the partition that has the fewest."""

    partitions: int
    copies: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundRights:
    """What is allowed and denied on a cluster, and the quotas of its users."""

    allowed: Sequence[Grant]
    denied: Sequence[Grant]
    quotas: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


MISSING = "is there"
"""What is said of a topic that there is not."""

_LESS_DELETES = frozenset({"retention.ms", "retention.bytes", "min.compaction.lag.ms"})

_WHY = {
    "cleanup.policy": "compacted, it keeps the newest record of each key for ever; else all of them for a while",
    "retention.ms": "so long its records are kept",
    "retention.bytes": "this is what its records may take of a broker's disk in each partition",
    "max.message.bytes": "records up to this size are taken",
    "min.insync.replicas": "so many copies must have a record before it counts as written",
    "min.compaction.lag.ms": "so long what was replaced is kept, for readers who were away",
}


def wanted_topics(kafka: Kafka, copies: int) -> dict[str, dict[str, str]]:
    """Return the settings of all topics that there should be, by their names on the broker."""
    found = {topic.full_name(kafka.topic_prefix): topic.settings(copies) for topic in TOPICS.values()}
    for party in PARTIES.values():
        for kept in party.keeps:
            found[f"{kafka.topic_prefix}-{kept}"] = {"cleanup.policy": "compact"}
    return found


def of_topics(kafka: Kafka, found: Mapping[str, FoundTopic], copies: int) -> Iterator[Difference]:
    """Yield what differs of the topics; `copies` are those of a new one."""
    for name in wanted_topics(kafka, copies):
        topic = found.get(name)
        if topic is None:
            yield Difference(
                Kind.TOPIC, name, MISSING, "no", "yes", Mend.APPLY, "it is made, with the settings that it should have"
            )
            continue
        if topic.partitions != kafka.partitions:
            yield Difference(
                Kind.TOPIC, name, "partitions", str(topic.partitions), str(kafka.partitions), Mend.BY_HAND,
                "more of them move keys, so a station's records are out of order meanwhile; fewer means a new topic",
            )  # fmt: skip
        if topic.copies < copies:
            yield Difference(
                Kind.TOPIC, name, "copies", str(topic.copies), str(copies), Mend.BY_HAND,
                "kafka-reassign-partitions.sh makes more: with fewer, records are lost with fewer brokers",
            )  # fmt: skip
        for setting, value in wanted_topics(kafka, topic.copies)[name].items():
            is_now = topic.settings.get(setting)
            if is_now is not None and is_now != value:
                mend = Mend.DELETES if _deletes(setting, is_now, value) else Mend.APPLY
                yield Difference(Kind.TOPIC, name, setting, is_now, value, mend, _WHY[setting])


def _deletes(setting: str, found: str, wanted: str) -> bool:
    """Say whether a setting lets Kafka delete records that it keeps now."""
    if setting == "cleanup.policy":
        return True
    if setting not in _LESS_DELETES:
        return False
    before, after = int(found), int(wanted)
    return after >= 0 and (before < 0 or after < before)


def of_rights(kafka: Kafka, found: FoundRights) -> Iterator[Difference]:
    """Yield what differs of rights and quotas. Rights of others are told where they reach our topics and groups."""
    wanted = grants_of(kafka)
    for grant in wanted:
        if not any(one.covers(grant) for one in found.allowed):
            yield Difference(
                Kind.RIGHT, grant.principal, grant.words, "no", "yes", Mend.APPLY, "its work needs it", grant
            )
    for denied in found.denied:
        hit = [one for one in wanted if _denies(denied, one)]
        if hit:
            yield Difference(
                Kind.RIGHT, denied.principal, denied.words, "denied", "not denied", Mend.BY_HAND,
                f"a denial goes before what is allowed: {hit[0].principal} cannot have {hit[0].words}",
            )  # fmt: skip
    ours = {one.principal for one in wanted}
    for grant in found.allowed:
        if any(one.covers(grant) for one in wanted) or not any(grant.touches(one) for one in wanted):
            continue
        if grant.principal in ours:
            yield Difference(
                Kind.RIGHT, grant.principal, grant.words, "yes", "no", Mend.BY_HAND,
                "its work does not need it; kafka-acls.sh --remove takes it away",
            )  # fmt: skip
        else:
            yield Difference(
                Kind.RIGHT, grant.principal, grant.words, "yes", "", Mend.NOTE, "somebody else's right; it stays"
            )
    yield from _of_quotas(kafka, found.quotas)


def _denies(denied: Grant, wanted: Grant) -> bool:
    """Say whether a denial takes a right away. To deny Describe denies it to who may Read; to deny Read, Read alone."""
    operations = {Operation.ALL, wanted.operation, Operation.DESCRIBE}
    reach = Grant(denied.principal, denied.resource, denied.name, denied.pattern, wanted.operation)
    return denied.operation in operations and reach.covers(wanted)


def _of_quotas(kafka: Kafka, found: Mapping[str, Mapping[str, float]]) -> Iterator[Difference]:
    said = "a program that runs wild takes no more of a broker than this"
    for user, quotas in quotas_by_user(kafka).items():
        has = found.get(user, {})
        for key, value in quotas.items():
            if has.get(key) != value:
                is_now = f"{has[key]:.0f}" if key in has else "none"
                yield Difference(Kind.QUOTA, user, key, is_now, str(value), Mend.APPLY, said)
