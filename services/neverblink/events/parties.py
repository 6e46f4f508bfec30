"""Who takes part in the topics: services, jobs, people's commands and other programs, each a user of the broker."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from neverblink.events.topics import MIB, TOPICS, Topic

ANY_SERVICE = "any service"
DRIFT_STATE = "drift-stations-changelog"
"""What the drift service keeps its state in, as its stream processor names it: PREFIX-drift-stations-changelog."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a user may take of each broker at most: bytes a second, and percent of one of its request threads."""

    written_bytes: int
    read_bytes: int
    request_percent: int = 50


@dataclass(frozen=True, slots=True)
class Party:
    """One user of the broker. `words` are what the registry of topics calls it among writers and readers.

    `groups` are its consumer groups, named `PREFIX-GROUP`; with `own_groups` it may have others whose names begin so.
    `keeps` are topics, named `PREFIX-NAME`, in which it keeps what it knows: nobody else reads or writes them. With
    `writes_again` it may write whatever a service may have set aside.
    """

    name: str
    words: tuple[str, ...]
    about: str
    groups: tuple[str, ...] = ()
    own_groups: bool = False
    keeps: tuple[str, ...] = ()
    quotas: Quotas | None = None
    is_service: bool = False
    writes_again: bool = False

    @property
    def _called(self) -> set[str]:
        return {*self.words, *([ANY_SERVICE] if self.is_service else [])}

    def writes(self, topic: Topic) -> bool:
        """Say whether it writes a topic."""
        return not self._called.isdisjoint(topic.writers) or (self.writes_again and _may_be_set_aside(topic))

    def reads(self, topic: Topic) -> bool:
        """Say whether it reads a topic."""
        return not self._called.isdisjoint(topic.readers)


# No quotas on the reject path: a part whose frame, verdict or answer is held back is late, and rejected for nothing.
_ALL = (
    Party("camera", ("camera",), "Camera nodes.", is_service=True),
    Party("scorer", ("scorer",), "Scorers.", groups=("scorer",), is_service=True),
    Party("bridge", ("bridge",), "The bridge to the PLCs; it reads without a group.", is_service=True),
    Party(
        "drift", ("drift",), "The drift service.", groups=("drift",), keeps=(DRIFT_STATE,),
        quotas=Quotas(16 * MIB, 64 * MIB), is_service=True,
    ),
    Party(
        "ledger", ("ledger",), "The ledger, which also keeps pictures.", groups=("ledger", "ledger-evidence"),
        quotas=Quotas(8 * MIB, 128 * MIB, 100), is_service=True,
    ),
    Party(
        "console", ("console",), "The console; what people do on its pages, and the jobs that it starts.",
        quotas=Quotas(4 * MIB, 32 * MIB), is_service=True,
    ),
    Party(
        "trainer", ("trainer",), "Jobs and the `models` and `inspect` commands of who makes models.",
        quotas=Quotas(4 * MIB, 32 * MIB),
    ),
    Party("reviewer", ("review command",), "Who answers for parts with `review`.", quotas=Quotas(MIB, 16 * MIB)),
    Party(
        "operator", ("context command", "hold command", "challenge command"),
        "Who runs lines with `context`, `bridge hold` and `challenge`.", quotas=Quotas(MIB, 16 * MIB),
    ),
    Party(
        "maintainer", ("dead-letters command",), "Who writes records that were set aside again, with `dead-letters`.",
        quotas=Quotas(8 * MIB, 32 * MIB), writes_again=True,
    ),
    Party("mes", ("MES",), "The MES.", groups=("mes",), own_groups=True, quotas=Quotas(MIB, 16 * MIB, 25)),
    Party(
        "sre", ("SRE",), "Who watches drift and alarms from outside.", groups=("sre",), own_groups=True,
        quotas=Quotas(MIB, 16 * MIB, 25),
    ),
)  # fmt: skip

PARTIES: Mapping[str, Party] = MappingProxyType({party.name: party for party in _ALL})


def _may_be_set_aside(topic: Topic) -> bool:
    """Say whether somebody reads a topic who sets aside what cannot be read."""
    letters = TOPICS["dead-letters"]
    return topic is not letters and not set(letters.writers).isdisjoint(topic.readers)
