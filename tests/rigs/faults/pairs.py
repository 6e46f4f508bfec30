"""The fault table as data: each service, what it depends on, and what may happen to that."""

from dataclasses import dataclass
from typing import Final, Literal

Service = Literal["camera", "scorer", "bridge", "drift", "ledger"]
Fault = Literal["frozen", "refused", "slow", "gone"]

SERVICES: Final[tuple[Service, ...]] = ("camera", "scorer", "bridge", "drift", "ledger")
FAULTS: Final[dict[Fault, str]] = {
    "frozen": "connections stay and new ones are taken, and nothing is answered; a file is locked by another program",
    "refused": "connections end and new ones are refused; a folder is no folder any more",
    "slow": "every piece that is sent or answered comes a second later",
    "gone": "the host is off: nothing arrives, and whoever connects waits for ever; a folder is away",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A service, what it depends on, and a fault of that; `stays_ready` says why it does, though its work stands."""

    service: Service
    on: str
    fault: Fault
    stays_ready: str = ""
    in_tests: bool = False

    @property
    def name(self) -> str:
        """Return its name on a command line."""
        return f"{self.service}:{self.on}:{self.fault}".replace(" ", "-")


_NETWORK: Final[tuple[Fault, ...]] = ("frozen", "refused", "slow", "gone")
_OFTEN: Final = {
    ("camera", "Kafka", "gone"), ("camera", "PLC", "refused"), ("camera", "camera", "frozen"),
    ("scorer", "Kafka", "frozen"), ("scorer", "artifact store", "gone"), ("scorer", "object store", "gone"),
    ("bridge", "Kafka", "refused"), ("bridge", "PLC", "frozen"), ("bridge", "collector", "frozen"),
    ("drift", "Kafka", "gone"), ("ledger", "Kafka", "refused"), ("ledger", "SQLite", "frozen"),
}  # fmt: skip
_TELLS_EACH_PART = "each part is told as unscored, with the reason"


def _pairs(
    service: Service, on: str, faults: tuple[Fault, ...] = _NETWORK, *, stays_ready: str = ""
) -> tuple[Pair, ...]:
    return tuple(Pair(service, on, fault, stays_ready, (service, on, fault) in _OFTEN) for fault in faults)


PAIRS: Final[tuple[Pair, ...]] = (
    *_pairs("camera", "Kafka"),
    *_pairs("camera", "PLC"),
    *_pairs("camera", "camera", stays_ready=_TELLS_EACH_PART),
    *_pairs("camera", "object store", ("refused", "gone"), stays_ready=_TELLS_EACH_PART),
    *_pairs("camera", "spool", ("refused",)),
    *_pairs("camera", "collector"),
    *_pairs("scorer", "Kafka"),
    *_pairs("scorer", "object store", ("refused", "gone"), stays_ready=_TELLS_EACH_PART),
    *_pairs("scorer", "artifact store", ("refused", "gone"), stays_ready="the models that are loaded go on"),
    *_pairs("scorer", "collector"),
    *_pairs("bridge", "Kafka"),
    *_pairs("bridge", "PLC"),
    *_pairs("bridge", "collector"),
    *_pairs("drift", "Kafka"),
    *_pairs("drift", "collector"),
    *_pairs("ledger", "Kafka"),
    *_pairs("ledger", "PostgreSQL"),
    *_pairs("ledger", "SQLite", ("frozen",)),
    *_pairs("ledger", "collector"),
)
"""Every pair that can be."""


def chosen(names: list[str]) -> list[Pair]:
    """Return the pairs whose names begin with one of these, all where none is given."""
    return [pair for pair in PAIRS if not names or any(pair.name.startswith(name) for name in names)]
