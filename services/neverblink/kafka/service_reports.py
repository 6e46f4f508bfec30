"""Tells the plant how a service does, beside its work: nothing waits for it, and nothing fails with it.

It has a producer of its own, so that a missing right to its topic is no trouble of the service's work.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from neverblink import __version__, telemetry
from neverblink.events.identity import derived_id
from neverblink.events.service_report import (
    PARTLY,
    STOPPED,
    WORKS,
    Amiss,
    CertificateEnd,
    DiskSpace,
    ServiceReport,
)
from neverblink.kafka.connection import KafkaError
from neverblink.kafka.instruments import observe_belongings
from neverblink.kafka.producer import EventProducer
from neverblink.kafka.topics import ensure_topics
from neverblink.plant import Plant
from neverblink.plant.belongings import Space, certificates_of, spaces_of
from neverblink.service_life import Duty, given_time, keeping, time_limit

EVERY_S = 10.0
FIRST_S = 20.0
"""A service that ends sooner has nothing to tell, and one that has just begun has other work to do first."""

_LOOK_EVERY_S = 1.0
_AGAIN_S = 30.0
_SEND_S = 5.0
_GOODBYE_S = 0.5
_BELONGINGS_EVERY = timedelta(minutes=1)
_MOST = 64
_MOST_WHY = 500


def _now() -> datetime:
    return datetime.now(UTC)


class ServiceReports:
    """Tells every ten seconds, at once when something goes amiss or is mended, and that the service has stopped.

    `instance` tells the process from others of its kind on its host, `lines` are those that it is for. `amiss` says
    which parts of its work it does not do now, and why; `behind_s` by how much it is behind what it reads.
    """

    def __init__(
        self,
        plant: Plant,
        service: str,
        *,
        amiss: Callable[[], Mapping[str, str]],
        instance: str = "",
        lines: Sequence[str] = (),
        behind_s: Callable[[], float | None] = lambda: None,
        first_s: float = FIRST_S,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._plant = plant
        self._service = service
        self._instance = instance[:128]
        self._lines = tuple(lines)
        self._amiss = amiss
        self._behind_s = behind_s
        self._first_s = first_s
        self._clock = clock
        self._started = clock()
        self._host = socket.gethostname()[:253] or "unknown"
        self._producer: EventProducer | None = None
        self._spaces: tuple[DiskSpace, ...] = ()
        self._certificates: tuple[CertificateEnd, ...] = ()
        self._belongings_at: datetime | None = None
        self._belongings: asyncio.Future[None] | None = None
        self._recurring = telemetry.Recurring(telemetry.logger(service))
        # Disks are asked in a thread of its own: a share that does not answer holds up nothing else.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{service}-disks")
        self._stack = contextlib.AsyncExitStack()
        observe_belongings(service, lambda: self._spaces, lambda: self._certificates)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(keeping(self._service, Duty("telling how it does", self._tell)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        producer = self._producer
        if producer is not None and error is None and not producer.troubles:
            with contextlib.suppress(KafkaError, TimeoutError):
                async with time_limit(_GOODBYE_S):
                    await producer.send(self.report(STOPPED))
        await self._close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def report(self, state: str | None = None) -> ServiceReport:
        """Return what is told now."""
        now, amiss = self._clock(), self._amiss()
        told = tuple(Amiss(part=part[:200], why=why[:_MOST_WHY]) for part, why in sorted(amiss.items())[:_MOST])
        behind_s = self._behind_s()
        return ServiceReport(
            id=derived_id("service-report", self._service, self._host, self._instance, now.isoformat()),
            service=self._service,
            host=self._host,
            instance=self._instance,
            lines=self._lines,
            version=__version__,
            started=self._started,
            at=now,
            every_s=EVERY_S,
            state=state or (PARTLY if told else WORKS),
            amiss=told,
            behind_s=None if behind_s is None else max(0.0, behind_s),
            disks=self._spaces,
            certificates=self._certificates,
        )

    async def _tell(self) -> None:
        await self._close()  # of a task that was cancelled, and nobody had asked
        await asyncio.sleep(self._first_s)
        while True:
            self._ask_belongings()  # also with Kafka away: they are measured too
            try:
                await ensure_topics(self._plant.kafka, (ServiceReport.TOPIC,))
                client = f"neverblink-{self._service}-reports"
                source = f"/{self._plant.site}/{self._service}"
                self._producer = EventProducer(self._plant.kafka, source=source, client_id=client)
                await self._producer.start()
                await self._tell_on(self._producer)
            except (KafkaError, TimeoutError) as error:
                why = error if isinstance(error, KafkaError) else f"Kafka did not answer within {_SEND_S:g} s"
                self._recurring.tell("reports", f"how this service does is not told now: {why}")
            # Not when it is cancelled: whoever leaves still says so by this producer.
            await self._close()
            await asyncio.sleep(_AGAIN_S)

    async def _tell_on(self, producer: EventProducer) -> None:
        """Tell until it fails. Raises KafkaError, TimeoutError."""
        loop = asyncio.get_running_loop()
        told: frozenset[str] | None = None
        told_at = 0.0
        while True:
            amiss = frozenset(self._amiss())
            if amiss != told or loop.time() - told_at >= EVERY_S:
                self._ask_belongings()
                async with time_limit(_SEND_S):
                    await producer.send(self.report())
                told, told_at = amiss, loop.time()
            await asyncio.sleep(_LOOK_EVERY_S)

    def _ask_belongings(self) -> None:
        """Ask for disks and certificates once a minute; the answer is in the next report, however long it takes."""
        now = self._clock()
        if self._belongings is not None and not self._belongings.done():
            return
        if self._belongings_at is not None and now - self._belongings_at < _BELONGINGS_EVERY:
            return
        self._belongings_at = now
        self._belongings = asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def _look(self) -> None:
        """Look at disks and certificates. Runs in the thread."""
        spaces = spaces_of(self._plant, self._service)
        ends = certificates_of(self._plant, self._service)
        self._spaces = tuple(map(_disk, spaces[:_MOST]))
        self._certificates = tuple(CertificateEnd(what=what[:200], ends=end) for what, end in [*ends.items()][:_MOST])

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            name = f"the end of the reports of {self._service}"
            await given_time(producer.stop(), seconds=_GOODBYE_S, name=name)


def _disk(space: Space) -> DiskSpace:
    return DiskSpace(folder=str(space.folder)[:200], free_bytes=space.free_bytes, total_bytes=space.total_bytes)
