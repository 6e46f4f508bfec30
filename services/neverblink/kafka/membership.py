"""How a consumer is a member of its group, and how it goes."""

from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer


@dataclass(frozen=True, slots=True)
class Membership:
    """With a `name` a member is static: when it comes again within `session_s`, it finds its partitions as they were.

    The others learn by their next heartbeat, every `heartbeat_s`, that one has come or gone.
    """

    name: str | None = None
    session_s: float = 10.0
    heartbeat_s: float = 2.0

    @property
    def settings(self) -> dict[str, Any]:
        """Return what aiokafka wants to know of it."""
        return {
            "group_instance_id": self.name,
            "session_timeout_ms": round(1000 * self.session_s),
            "heartbeat_interval_ms": round(1000 * self.heartbeat_s),
        }


def leaves_when_it_stops(client: AIOKafkaConsumer) -> None:
    """Let a static member tell the group that it goes: by itself its partitions wait for its session's end."""
    coordinator = client._coordinator
    if coordinator is not None:
        coordinator._group_instance_id = None
