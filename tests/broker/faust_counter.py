"""A small Faust application in a process of its own: counts records by key and prints the table."""

import asyncio
import sys
import tempfile
from typing import Any

import faust


async def _main(bootstrap: str, topic: str, expected: int, folder: str) -> None:
    app = faust.App(
        f"counter-{topic}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,  # Faust makes folders there even when the table is in memory
        topic_disable_leader=True,
        topic_partitions=2,
        topic_replication_factor=1,
        autodiscover=False,
        web_enabled=False,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        broker_commit_interval=0.1,
        worker_redirect_stdouts=False,
    )
    source = app.topic(topic, value_type=bytes, value_serializer="raw", key_serializer="raw", partitions=2)
    counts = app.Table("counts", default=int, key_type=str, partitions=2)
    # Faust may hand a record over twice around a rebalance or a recovery; the mark makes the second one harmless.
    marks = app.Table("marks", default=lambda: -1, key_type=str, partitions=2)

    @app.agent(source)
    async def count(stream: Any) -> None:
        async for event in stream.events():
            mark = str(event.message.partition)
            if event.message.offset > marks[mark]:
                counts[event.key.decode()] += 1
                marks[mark] = event.message.offset

    await app.start()
    async with asyncio.timeout(30):
        while sum(counts.values()) < expected:  # noqa: ASYNC110 - the table belongs to Faust
            await asyncio.sleep(0.05)
    # Longer than the commit interval: what was counted is committed before the end.
    await asyncio.sleep(0.3)
    await app.stop()
    print(dict(sorted(counts.items())), flush=True)  # noqa: T201


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="neverblink-counter-") as scratch:
        asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), scratch))
