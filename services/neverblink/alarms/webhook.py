"""Posts alerts to a plant's own address, without ever making the service wait. The topic has them all."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import orjson
from opentelemetry.metrics import Counter

from neverblink import __version__
from neverblink.alarms.outbox import Outbox, Way
from neverblink.errors import NeverblinkError
from neverblink.plant import WebhookSettings
from neverblink.plant.secret_line import first_line

_FIRST_PAUSE_S = 0.5


class WebhookError(NeverblinkError, RuntimeError):
    """The webhook cannot be used as it is set up; the message says what to do."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: the header must not travel to an address that the plant file does not name."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


class Webhook(Outbox[bytes]):
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
        self._headers = {"Content-Type": "application/json", "User-Agent": f"neverblink/{__version__}"}
        if settings.header_file is not None:
            self._headers[settings.header] = _first_line(settings, setting)
        self._opener = urllib.request.build_opener(_NoRedirect)
        lost = f"an alert was not posted to the webhook at {settings.url.host}"
        super().__init__(
            Way(service, "the webhook", lost, settings.attempts, settings.queue, first_pause_s, sent, dropped)
        )

    def post(self, alert: Mapping[str, Any]) -> None:
        """Queue an alert as JSON; never waits."""
        self.put(orjson.dumps(dict(alert)))

    def attempt(self, body: bytes) -> str | None:
        """Post it, in the thread."""
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


def _first_line(settings: WebhookSettings, setting: str) -> str:
    file = settings.header_file
    assert file is not None
    try:
        value = first_line(file)
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise WebhookError(
            f"{setting}.header_file {file} has no readable first line; write the value of {settings.header} there"
        ) from error
    if not value.isprintable():
        raise WebhookError(f"the first line of {setting}.header_file {file} has characters that no header may have")
    return value
