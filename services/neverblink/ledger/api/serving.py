"""`neverblink ledger serve`: the REST API on a port, until it is told to stop."""

import asyncio
from zoneinfo import ZoneInfo

from neverblink import telemetry
from neverblink.http_serving.asking import Asking
from neverblink.http_serving.server import HttpServer
from neverblink.ledger.api.app import Desk, api_of, utc_now
from neverblink.ledger.api.tokens import Doorkeeper, granted
from neverblink.plant import Plant
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.reading import ReadOnlyRecords
from neverblink.service_life import ready, run_service

_MOST_OPEN = 32
"""Connections for each question that may be in hand; more are told to come back."""


async def run(plant: Plant) -> None:
    """Serve until SIGTERM. Raises LedgerError, TokenError or ServeError when it cannot start."""

    async def main(stop: asyncio.Event) -> None:
        await serve(plant, stop)

    telemetry.setup("ledger-api", plant.site)
    await run_service("ledger-api", main)


async def serve(plant: Plant, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. Raises as `run`."""
    settings = plant.records.api
    log = telemetry.logger("ledger-api")
    if not await asyncio.to_thread(granted, settings.tokens):
        log.warning(f"{settings.tokens} grants nobody anything: `neverblink ledger token NAME` makes a token")
    records = await asyncio.to_thread(
        lambda: ReadOnlyRecords(plant.storage.ledger, answer_s=settings.query_s, most=settings.concurrent)
    )
    ask = Asking(records, settings.concurrent)
    try:
        store = None if plant.records.evidence.store is None else EvidenceStore(plant.records.evidence.store)
        zone = ZoneInfo(plant.time_zone())
        desk = Desk(
            ask, Doorkeeper(settings.tokens), settings.max_page, zone, utc_now, store, plant.console.trace_address
        )
        most = settings.concurrent * _MOST_OPEN
        server = HttpServer("ledger-api", api_of(desk), settings, section="records.api", most=most)
        try:
            ready("ledger-api", address=server.address)
            await server.run(stop)
        finally:
            server.close()
    finally:
        ask.close()
        records.close()
