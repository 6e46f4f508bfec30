"""A member of a consumer group as a process of its own, so that a test can kill it. Prints what it holds."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener


class _Teller(ConsumerRebalanceListener):
    async def on_partitions_revoked(self, revoked: object) -> None:
        """Say nothing: the next assignment tells."""

    async def on_partitions_assigned(self, assigned: "set[object]") -> None:
        """Print how many partitions this member holds."""
        print(f"holds {len(assigned)}", flush=True)  # noqa: T201


async def _main(bootstrap: str, topic: str, group: str, session_ms: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 5,
        enable_auto_commit=False,
    )
    consumer.subscribe([topic], listener=_Teller())
    await consumer.start()
    while True:
        await consumer.getmany(timeout_ms=200)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
