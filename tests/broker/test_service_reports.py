"""A service tells the plant how it does, and what it tells is no part of its work."""

import asyncio
from pathlib import Path

from console_desk import plant_in

from neverblink.brokers.apache import free_port
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import ServiceReport
from neverblink.kafka import LatestEvents, ensure_topics
from neverblink.kafka.service_reports import ServiceReports
from neverblink.plant import Kafka, Plant


def plant_on(folder: Path, bootstrap: str) -> Plant:
    return plant_in(folder).model_copy(update={"kafka": Kafka(bootstrap=bootstrap, partitions=1)})


async def test_a_service_tells_that_it_works_what_it_does_not_do_and_that_it_has_stopped(
    development: DevelopmentBroker, tmp_path: Path
) -> None:
    plant = plant_on(tmp_path, development.bootstrap)
    amiss: dict[str, str] = {}

    async def until(state: str, events: LatestEvents[ServiceReport]) -> ServiceReport:
        while True:
            for _, event in await events.poll(0.2):
                if event is not None and event.state == state:
                    return event

    await ensure_topics(plant.kafka, (ServiceReport.TOPIC,))
    reports = ServiceReports(plant, "ledger", amiss=lambda: amiss, lines=["line-1"], behind_s=lambda: 2.5, first_s=0.0)
    async with asyncio.timeout(60), LatestEvents(plant.kafka, ServiceReport, client_id="test") as events:
        async with reports:
            works = await until("works", events)
            assert (works.service, works.lines, works.behind_s) == ("ledger", ("line-1",), 2.5)
            amiss["database"] = "it is locked"
            partly = await until("partly", events)
            assert [(one.part, one.why) for one in partly.amiss] == [("database", "it is locked")]
        stopped = await until("stopped", events)
        assert stopped.key == works.key


async def test_with_kafka_away_a_service_neither_waits_nor_fails(tmp_path: Path) -> None:
    plant = plant_on(tmp_path, f"127.0.0.1:{free_port()}")
    async with asyncio.timeout(60):
        async with ServiceReports(plant, "camera", amiss=dict, first_s=0.0):
            await asyncio.sleep(0.3)
