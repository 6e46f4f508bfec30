"""Posts alerts to a plant's own address, without ever making the service wait.

One thread sends, because Python's own HTTP client blocks. What waits is bounded: when the receiver is away for longer,
the newest alerts are dropped, counted and logged. The topic has them all.
"""

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import orjson
from opentelemetry.metrics import Counter

from neverblink import __version__, telemetry
from neverblink.errors import NeverblinkError
from neverblink.plant import WebhookSettings
from neverblink.service_life import Duty, keeping, time_limit
from neverblink.service_life.back_off import BackOff

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STOP_S = 2.0


class WebhookError(NeverblinkError, RuntimeError):
    """The webhook cannot be used as it is set up; the message says what to do."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: the header must not travel to an address that the plant file does not name."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class Webhook:
    """Sends alerts in their order. Its address and header appear in no log: both may be secret, so only the host does.

    `service` says whose alerts they are, `setting` where the plant file has it, `sent` and `dropped` count.
    Raises WebhookError when the header's file cannot be read.
    """

    def __init__(
        self,
        settings: WebhookSettings,
        service: str,
        setting: str,
        sent: Counter,
        dropped: Counter,
        *,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._settings = settings
        self._service = service
        self._sent = sent
        self._dropped = dropped
        self._first_pause_s = first_pause_s
        self._headers = {"Content-Type": "application/json", "User-Agent": f"neverblink/{__version__}"}
        if settings.header_file is not None:
            self._headers[settings.header] = _first_line(settings, setting)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(settings.queue)  # full: the newest is dropped
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{service}-webhook")
        self._log = telemetry.logger(service)
        self._working = contextlib.AsyncExitStack()
        self.dropped = 0

    async def __aenter__(self) -> Self:
        await self._working.enter_async_context(keeping(self._service, Duty("the webhook", self._send_all)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with time_limit(_STOP_S):
                await self._waiting.join()
        await self._working.aclose()
        for _ in range(self._waiting.qsize()):
            self._drop("the service stopped")
        self._thread.shutdown(wait=False, cancel_futures=True)

    def post(self, alert: Mapping[str, Any]) -> None:
        """Queue an alert as JSON; never waits."""
        try:
            self._waiting.put_nowait(orjson.dumps(dict(alert)))
        except asyncio.QueueFull:
            self._drop(f"{self._settings.queue} others wait")

    async def _send_all(self) -> None:
        while True:
            body = await self._waiting.get()
            try:
                await self._send(body)
            finally:
                self._waiting.task_done()

    async def _send(self, body: bytes) -> None:
        back_off = BackOff(self._first_pause_s, _LONGEST_PAUSE_S)
        for attempt in range(1, self._settings.attempts + 1):
            fault = await asyncio.get_running_loop().run_in_executor(self._thread, self._attempt, body)
            if fault is None:
                self._sent.add(1)
                return
            if attempt < self._settings.attempts:
                await asyncio.sleep(back_off.next())
        self._drop(f"{fault} in {self._settings.attempts} attempts")

    def _attempt(self, body: bytes) -> str | None:
        """Return what went wrong, None when the receiver took it. Runs in the thread."""
        request = urllib.request.Request(  # noqa: S310 - the plant file allows http and https alone
            str(self._settings.url), data=body, headers=self._headers, method="POST"
        )
        try:
            with self._opener.open(request, timeout=self._settings.timeout_s):
                return None
        except urllib.error.HTTPError as error:
            with error:
                return f"it answered with status {error.code}"
        except (OSError, ValueError) as error:  # the message of some of these has the address in it
            return f"it could not be reached ({type(error).__name__})"

    def _drop(self, why: str) -> None:
        self.dropped += 1
        self._dropped.add(1)
        self._log.error(f"an alert was not posted to the webhook at {self._settings.url.host}: {why}")


def _first_line(settings: WebhookSettings, setting: str) -> str:
    file = settings.header_file
    assert file is not None
    try:
        value = file.read_text().splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise WebhookError(
            f"{setting}.header_file {file} has no readable first line; write the value of {settings.header} there"
        ) from error
    if not value.isprintable():
        raise WebhookError(f"the first line of {setting}.header_file {file} has characters that no header may have")
    return value
