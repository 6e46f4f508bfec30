"""Who may do what on the broker, worked out from the registry of topics: no more than each needs for its work. Pure.

What nobody needs, because brokers since Kafka 2.8 ask for it no longer or because we do without: IdempotentWrite on the
cluster (Write on a topic is enough), transactional ids, and Create on shared topics, which `topics apply` makes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from neverblink.events import TOPICS
from neverblink.events.parties import PARTIES, Party
from neverblink.plant import Kafka


class Resource(IntEnum):
    """What a right is about, with Kafka's number for it."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5
    TOKEN = 6
    USER = 7


class Pattern(IntEnum):
    """Whether a right names one thing, or all whose names begin so."""

    LITERAL = 3
    PREFIXED = 4


class Operation(IntEnum):
    """What may be done, with Kafka's number for it. Read and Write include Describe."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12
    CREATE_TOKENS = 13
    DESCRIBE_TOKENS = 14
    TWO_PHASE_COMMIT = 15

    @property
    def word(self) -> str:
        """Its name as Kafka's tools and errors write it, such as DescribeConfigs."""
        return "".join(part.capitalize() for part in self.name.split("_"))


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One right of one user, from any host."""

    principal: str
    resource: Resource
    name: str
    pattern: Pattern
    operation: Operation
    host: str = "*"

    def covers(self, wanted: "Grant") -> bool:
        """Say whether who has this right has the other one as well, as Kafka decides it."""
        return (
            self.principal in {wanted.principal, "User:*"}
            and self.resource is wanted.resource
            and self._reaches(wanted)
            and self.host in {wanted.host, "*"}
            and (wanted.operation in {self.operation} | _INCLUDED.get(self.operation, frozenset()))
        )

    def touches(self, other: "Grant") -> bool:
        """Say whether there can be something that both are about."""
        return self.resource is other.resource and (self._reaches(other) or other._reaches(self))

    def _reaches(self, other: "Grant") -> bool:
        if self.pattern is Pattern.PREFIXED:
            return other.name.startswith(self.name)
        return self.name == "*" or (other.pattern is Pattern.LITERAL and self.name == other.name)

    @property
    def words(self) -> str:
        """What is allowed, as a person says it."""
        which = f"{self.resource.name.lower()} {self.name}{'*' if self.pattern is Pattern.PREFIXED else ''}"
        return f"{self.operation.word} on {which}"


_INCLUDED = {
    Operation.ALL: frozenset(Operation),
    Operation.READ: frozenset({Operation.DESCRIBE}),
    Operation.WRITE: frozenset({Operation.DESCRIBE}),
    Operation.DELETE: frozenset({Operation.DESCRIBE}),
    Operation.ALTER: frozenset({Operation.DESCRIBE}),
    Operation.ALTER_CONFIGS: frozenset({Operation.DESCRIBE_CONFIGS}),
}


def grants_of(kafka: Kafka, parties: Iterable[str] = PARTIES) -> list[Grant]:
    """Return the rights of these parties, under the users that the plant file names."""
    return sorted(
        Grant(user, resource, name, pattern, operation)
        for party in parties
        for user in kafka.users_of(party)
        for resource, name, pattern, operations in rights_of(PARTIES[party], kafka.topic_prefix)
        for operation in operations
    )


Rights = tuple[Resource, str, Pattern, tuple[Operation, ...]]


def rights_of(party: Party, prefix: str) -> Iterator[Rights]:
    """Yield what a party may do with which topic or group."""
    for topic in TOPICS.values():
        name = topic.full_name(prefix)
        operations = []
        if party.reads(topic):
            operations.append(Operation.READ)
        if party.writes(topic):
            # It asks how large a record the topic takes before it sends one.
            operations += [Operation.WRITE, Operation.DESCRIBE_CONFIGS]
        if operations:
            yield Resource.TOPIC, name, Pattern.LITERAL, tuple(operations)
    for kept in party.keeps:
        # Its stream processor asks for the topic to be made at every start, also where it is there.
        yield Resource.TOPIC, f"{prefix}-{kept}", Pattern.LITERAL, (Operation.READ, Operation.WRITE, Operation.CREATE)
    for group in party.groups:
        pattern = Pattern.PREFIXED if party.own_groups else Pattern.LITERAL
        yield Resource.GROUP, f"{prefix}-{group}", pattern, (Operation.READ,)
