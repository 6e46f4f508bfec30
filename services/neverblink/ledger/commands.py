"""`neverblink ledger run`: runs the service."""

import asyncio

from neverblink import telemetry
from neverblink.ledger.service import serve
from neverblink.plant import Plant
from neverblink.service_life import run_service


async def run(plant: Plant) -> None:
    """Keep verdicts, actuations, reviews and drift reports until SIGTERM.

    Raises LedgerError when the database cannot be used, KafkaError when Kafka cannot be reached.
    """

    async def main(stop: asyncio.Event) -> None:
        await serve(plant, stop)

    telemetry.setup("ledger", plant.site)
    await run_service("ledger", main)
