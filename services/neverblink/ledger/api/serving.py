"""`neverblink ledger serve`: the REST API on a port, until it is told to stop."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from zoneinfo import ZoneInfo

import uvicorn

from neverblink import telemetry
from neverblink.errors import NeverblinkError
from neverblink.ledger.api.app import Desk, api_of, utc_now
from neverblink.ledger.api.asking import Asking
from neverblink.ledger.api.tokens import Doorkeeper, granted
from neverblink.plant import LedgerApi, Plant
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.reading import ReadOnlyRecords
from neverblink.service_life import ready, run_service

_STOP_S = 3
_KEEP_ALIVE_S = 30
_MOST_OPEN = 32
"""Connections for each question that may be in hand; more are told to come back."""
_HEAD_BYTES = 16 * 1024


class ServeError(NeverblinkError, OSError):
    """The API cannot listen; the message says where and why."""


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
        desk = Desk(ask, Doorkeeper(settings.tokens), settings.max_page, zone, utc_now, store)
        listening = _listening(settings)
        server = _Server(_config(settings, desk))
        scheme = "http" if settings.cert_file is None else "https"
        host, port = listening.getsockname()[:2]
        serving = asyncio.create_task(server.serve(sockets=[listening]), name="ledger-api http")
        stopping = asyncio.create_task(stop.wait(), name="ledger-api stop")
        try:
            ready("ledger-api", address=f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            server.should_exit = True
            await serving
        finally:
            stopping.cancel()
            listening.close()
    finally:
        ask.close()
        records.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `run_service`."""
        yield


def _config(settings: LedgerApi, desk: Desk) -> uvicorn.Config:
    config = uvicorn.Config(
        api_of(desk),
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        lifespan="off",
        ws="none",
        loop="none",
        limit_concurrency=settings.concurrent * _MOST_OPEN,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
        ssl_certfile=settings.cert_file,
        ssl_keyfile=settings.key_file,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ServeError(
            f"records.api.cert_file {settings.cert_file} and key_file {settings.key_file} cannot be used: {error}"
        ) from error
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _listening(settings: LedgerApi) -> socket.socket:
    place = f"{settings.host} port {settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, address = found[0][0], found[0][4]
        return socket.create_server(address, family=family, backlog=256)
    except OSError as error:
        raise ServeError(f"records.api cannot listen at {place}: {error.strerror or error}") from error
