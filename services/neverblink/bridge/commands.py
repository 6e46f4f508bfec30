"""What `neverblink bridge` does."""

import asyncio
from collections.abc import Sequence

from neverblink import telemetry
from neverblink.bridge.service import lines_with_plc, serve
from neverblink.plant import Plant
from neverblink.service_life import run_service


async def run(plant: Plant, lines: Sequence[str] | None = None) -> None:
    """Bridge these lines, or all that have a PLC, until told to stop. Raises PlantError, KafkaError."""
    chosen = lines_with_plc(plant, lines)
    telemetry.setup("bridge", plant.site)

    async def main(stop: asyncio.Event) -> None:
        await serve(plant, chosen, stop)

    await run_service("bridge", main)
