"""Creates our topics and checks those that exist."""

from collections.abc import Iterable, Iterator, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import ClusterAuthorizationFailedError, TopicAlreadyExistsError, for_code
from aiokafka.errors import TopicAuthorizationFailedError as TopicDenied

from neverblink import telemetry
from neverblink.events import TOPICS, Topic
from neverblink.kafka.connection import KafkaError, connection_settings, explained
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.plant import Kafka
from neverblink.service_life.time_limit import time_limit

_TIMEOUT_S = 10.0
_DENIED = (TopicDenied, ClusterAuthorizationFailedError)
_SIZE = "max.message.bytes"

# What a setting is there for, in the words of a warning.
_WHY = {
    "cleanup.policy": "a topic that should be compacted loses its state, one that should not grows for ever",
    "retention.ms": "its records are kept shorter or longer than its readers expect",
    "retention.bytes": "this is what its records may take of a broker's disk in each partition",
    "min.insync.replicas": "so many copies must have a record before it counts as written",
}


async def ensure_topics(kafka: Kafka, names: Iterable[str] = TOPICS) -> list[str]:
    """Create the topics that are missing and return their names on the broker.

    A topic that exists keeps its settings, and what differs from ours is warned of; one that accepts smaller records
    than we send is refused with the setting to change. Raises KafkaError.
    """
    wanted = {TOPICS[name].full_name(kafka.topic_prefix): TOPICS[name] for name in names}
    admin = AIOKafkaAdminClient(
        **connection_settings(kafka, "neverblink-topics"), request_timeout_ms=int(_TIMEOUT_S * 1000)
    )
    try:
        async with time_limit(_TIMEOUT_S):
            await admin.start()
        present = set(await admin.list_topics())
        missing = {full: topic for full, topic in wanted.items() if full not in present}
        if missing:
            await _create(admin, kafka, missing)
        await _check(admin, {full: topic for full, topic in wanted.items() if full in present})
    except CLIENT_FAULTS as error:
        raise explained(error, kafka, "create topics", right=f"Create on topic {', '.join(sorted(wanted))}") from error
    finally:
        await admin.close()
    return sorted(missing)


async def _create(admin: AIOKafkaAdminClient, kafka: Kafka, missing: Mapping[str, Topic]) -> None:
    copies = await copies_wanted(admin, kafka)
    response = await admin.create_topics(
        [
            NewTopic(
                name=full,
                num_partitions=kafka.partitions,
                replication_factor=copies,
                topic_configs=topic.settings(copies),
            )
            for full, topic in missing.items()
        ]
    )
    for full, code, *message in response.topic_errors:
        error = for_code(code)
        if error in _DENIED:
            raise explained(
                error(full), kafka, f"see or create the topic {full}", right=f"Describe or Create on topic {full}"
            )
        if code and error is not TopicAlreadyExistsError:
            raise KafkaError(
                f"the topic {full} cannot be created on Kafka at {kafka.bootstrap}: "
                f"{message[0] if message and message[0] else error.__name__}"
            )


async def copies_wanted(admin: AIOKafkaAdminClient, kafka: Kafka) -> int:
    """Return a new topic's copies: as stated, else three where the cluster has the brokers, or as many as it has."""
    if kafka.replication > 0:
        return kafka.replication
    return min(3, len((await admin.describe_cluster())["brokers"]))


async def _check(admin: AIOKafkaAdminClient, present: Mapping[str, Topic]) -> None:
    """Compare what exists with what we would make. Raises KafkaError for a bound that our records are above."""
    if not present:
        return
    copies = {
        topic["topic"]: min((len(partition["replicas"]) for partition in topic["partitions"]), default=1)
        for topic in await admin.describe_topics(list(present))
    }
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, full, dict.fromkeys(topic.settings(1), ""))
        for full, topic in present.items()
    ]
    log = telemetry.logger("kafka")
    for response in await admin.describe_configs(resources):
        for _, _, _, full, entries in response.resources:
            found = {entry[0]: entry[1] for entry in entries}
            wanted = present[full].settings(copies.get(full, 1))
            if (size := found.get(_SIZE)) is not None and int(size) < int(wanted[_SIZE]):
                raise KafkaError(
                    f"the topic {full} accepts records up to {size} bytes and ours reach {wanted[_SIZE]}: "
                    f"set {_SIZE}={wanted[_SIZE]} on it"
                )
            for sentence in differences(full, found, wanted):
                log.warning(sentence)


def differences(full: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each setting of an existing topic that is not what ours would be."""
    for name, why in _WHY.items():
        if found.get(name) not in {None, wanted[name]}:
            yield (
                f"the topic {full} has {name}={found[name]}, and we would make it with {wanted[name]}: {why}; it is"
                " left as it is"
            )
