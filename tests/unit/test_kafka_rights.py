"""Who may do what on the broker: from the registry of topics, no more than each needs, and what differs from it."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from neverblink.cli import app
from neverblink.drift.changelog import TABLE, app_id
from neverblink.events import TOPICS
from neverblink.events.parties import ANY_SERVICE, DRIFT_STATE, PARTIES
from neverblink.kafka.rights.differences import (
    MISSING,
    Difference,
    FoundRights,
    FoundTopic,
    Mend,
    of_rights,
    of_topics,
    wanted_topics,
)
from neverblink.kafka.rights.grants import Grant, Operation, Pattern, Resource, grants_of
from neverblink.kafka.rights.texts import as_commands, as_yaml, quotas_by_user
from neverblink.plant import Kafka

ROOT = Path(__file__).resolve().parents[2]
KAFKA = Kafka(replication=1)
TOPIC, LITERAL = Resource.TOPIC, Pattern.LITERAL


def as_it_should_be() -> dict[str, FoundTopic]:
    return {name: FoundTopic(KAFKA.partitions, 1, dict(settings)) for name, settings in wanted_topics(KAFKA, 1).items()}


def rights(*more: Grant, without: Grant | None = None, denied: tuple[Grant, ...] = ()) -> list[Difference]:
    allowed = [one for one in grants_of(KAFKA) if one != without]
    return list(of_rights(KAFKA, FoundRights([*allowed, *more], denied, quotas_by_user(KAFKA))))


def allowed(user: str, operation: Operation, name: str, pattern: Pattern = LITERAL) -> Grant:
    return Grant(f"User:{user}", TOPIC, name, pattern, operation)


def test_the_file_of_rights_is_the_registrys() -> None:
    again = "run `neverblink topics acls > deploy/kafka/acls.yaml`"
    assert (ROOT / "deploy/kafka/acls.yaml").read_text(encoding="utf-8") == as_yaml(Kafka()), again


def test_everybody_whom_the_registry_names_is_a_user_of_the_broker() -> None:
    known = {word for party in PARTIES.values() for word in party.words} | {ANY_SERVICE}
    named = {word for topic in TOPICS.values() for word in (*topic.writers, *topic.readers)}
    assert named == known


def test_the_drift_services_state_is_named_as_its_stream_processor_names_it() -> None:
    assert f"{KAFKA.topic_prefix}-{DRIFT_STATE}" == f"{app_id(KAFKA)}-{TABLE}-changelog"


def test_nobody_makes_shared_topics_takes_records_away_or_has_a_right_on_the_cluster() -> None:
    found = grants_of(KAFKA)
    assert [one.name for one in found if one.operation is Operation.CREATE] == [f"{KAFKA.topic_prefix}-{DRIFT_STATE}"]
    usual = {Operation.READ, Operation.WRITE, Operation.DESCRIBE_CONFIGS}
    assert {one.operation for one in found} == usual | {Operation.CREATE}
    assert {one.resource for one in found} == {Resource.TOPIC, Resource.GROUP}
    assert {one.pattern for one in found if one.resource is Resource.TOPIC} == {Pattern.LITERAL}


def test_who_writes_a_decision_is_who_decides() -> None:
    writers = {
        one.principal.removeprefix("User:neverblink-")
        for one in grants_of(KAFKA)
        if one.operation is Operation.WRITE and one.name == "neverblink.verdicts"
    }
    assert writers == {"camera", "scorer", "maintainer"}


def test_the_commands_say_each_right_once() -> None:
    lines = [line for line in as_commands(KAFKA) if line.startswith("kafka-acls.sh")]
    said = sum(line.count("--operation ") for line in lines)
    assert said == len(grants_of(KAFKA))
    camera = [
        line for line in lines if "User:neverblink-camera " in line and line.endswith("--topic neverblink.frames")
    ]
    assert [line.split("--allow-principal ")[1] for line in camera] == [
        "User:neverblink-camera --operation Write --operation DescribeConfigs --topic neverblink.frames"
    ]


def test_a_plant_says_who_a_service_is_to_its_broker(tmp_path: Path) -> None:
    kafka = Kafka(principals={"camera": ("User:CN=camera-1", "User:CN=camera-2")})
    assert {one.principal for one in grants_of(kafka, ["camera"])} == {"User:CN=camera-1", "User:CN=camera-2"}
    given_here = CliRunner().invoke(app, ["topics", "acls", "--principal", "camera=User:CN=camera-7"])
    assert yaml.safe_load(given_here.stdout)["parties"]["camera"]["principals"] == ["User:CN=camera-7"]


@pytest.mark.parametrize(
    ("principals", "said"),
    [
        ({"kamera": ("User:a",)}, "there is nobody called 'kamera'"),
        ({"camera": ("camera",)}, "'camera' is no user of a broker"),
        ({"camera": ("User:*",)}, "is no user of a broker"),
    ],
)
def test_a_user_that_no_broker_knows_is_refused(principals: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        Kafka(principals=principals)


def test_a_user_of_two_parties_has_the_wider_quotas_and_none_where_one_has_none() -> None:
    one = Kafka(principals={"mes": ("User:office",), "console": ("User:office",)})
    assert quotas_by_user(one)["office"]["request_percentage"] == 50
    other = Kafka(principals={"camera": ("User:edge",), "console": ("User:edge",)})
    assert "edge" not in quotas_by_user(other)


def test_a_cluster_that_is_as_it_should_be_differs_in_nothing() -> None:
    assert list(of_topics(KAFKA, as_it_should_be(), 1)) == []
    assert rights() == []


@settings(max_examples=25)
@given(st.sampled_from(grants_of(KAFKA)))
def test_a_right_that_is_missing_is_named_and_given_by_apply(missing: Grant) -> None:
    (found,) = rights(without=missing)
    assert (found.grant, found.which, found.mend) == (missing, missing.words, Mend.APPLY)


@settings(max_examples=25)
@given(
    st.sampled_from(grants_of(KAFKA)),
    st.sampled_from([Pattern.PREFIXED, Pattern.LITERAL]),
    st.booleans(),
)
def test_a_wider_right_is_enough_and_is_told(missing: Grant, pattern: Pattern, everything: bool) -> None:
    name = "*" if pattern is Pattern.LITERAL else missing.name[:4]
    operation = Operation.ALL if everything else missing.operation
    wide = Grant(missing.principal, missing.resource, name, pattern, operation)
    assert wide.covers(missing)
    told = rights(wide, without=missing)
    assert [(one.which, one.mend) for one in told] == [(wide.words, Mend.BY_HAND)]


@pytest.mark.parametrize("operation", [Operation.ALL, Operation.WRITE, Operation.DESCRIBE])
def test_a_denial_that_takes_a_right_away_is_told(operation: Operation) -> None:
    (found,) = rights(denied=(allowed("*", operation, "neverblink.frames"),))
    assert found.mend is Mend.BY_HAND
    assert "cannot have" in found.said


def test_a_right_of_somebody_else_on_our_topics_is_a_note_and_one_elsewhere_is_not_told() -> None:
    theirs = allowed("archive", Operation.READ, "neverblink.verdicts")
    (found,) = rights(theirs, allowed("archive", Operation.READ, "orders"))
    assert (found.name, found.mend) == ("User:archive", Mend.NOTE)


@pytest.mark.parametrize(
    ("name", "setting", "found", "mend"),
    [
        ("neverblink.verdicts", "retention.ms", "1000", Mend.APPLY),
        ("neverblink.verdicts", "retention.ms", "-1", Mend.DELETES),
        ("neverblink.frames", "retention.bytes", "-1", Mend.DELETES),
        ("neverblink.frames", "retention.bytes", "1000", Mend.APPLY),
        ("neverblink.reviews", "retention.ms", "1000", Mend.APPLY),
        ("neverblink.holds", "min.compaction.lag.ms", "0", Mend.APPLY),
        ("neverblink.models", "cleanup.policy", "delete", Mend.DELETES),
        ("neverblink.frames", "max.message.bytes", "1048588", Mend.APPLY),
    ],
)
def test_a_setting_that_lets_kafka_delete_what_it_keeps_is_not_set_unasked(
    name: str, setting: str, found: str, mend: Mend
) -> None:
    topics = as_it_should_be()
    topics[name] = FoundTopic(KAFKA.partitions, 1, {**topics[name].settings, setting: found})
    (told,) = of_topics(KAFKA, topics, 1)
    assert (told.name, told.which, told.found, told.mend) == (name, setting, found, mend)


def test_missing_topics_are_made_and_partitions_and_copies_are_left_to_people() -> None:
    topics = as_it_should_be()
    del topics["neverblink.frames"]
    topics["neverblink.verdicts"] = FoundTopic(12, 1, topics["neverblink.verdicts"].settings)
    told = {(one.name, one.which): one.mend for one in of_topics(KAFKA, topics, 1)}
    assert told == {
        ("neverblink.frames", MISSING): Mend.APPLY,
        ("neverblink.verdicts", "partitions"): Mend.BY_HAND,
    }
    fewer = [one for one in of_topics(KAFKA, as_it_should_be(), 3) if one.which == "copies"]
    assert {one.mend for one in fewer} == {Mend.BY_HAND}
    assert len(fewer) == len(wanted_topics(KAFKA, 1))
