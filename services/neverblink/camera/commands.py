"""`neverblink camera`: runs the nodes of one or more stations in one process."""

import asyncio
from collections.abc import Sequence

from neverblink import telemetry
from neverblink.camera.service import CameraNode
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.plant import Line, Plant, PlantError, Station
from neverblink.service_life import ready, run_service, until_all_or_stop


def chosen_stations(plant: Plant, names: Sequence[str]) -> list[tuple[Line, Station]]:
    """Return the stations named `LINE/STATION`, all of the plant when none is named. Raises PlantError."""
    if not names:
        return list(plant.stations())
    found = []
    for name in names:
        line_name, slash, station_name = name.partition("/")
        if not slash:
            raise PlantError(f"{name!r} names no station; write LINE/STATION, such as line-1/top")
        line = plant.line(line_name)
        found.append((line, line.station(station_name)))
    return found


async def run(plant: Plant, names: Sequence[str] = ()) -> None:
    """Run the nodes until SIGTERM, or until every timer's parts are through."""
    stations = chosen_stations(plant, names)

    telemetry.setup("camera", plant.site)

    async def main(stop: asyncio.Event) -> None:
        await ensure_topics(plant.kafka, ("frames", "verdicts"))
        source = f"/{plant.site}/camera"
        async with EventProducer(plant.kafka, source=source, client_id=f"camera-{stations[0][0].name}") as producer:
            nodes = [CameraNode(line, station, producer) for line, station in stations]
            async with asyncio.TaskGroup() as group:
                for node in nodes:
                    group.create_task(node.run(stop))
                if await until_all_or_stop(stop, [node.listening for node in nodes]):
                    ready("camera", stations=[f"{line.name}/{station.name}" for line, station in stations])

    await run_service("camera", main)
