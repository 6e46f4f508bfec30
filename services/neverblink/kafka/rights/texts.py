"""The rights as a file to read and keep, and as commands for Kafka's own tools."""

import shlex
from collections.abc import Iterator

import yaml

from neverblink.events.parties import PARTIES, Party
from neverblink.kafka.rights.grants import Pattern, Resource, rights_of
from neverblink.plant import Kafka

_HEAD = """\
# Who may do what on the broker, from the registry of topics: made by `neverblink topics acls`, not by hand.
# `neverblink topics apply --acls` brings a broker to it and takes nothing away; `check --acls` says what differs.
# Read and Write include Describe. Nobody needs transactional ids or a right on the cluster.
"""

_TOOLS = "--bootstrap-server {bootstrap} --command-config admin.properties"


def quotas_of(party: Party) -> dict[str, int]:
    """Return a party's quotas by Kafka's names for them."""
    if party.quotas is None:
        return {}
    return {
        "producer_byte_rate": party.quotas.written_bytes,
        "consumer_byte_rate": party.quotas.read_bytes,
        "request_percentage": party.quotas.request_percent,
    }


def quotas_by_user(kafka: Kafka) -> dict[str, dict[str, int]]:
    """Return every user's quotas, without `User:`. A user of several parties has the widest of theirs, or none."""
    parties: dict[str, list[dict[str, int]]] = {}
    for name, party in PARTIES.items():
        for user in kafka.users_of(name):
            parties.setdefault(user.removeprefix("User:"), []).append(quotas_of(party))
    return {
        user: {key: max(one[key] for one in quotas) for key in quotas[0]}
        for user, quotas in parties.items()
        if all(quotas)
    }


def as_yaml(kafka: Kafka) -> str:
    """Return the file of all rights and quotas."""
    document = {"topic_prefix": kafka.topic_prefix, "parties": {name: _party(kafka, name) for name in PARTIES}}
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=120, default_flow_style=None, allow_unicode=True)


def _party(kafka: Kafka, name: str) -> dict[str, object]:
    party = PARTIES[name]
    found: dict[str, object] = {"about": party.about, "principals": list(kafka.users_of(name))}
    for resource, full, pattern, operations in rights_of(party, kafka.topic_prefix):
        what = f"{resource.name.lower()}s{'_that_begin' if pattern is Pattern.PREFIXED else ''}"
        rights = found.setdefault(what, {})
        assert isinstance(rights, dict)
        rights[full] = [operation.word for operation in operations]
    if quotas := quotas_of(party):
        found["quotas"] = quotas
    return found


def as_commands(kafka: Kafka) -> Iterator[str]:
    """Yield a shell's lines for Kafka's own tools, with the users' passwords left to whoever runs them."""
    tools = _TOOLS.format(bootstrap=kafka.bootstrap)
    yield "# admin.properties holds the login of a user who may alter the cluster."
    for name, party in PARTIES.items():
        yield ""
        yield f"# {name}: {party.about}"
        for user in kafka.users_of(name):
            yield from _user(tools, kafka, party, user)
    for user, quotas in quotas_by_user(kafka).items():
        settings = ",".join(f"{key}={value}" for key, value in quotas.items())
        yield (
            f"kafka-configs.sh {tools} --alter --entity-type users --entity-name {shlex.quote(user)}"
            f" --add-config {settings}"
        )


def _user(tools: str, kafka: Kafka, party: Party, user: str) -> Iterator[str]:
    bare = user.removeprefix("User:")
    if kafka.security.mechanism.startswith("SCRAM") and "=" not in bare:
        secret = shlex.quote(f"{kafka.security.mechanism}=[password=") + '"$PASSWORD"]'
        yield (
            f"# with a login by password: kafka-configs.sh {tools} --alter --entity-type users"
            f" --entity-name {shlex.quote(bare)} --add-config {secret}"
        )
    for resource, name, pattern, operations in rights_of(party, kafka.topic_prefix):
        flag = {Resource.TOPIC: "--topic", Resource.GROUP: "--group"}[resource]
        allowed = " ".join(f"--operation {operation.word}" for operation in operations)
        prefixed = " --resource-pattern-type prefixed" if pattern is Pattern.PREFIXED else ""
        yield (f"kafka-acls.sh {tools} --add --allow-principal {shlex.quote(user)} {allowed} {flag} {name}{prefixed}")
