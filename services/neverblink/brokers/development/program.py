"""The development broker as a process of its own."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from neverblink import telemetry
from neverblink.brokers.development.server import BrokerError, DevelopmentBroker, Limits
from neverblink.brokers.development.topics import MIB


async def run(
    host: str = "127.0.0.1",
    port: int = 9092,
    *,
    memory_mib: int = 256,
    auto_create_topics: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT. Raises BrokerError."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = DevelopmentBroker(
        host, port, limits=Limits(memory=memory_mib * MIB), auto_create_topics=auto_create_topics
    )
    try:
        async with broker:
            telemetry.logger("broker").info(
                "broker is ready", extra={"fields": {"state": "ready", "bootstrap": broker.bootstrap}}
            )
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    telemetry.logger("broker").info("stopped", extra={"fields": {"state": "stopped"}})


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, serve, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m neverblink.brokers.development",
        description="A Kafka broker for this machine: in memory, one node, loopback only. Never for a plant.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9092, help="port; 0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--memory", type=int, default=256, metavar="MIB", help="records held, in MiB (default: %(default)s)"
    )
    parser.add_argument("--auto-create-topics", action="store_true", help="make a topic when it is first named")
    chosen = parser.parse_args(arguments)
    telemetry.setup("broker", "development")
    try:
        asyncio.run(
            run(
                chosen.host,
                chosen.port,
                memory_mib=chosen.memory,
                auto_create_topics=chosen.auto_create_topics,
            )
        )
    except BrokerError as error:
        print(f"neverblink broker: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0
