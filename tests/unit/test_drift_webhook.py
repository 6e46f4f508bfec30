"""The webhook: an alert is posted with its secret, tried again, and dropped aloud when nobody takes it."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from neverblink.alarms.webhook import Webhook, WebhookError
from neverblink.drift.alert_sink import as_posted
from neverblink.drift.instruments import instruments
from neverblink.events import DriftReport
from neverblink.events.examples import examples
from neverblink.plant import WebhookSettings

REPORT = next(event for event in examples() if isinstance(event, DriftReport))
SECRET = "Bearer not-for-logs"


class Receiver(HTTPServer):
    """Answers with the statuses it is given, then 204, and remembers what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.bodies: list[dict[str, object]] = []
        self.secrets: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook-in-the-path"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.secrets.append(self.headers["X-Token"])
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Stay silent."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def settings(url: str, folder: Path, **more: int) -> WebhookSettings:
    (folder / "token").write_text(SECRET + "\n")
    return WebhookSettings.model_validate(
        {"url": url, "header": "X-Token", "header_file": folder / "token", "timeout_s": 2, **more}
    )


def webhook_of(found: WebhookSettings) -> Webhook:
    measured = instruments()
    return Webhook(found, "drift", "drift.webhook", measured.webhook_sent, measured.webhook_dropped, first_pause_s=0.01)


async def test_an_alert_is_posted_with_its_secret_and_again_when_it_was_refused(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.statuses = [503, 302]
    async with webhook_of(settings(receiver.url, tmp_path)) as webhook:
        webhook.post(as_posted(REPORT, REPORT.alerts[0]))
    assert [body["id"] for body in receiver.bodies] == [REPORT.alerts[0].id] * 3
    assert receiver.bodies[0]["line"] == REPORT.line
    assert receiver.bodies[0]["next_step"] == REPORT.alerts[0].next_step
    assert set(receiver.secrets) == {SECRET}
    assert webhook.dropped == 0


async def test_what_nobody_takes_is_dropped_and_told_without_address_or_secret(
    receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500] * 2
    with caplog.at_level(logging.ERROR):
        async with webhook_of(settings(receiver.url, tmp_path, attempts=2)) as webhook:
            webhook.post(as_posted(REPORT, REPORT.alerts[0]))
    assert webhook.dropped == 1
    assert "not posted to the webhook at 127.0.0.1: it answered with status 500 in 2 attempts" in caplog.text
    assert SECRET not in caplog.text
    assert "hook-in-the-path" not in caplog.text


async def test_a_full_queue_drops_the_newest_and_the_stream_never_waits(tmp_path: Path) -> None:
    webhook = webhook_of(settings("http://127.0.0.1:9/", tmp_path, queue=2))
    for _ in range(5):
        webhook.post(as_posted(REPORT, REPORT.alerts[0]))
    assert webhook.dropped == 3
    await asyncio.sleep(0)


def test_a_header_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = WebhookSettings.model_validate({"url": "https://example.org/", "header_file": tmp_path / "none"})
    with pytest.raises(WebhookError, match="has no readable first line; write the value of Authorization there"):
        webhook_of(missing)
