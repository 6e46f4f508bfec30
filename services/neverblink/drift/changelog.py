"""What the drift table's changelog must look like on this cluster, asked before Faust makes it."""

from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from neverblink.drift.errors import DriftError
from neverblink.drift.stations import ALERTS, PAST, WATCH
from neverblink.drift.verdict_memory import IDS
from neverblink.events import TOPICS
from neverblink.kafka.connection import connection_settings, explained
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.topics import copies_wanted
from neverblink.plant import Kafka
from neverblink.service_life.time_limit import time_limit

TABLE = "stations"
_TIMEOUT_S = 10.0
_LONGEST_KEY = 512


@dataclass(frozen=True, slots=True)
class Layout:
    """Partitions of the verdict topic, which the table must share, and copies of each partition."""

    partitions: int
    copies: int


def app_id(kafka: Kafka) -> str:
    """Return the name of the Faust app: its consumer group, and the beginning of its topics' names."""
    return f"{kafka.topic_prefix}-drift"


def is_table_key(key: object) -> bool:
    """Say whether a record's key can be one of ours.

    They are LINE/STATION/PRODUCT/ARTIFACT, alerts:LINE/STATION and ids:LINE/STATION/PARTITION.PAGE.
    """
    if not isinstance(key, bytes) or len(key) > _LONGEST_KEY:
        return False
    try:
        key.decode("ascii")
    except UnicodeDecodeError:
        return False
    if key.startswith(ALERTS):
        return key.count(b"/") == 1
    if key.startswith(IDS):
        return key.count(b"/") == 2
    return key.removeprefix(WATCH).removeprefix(PAST).count(b"/") == 3


async def layout(kafka: Kafka) -> Layout:
    """Ask the cluster. Raises DriftError when an existing changelog does not fit the verdict topic.

    Faust restarts its agent for ever on such a mismatch, so it is found before Faust starts.
    """
    verdicts = TOPICS["verdicts"].full_name(kafka.topic_prefix)
    changelog = f"{app_id(kafka)}-{TABLE}-changelog"
    admin = AIOKafkaAdminClient(**connection_settings(kafka, "neverblink-drift-layout"))
    try:
        async with time_limit(_TIMEOUT_S):
            await admin.start()
        present = set(await admin.list_topics())
        wanted = [name for name in (verdicts, changelog) if name in present]
        found = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(wanted)}
        copies = await copies_wanted(admin, kafka)
    except CLIENT_FAULTS as error:
        raise explained(error, kafka, "look up the verdict topic") from error
    finally:
        await admin.close()
    partitions = found[verdicts]
    if found.get(changelog, partitions) != partitions:
        raise DriftError(
            f"the topic {changelog} has {found[changelog]} partitions and {verdicts} has {partitions}: the state "
            f"does not fit any more; delete {changelog} to count anew"
        )
    return Layout(partitions, copies)
