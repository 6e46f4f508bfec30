"""On a Kafka with a lock on its door: each service does its whole work with exactly its rights, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka.admin import AclOperation, ResourceType
from review_plant import plant_file
from typer.testing import CliRunner

from neverblink.brokers.apache import LocalKafka
from neverblink.cli import app
from neverblink.kafka.connection import KafkaError
from neverblink.kafka.rights import apply, differences
from neverblink.kafka.rights.differences import Mend
from neverblink.plant import Kafka
from rigs.secured_kafka import SecuredKafka, secured_kafka

pytestmark = pytest.mark.plant


@pytest.fixture(scope="module")
def secured() -> Iterator[SecuredKafka]:
    """One broker for all of these tests; each has users and topics of its own."""
    yield from secured_kafka(session_ms=0)


async def test_apply_makes_what_is_missing_and_takes_nothing_away(secured: SecuredKafka) -> None:
    prefix = f"p{uuid4().hex[:8]}"
    kafka = Kafka(bootstrap=secured.plaintext, topic_prefix=prefix, partitions=2, replication=1)
    admin = AIOKafkaAdminClient(bootstrap_servers=secured.plaintext)
    await admin.start()
    theirs = {"retention.ms": "1000", "segment.ms": "123456", "max.message.bytes": "1000000"}
    kept = {"retention.ms": "-1"}
    await admin.create_topics(
        [
            NewTopic(f"{prefix}.reviews", 5, 1, topic_configs=theirs),
            NewTopic(f"{prefix}.drift", 2, 1, topic_configs=kept),
        ]
    )
    secured.allow("archive", ResourceType.TOPIC, f"{prefix}.", AclOperation.READ)

    before, left = await apply(kafka, rights=True, may_delete=False)

    assert {one.name for one in before if one.found == "no" and one.which == "is there"} > {f"{prefix}.frames"}
    told = {(one.name.removeprefix(f"{prefix}."), one.which): one.mend for one in left}
    assert told == {
        ("reviews", "partitions"): Mend.BY_HAND,
        ("drift", "retention.ms"): Mend.DELETES,
        ("User:archive", f"Read on topic {prefix}.*"): Mend.NOTE,
    }
    assert await differences(kafka, rights=True) == left
    _, left = await apply(kafka, rights=True, may_delete=True)
    assert ("drift", "retention.ms") not in {(one.name.removeprefix(f"{prefix}."), one.which) for one in left}

    (described,) = await admin.describe_topics([f"{prefix}.reviews"])
    assert len(described["partitions"]) == 5
    await admin.close()
    assert secured.setting(f"{prefix}.reviews", "segment.ms") == "123456"


def test_check_says_what_differs_by_its_exit_code_and_changes_nothing(secured: SecuredKafka, tmp_path: Path) -> None:
    prefix = f"p{uuid4().hex[:8]}"
    file = plant_file(secured.plaintext, tmp_path)
    described = yaml.safe_load(file.read_text())
    described["kafka"] |= {"topic_prefix": prefix, "principals": {"camera": ["User:CN=camera-1"]}}
    file.write_text(yaml.safe_dump(described))

    def run(*command: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["topics", *command, "--plant", str(file)])
        return done.exit_code, done.output

    for _ in range(2):
        code, said = run("check", "--acls")
        assert (code, f"{prefix}.frames" in said, "User:CN=camera-1" in said) == (1, True, True)
    assert run("apply")[0] == 0
    assert run("check") == (0, f"topics on Kafka at {secured.plaintext} are as they should be\n")
    code, said = run("check", "--acls")
    assert (code, f"{prefix}.frames: is there" in said, "Write on topic" in said) == (1, False, True)
    code, said = run("apply", "--acls")
    assert (code, f"User:CN=camera-1: Write on topic {prefix}.frames: was no, is yes" in said) == (0, True)
    assert run("check", "--acls")[0] == 0


async def test_who_may_not_look_is_told_which_rights_that_takes(secured: SecuredKafka, tmp_path: Path) -> None:
    name = f"u{uuid4().hex[:8]}"
    secured.user(name, "first")
    (tmp_path / "password").write_text("first")
    kafka = secured.kafka(name, tmp_path / "password", topic_prefix=name)
    with pytest.raises(KafkaError, match=rf"the user '{name}' is not allowed to: .*Describe.* on the cluster"):
        await differences(kafka, rights=True)
    with pytest.raises(KafkaError, match=rf"not allowed to: Create, .*{name}"):
        await apply(kafka, rights=False, may_delete=False)


async def test_a_broker_that_asks_for_no_rights_is_told_as_such(apache: LocalKafka) -> None:
    kafka = Kafka(bootstrap=apache.bootstrap, topic_prefix=f"p{uuid4().hex[:8]}", partitions=2, replication=1)
    with pytest.raises(KafkaError, match=r"asks nobody for rights: set authorizer\.class\.name"):
        await differences(kafka, rights=True)
