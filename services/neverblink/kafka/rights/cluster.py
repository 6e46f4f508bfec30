"""Compares a cluster with the registry of topics, and brings it there; nothing that is there is ever taken away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, TopicAlreadyExistsError, for_code

from neverblink.kafka.connection import KafkaError, connection_settings, explained
from neverblink.kafka.following_client import CLIENT_FAULTS
from neverblink.kafka.rights import wire
from neverblink.kafka.rights.differences import (
    MISSING,
    Difference,
    FoundRights,
    FoundTopic,
    Kind,
    Mend,
    of_rights,
    of_topics,
    wanted_topics,
)
from neverblink.kafka.topics import copies_wanted
from neverblink.plant import Kafka
from neverblink.service_life.time_limit import time_limit

_CONNECT_S = 10.0
_WITHIN_S = 60.0
_SETTLES_S = 15.0
_AGAIN_S = 0.3
_LOOK_RIGHTS = "Describe on topics PREFIX.*, DescribeConfigs on them, and Describe and DescribeConfigs on the cluster"
_CHANGE_RIGHTS = "Create, Alter and AlterConfigs on topics PREFIX*, and Alter and AlterConfigs on the cluster"


async def differences(kafka: Kafka, *, rights: bool) -> list[Difference]:
    """Return what a cluster has otherwise than it should, with `rights` of users' rights and quotas as well.

    Raises KafkaError.
    """
    async with _asking(kafka, "look at topics and rights", _LOOK_RIGHTS) as admin:
        return await _differences(admin, kafka, rights=rights)


async def apply(kafka: Kafka, *, rights: bool, may_delete: bool) -> tuple[list[Difference], list[Difference]]:
    """Mend what differs, and return what was and what still differs.

    Makes topics and sets settings of ours; with `rights` gives rights and sets quotas. No topic, right or setting of
    others is touched, and without `may_delete` nothing is set that lets Kafka delete records that it keeps now.
    Raises KafkaError.
    """
    async with _asking(kafka, "change topics and rights", _CHANGE_RIGHTS) as admin:
        before = await _differences(admin, kafka, rights=rights)
        mends = {Mend.APPLY, Mend.DELETES} if may_delete else {Mend.APPLY}
        todo = [one for one in before if one.mend in mends]
        await _make(admin, kafka, todo)
        await _set(admin, todo)
        if rights:
            await _allow(admin, todo)
        return before, await _settled(admin, kafka, rights=rights, mends=mends)


@asynccontextmanager
async def _asking(kafka: Kafka, doing: str, needed: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        **connection_settings(kafka, "neverblink-topics"), request_timeout_ms=int(_CONNECT_S * 1000)
    )
    try:
        async with time_limit(_CONNECT_S):
            await admin.start()
        async with time_limit(_WITHIN_S):
            yield admin
    except IncompatibleBrokerVersion as error:
        raise KafkaError(f"the broker at {kafka.bootstrap} cannot {doing}: {error}") from error
    except CLIENT_FAULTS as error:
        raise explained(error, kafka, doing, right=needed.replace("PREFIX", kafka.topic_prefix)) from error
    finally:
        await admin.close()


async def _differences(admin: AIOKafkaAdminClient, kafka: Kafka, *, rights: bool) -> list[Difference]:
    copies = await copies_wanted(admin, kafka)
    found = list(of_topics(kafka, await _topics(admin, kafka, copies), copies))
    return [*found, *(of_rights(kafka, await _rights(admin, kafka)) if rights else ())]


async def _settled(admin: AIOKafkaAdminClient, kafka: Kafka, *, rights: bool, mends: set[Mend]) -> list[Difference]:
    """Return what still differs; a broker learns of a change a moment after it was acknowledged."""
    give_up = asyncio.get_running_loop().time() + _SETTLES_S
    while True:
        left = await _differences(admin, kafka, rights=rights)
        if not any(one.mend in mends for one in left) or asyncio.get_running_loop().time() > give_up:
            return left
        await asyncio.sleep(_AGAIN_S)


async def _topics(admin: AIOKafkaAdminClient, kafka: Kafka, copies: int) -> dict[str, FoundTopic]:
    wanted = wanted_topics(kafka, copies)
    present = sorted(wanted.keys() & set(await admin.list_topics()))
    if not present:
        return {}
    described = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(present)}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(wanted[name], "")) for name in present]
    settings: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for code, message, _, name, entries in response.resources:
            if code:
                raise for_code(code)(message or name)
            settings[name] = {entry[0]: entry[1] for entry in entries}
    return {
        name: FoundTopic(len(parts), min((len(one["replicas"]) for one in parts), default=1), settings.get(name, {}))
        for name, parts in described.items()
    }


async def _rights(admin: AIOKafkaAdminClient, kafka: Kafka) -> FoundRights:
    found = await wire.rights_on(admin)
    if found is None:
        raise KafkaError(
            f"Kafka at {kafka.bootstrap} asks nobody for rights: set authorizer.class.name="
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer on its brokers and controllers, and say who may"
            " do everything in super.users first"
        )
    return FoundRights(*found, await wire.quotas_on(admin))


async def _make(admin: AIOKafkaAdminClient, kafka: Kafka, todo: Sequence[Difference]) -> None:
    missing = [one.name for one in todo if one.which == MISSING]
    if not missing:
        return
    copies = await copies_wanted(admin, kafka)
    settings = wanted_topics(kafka, copies)
    new = [
        NewTopic(name, num_partitions=kafka.partitions, replication_factor=copies, topic_configs=settings[name])
        for name in missing
    ]
    for name, code, *message in (await admin.create_topics(new)).topic_errors:
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise for_code(code)(f"{name}: {message[0] if message else ''}")


async def _set(admin: AIOKafkaAdminClient, todo: Sequence[Difference]) -> None:
    settings: dict[str, dict[str, str]] = {}
    for one in todo:
        if one.kind is Kind.TOPIC and one.which != MISSING:
            settings.setdefault(one.name, {})[one.which] = one.wanted
    if settings:
        await wire.set_on_topics(admin, settings)


async def _allow(admin: AIOKafkaAdminClient, todo: Sequence[Difference]) -> None:
    grants = [one.grant for one in todo if one.grant is not None]
    if grants:
        await wire.allow(admin, grants)
    quotas: dict[str, dict[str, float]] = {}
    for one in todo:
        if one.kind is Kind.QUOTA:
            quotas.setdefault(one.name, {})[one.which] = float(one.wanted)
    if quotas:
        await wire.set_quotas(admin, quotas)
