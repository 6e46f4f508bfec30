"""A Kafka client that finds its cluster again: at other addresses, and with another password.

The library asks the bootstrap addresses once, at its start: a cluster that comes back elsewhere (pods with new
addresses behind the same name) is never found again. It keeps the password with which it began. And it tells why
nobody answers to its log alone. Under Faust it is the same library.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection
from aiokafka.conn import create_conn as library_create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.errors import KafkaError as ClientError
from aiokafka.protocol.metadata import MetadataRequest

from neverblink.service_life.time_limit import time_limit

CONNECT_S = 5.0
"""For one connection with its TLS and login: an address that answers nothing must not hold up the next one."""

SILENT_S = 5.0
"""No answer of a broker takes so long; while a connection stays and nothing comes, no time-out of the library says so
within 40 s."""

_KNOWN_S = 2 * CONNECT_S
_AGAIN_S = 1.0
_FAULTS_KEPT = 64

CLIENT_FAULTS = (ClientError, OSError, TimeoutError)
"""What an aiokafka client raises when the cluster, not the caller, is at fault."""

_faults: OrderedDict[tuple[str, int], BaseException] = OrderedDict()


class PasswordFile(str):
    """A password, and the file that it is read from again at every login."""

    file: Path

    def __new__(cls, file: Path) -> Self:
        """Read the file's first line. Raises OSError, ValueError for an empty one."""
        text = _first_line(file)
        if not text:
            raise ValueError(f"{file} is empty")
        found = super().__new__(cls, text)
        found.file = file
        return found

    def __repr__(self) -> str:
        return f"PasswordFile({str(self.file)!r})"


async def create_conn(host: str, port: int, **settings: Any) -> AIOKafkaConnection:
    """Connect as the library does, but within CONNECT_S; why an address does not let us in is kept for `fault_at`."""
    try:
        async with time_limit(CONNECT_S):
            connection = await library_create_conn(host, port, **settings)
    except CLIENT_FAULTS as error:
        _faults[host, port] = error
        _faults.move_to_end((host, port))
        while len(_faults) > _FAULTS_KEPT:
            _faults.popitem(last=False)
        raise
    _faults.pop((host, port), None)
    return connection


def fault_at(addresses: Iterable[tuple[str, int]]) -> BaseException | None:
    """Return why one of these addresses did not let us in last; of several, what says more than that nobody is there.

    None where all of them did, or were never asked.
    """
    found = [fault for place in addresses if (fault := _faults.get(place)) is not None]
    telling = [fault for fault in found if isinstance(fault, _TELLING)]
    return next(iter(telling or found), None)


_TELLING = (
    ssl.SSLError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
    socket.gaierror,
)


def has_given_up(consumer: AIOKafkaConsumer) -> bool:
    """Say whether one of the library's own tasks has ended, or was never begun: then nothing more will ever arrive."""
    if consumer._fetcher is None:
        return True
    coordination = getattr(consumer._coordinator, "_coordination_task", None)
    tasks = (consumer._client._sync_task, consumer._fetcher.error_future, coordination)
    return any(task is not None and task.done() for task in tasks)


class FollowingClient(AIOKafkaClient):  # type: ignore[misc]
    """What aiokafka's consumer, producer and admin client talk through."""

    _password: str | None = None
    _password_file: Path | None = None
    _away_since: float | None = None

    @property
    def unreachable_since(self) -> float | None:
        """The `time.time()` since which no broker or bootstrap address has answered, or a broker owes an answer.

        Whoever asks now and then, at least every few seconds, is told of a broker that is silent after SILENT_S.
        """
        silent_since = self._silent_since(time.time())
        return silent_since if self._away_since is None else self._away_since

    def _silent_since(self, now: float) -> float | None:
        before: dict[int, tuple[object, float]] = getattr(self, "_owed", {})
        owed: dict[int, tuple[object, float]] = {}
        for (_, group), connection in list(self._conns.items()):
            # A group's coordinator may well answer late: it waits for the other members.
            if group == ConnectionGroup.DEFAULT and connection._requests:
                oldest = connection._requests[0]
                known = before.get(id(connection))
                owed[id(connection)] = known if known is not None and known[0] is oldest else (oldest, now)
        self._owed = owed
        since = min((at for _, at in owed.values()), default=now)
        return since if now - since >= SILENT_S else None

    @property
    def _sasl_plain_password(self) -> str | None:
        if self._password_file is not None:
            with contextlib.suppress(OSError):  # being replaced just now, or gone: what was true before is tried
                self._password = _first_line(self._password_file) or self._password
        return self._password

    @_sasl_plain_password.setter
    def _sasl_plain_password(self, given: str | None) -> None:
        self._password = given
        self._password_file = given.file if isinstance(given, PasswordFile) else None

    async def _metadata_update(self, cluster_metadata: ClusterMetadata, topics: Iterable[str]) -> bool:
        """Ask a known broker which brokers there are, and where none answers, the bootstrap addresses again."""
        try:
            async with time_limit(_KNOWN_S):
                found = bool(await super()._metadata_update(cluster_metadata, topics))
        except TimeoutError:
            found = False
        if not found:
            found = await self._ask_bootstrap(cluster_metadata, topics)
        if found:
            self._away_since = None
            return True
        if self._away_since is None:
            self._away_since = time.time()
        # The library asks again ten times a second while somebody waits, and otherwise half a minute later.
        await asyncio.sleep(_AGAIN_S)
        self._loop.call_later(_AGAIN_S, self._ask_again)
        return False

    def _ask_again(self) -> None:
        if self._sync_task is not None and self._away_since is not None:
            self.force_metadata_update()

    async def _ask_bootstrap(self, cluster_metadata: ClusterMetadata, topics: Iterable[str]) -> bool:
        request = MetadataRequest(list(topics) if topics else None)
        for host, port, _ in self.hosts:
            try:
                connection = await create_conn(
                    host,
                    port,
                    client_id=self._client_id,
                    request_timeout_ms=self._request_timeout_ms,
                    ssl_context=self._ssl_context,
                    security_protocol=self._security_protocol,
                    sasl_mechanism=self._sasl_mechanism,
                    sasl_plain_username=self._sasl_plain_username,
                    sasl_plain_password=self._sasl_plain_password,
                )
            except CLIENT_FAULTS:
                continue
            try:
                async with time_limit(CONNECT_S):
                    metadata = await connection.send(request)
            except CLIENT_FAULTS:
                continue
            finally:
                connection.close()
            if metadata.brokers:
                cluster_metadata.update_metadata(metadata)
                return True
        return False


def _first_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8").splitlines()
    return lines[0].strip() if lines else ""
