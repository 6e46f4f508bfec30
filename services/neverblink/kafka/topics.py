"""Creates our topics and checks those that exist."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from neverblink import telemetry
from neverblink.events import TOPICS
from neverblink.kafka.connection import CLIENT_FAULTS, KafkaError, connection_settings, explained
from neverblink.plant import Kafka
from neverblink.service_life.time_limit import time_limit

_TIMEOUT_S = 10.0


async def ensure_topics(kafka: Kafka, names: Iterable[str] = TOPICS) -> list[str]:
    """Create the topics that are missing and return their names on the broker.

    A topic that exists keeps its settings; one that accepts smaller records than we send is refused with
    the setting to change. Raises KafkaError.
    """
    wanted = {TOPICS[name].full_name(kafka.topic_prefix): TOPICS[name] for name in names}
    admin = AIOKafkaAdminClient(
        **connection_settings(kafka, "neverblink-topics"), request_timeout_ms=int(_TIMEOUT_S * 1000)
    )
    try:
        async with time_limit(_TIMEOUT_S):
            await admin.start()
        present = set(await admin.list_topics())
        missing = [
            NewTopic(
                name=full,
                num_partitions=kafka.partitions,
                replication_factor=kafka.replication if kafka.replication > 0 else await _copies(admin),
                topic_configs=topic.settings(),
            )
            for full, topic in wanted.items()
            if full not in present
        ]
        if missing:
            response = await admin.create_topics(missing)
            for full, code, *message in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise KafkaError(
                        f"the topic {full} cannot be created on Kafka at {kafka.bootstrap}: "
                        f"{message[0] if message and message[0] else error.__name__}"
                    )
        await _check_sizes(admin, {full: wanted[full].max_message_bytes for full in wanted if full in present})
    except CLIENT_FAULTS as error:
        raise explained(error, kafka, "create topics") from error
    finally:
        await admin.close()
    return sorted(topic.name for topic in missing)


async def _copies(admin: AIOKafkaAdminClient) -> int:
    """Return three copies where the cluster has the brokers, else as many as it has."""
    cluster = await admin.describe_cluster()
    return min(3, len(cluster["brokers"]))


async def _check_sizes(admin: AIOKafkaAdminClient, bounds: dict[str, int]) -> None:
    if not bounds:
        return
    resources = [ConfigResource(ConfigResourceType.TOPIC, full, {"max.message.bytes": ""}) for full in bounds]
    for response in await admin.describe_configs(resources):
        for _, _, _, full, entries in response.resources:
            found = {entry[0]: entry[1] for entry in entries}.get("max.message.bytes")
            if found is not None and int(found) < bounds[full]:
                raise KafkaError(
                    f"the topic {full} accepts records up to {found} bytes and ours reach {bounds[full]}: "
                    f"set max.message.bytes={bounds[full]} on it"
                )
    telemetry.logger("kafka").debug("the topics' sizes are sufficient")
