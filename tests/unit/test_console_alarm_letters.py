"""Those who do not look at a page are told: by webhook of every step, by mail of what calls."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from console_desk import plant_in
from pydantic import ValidationError

from neverblink.alarms.mail import Letter, Mail, MailError
from neverblink.brokers.apache import free_port
from neverblink.console.alarms.book import Happened, Listed
from neverblink.console.alarms.state import Alarm, Priority, Stage, Step
from neverblink.console.alarms.telling import AlarmTeller, as_posted, is_for, letter_of
from neverblink.console.instruments import alarm_instruments
from neverblink.plant import MailSettings, PlantError, parse_plant
from neverblink.plant.example import EXAMPLE
from neverblink.plant.mail import MailRecipient
from rigs.application_certificates import certificate

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PASSWORD = "not-for-logs"
LISTED = Listed(
    number=7, tag="t", kind="challenge-missed", line="line-1", station=None, about="r1",
    alarm=Alarm(frozenset({"a"}), False, Priority.URGENT, None, 1), since=NOON, returned=None, seen_by="", reason="",
    what="reference r1 passed", why="the threshold", next_step="stop the line", values={},
)  # fmt: skip
CALLED = Happened(LISTED, Step(Stage.RAISED, "a", True), NOON)


def called(number: int, **other: Any) -> Happened:
    """Return a call of another alarm; `priority` is its own."""
    alarm = replace(LISTED.alarm, priority=other.pop("priority", Priority.HIGH))
    return replace(CALLED, listed=replace(LISTED, number=number, alarm=alarm, **other))


class Postbox:
    """A mail server's letters; it refuses so many first."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.letters: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.refuses:
            self.refuses -= 1
            return "451 try again"
        letter = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.letters.append(letter)
        return "250 taken"


class Server(Controller):
    """A mail server on a port that was free."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


@contextmanager
def mail_server(postbox: Postbox, tls: SSLContext | None = None, port: int = 0) -> Iterator[int]:
    def right(*given: Any) -> AuthResult:
        login = given[-1]
        return AuthResult(success=(login.login, login.password) == (b"plant", PASSWORD.encode()))

    secured = {} if tls is None else {"tls_context": tls, "require_starttls": True, "authenticator": right}
    controller = Server(postbox, hostname="127.0.0.1", port=port, **secured)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so, half a minute at most."""
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - the mail server has a thread of its own
            await asyncio.sleep(0.01)


def settings(port: int, **other: Any) -> MailSettings:
    values = {
        "host": "localhost", "port": port, "security": "none", "sender": "line@plant.example", "timeout_s": 5,
        "to": [{"address": "ann@plant.example"}], "gather_s": 0.1,
    }  # fmt: skip
    return MailSettings.model_validate({**values, **other})


def mail_of(found: MailSettings) -> Mail:
    measured = alarm_instruments()
    return Mail(found, "console", "console.mail", measured.mail_sent, measured.mail_dropped, first_pause_s=0.01)


async def test_a_letter_goes_out_by_starttls_with_its_account_and_again_when_it_was_refused(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "mail", pem=True)
    tls, postbox = SSLContext(PROTOCOL_TLS_SERVER), Postbox(refuses=1)
    tls.load_cert_chain(cert, key)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    account = {"username": "plant", "password_file": tmp_path / "password", "security": "starttls", "ca_file": cert}
    with mail_server(postbox, tls) as port:
        async with mail_of(settings(port, **account)) as mail:
            mail.post(Letter("ann@plant.example", "dringend: Größe\r\nBcc: eve@evil.example", "Größe\n", "de"))
            await until(lambda: bool(postbox.letters))
    [letter] = postbox.letters
    assert letter["To"] == "ann@plant.example"
    assert letter["Bcc"] is None, "what an event says makes no header"
    assert letter["Subject"].startswith("dringend: Größe")
    assert letter.get_content().strip() == "Größe"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert mail.dropped == 0


async def test_a_server_that_another_authority_signed_gets_neither_letter_nor_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cert, key = certificate(tmp_path, "mail", pem=True)
    other, _ = certificate(tmp_path, "other", pem=True)
    tls, postbox = SSLContext(PROTOCOL_TLS_SERVER), Postbox()
    tls.load_cert_chain(cert, key)
    (tmp_path / "password").write_text(PASSWORD)
    account = {"username": "plant", "password_file": tmp_path / "password", "security": "starttls", "ca_file": other}
    with mail_server(postbox, tls) as port, caplog.at_level(logging.ERROR):
        async with mail_of(settings(port, attempts=1, **account)) as mail:
            mail.post(Letter("ann@plant.example", "s", "t", "en"))
            await until(lambda: mail.dropped == 1)
    assert (postbox.letters, mail.dropped) == ([], 1)
    assert "was not taken by localhost: its certificate or TLS is not what was expected" in caplog.text
    assert PASSWORD not in caplog.text


async def test_a_letter_that_a_server_which_is_away_never_took_is_told_as_lost_and_the_next_one_arrives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port, postbox = free_port(), Postbox()
    with caplog.at_level(logging.ERROR):
        async with mail_of(settings(port, attempts=2)) as mail:
            mail.post(Letter("ann@plant.example", "lost", "t", "en"))
            await until(lambda: mail.dropped == 1)
            assert "was not taken by localhost: it could not be given the mail" in caplog.text
            assert "in 2 attempts" in caplog.text
            with mail_server(postbox, port=port):
                mail.post(Letter("ann@plant.example", "arrives", "t", "en"))
                await until(lambda: bool(postbox.letters))
    assert ([one["Subject"] for one in postbox.letters], mail.dropped) == (["arrives"], 1)


async def test_what_calls_within_a_while_is_one_letter_to_each_whom_it_is_for(tmp_path: Path) -> None:
    to = [{"address": "ann@plant.example"}, {"address": "bob@plant.example", "lines": ["line-2"], "at_least": "low"}]
    postbox = Postbox()
    with mail_server(postbox) as port:
        found = settings(port, to=to, address="https://console.example/")
        plant = plant_in(tmp_path)
        plant = plant.model_copy(update={"console": plant.console.model_copy(update={"mail": found})})
        async with mail_of(found) as mail:
            teller = AlarmTeller(plant, UTC, alarm_instruments(), None, mail)
            for one in (
                called(8, line="line-2", priority=Priority.LOW), CALLED, CALLED, called(9, kind="drift"),
                replace(CALLED, step=Step(Stage.RETURNED, "a")),
            ):  # fmt: skip
                teller.tell(one)
            stop = asyncio.Event()
            stop.set()
            await teller.run(stop)
            await until(lambda: len(postbox.letters) == 2)
    by_name = {letter["To"]: letter for letter in postbox.letters}
    assert set(by_name) == {"ann@plant.example", "bob@plant.example"}
    assert len(postbox.letters) == 2
    ann = by_name["ann@plant.example"]
    assert ann["Subject"] == f"[{plant.site}] 2 alarms, the worst: urgent, reference part missed"
    text = ann.get_content()
    assert text.index("URGENT: reference part missed, line-1") < text.index("HIGH: drift, line-1")
    for said in (
        "Do first: Stop the line.",
        "If nobody acts:",
        "https://console.example/alarms/7",
        "Since: 2026-03-02",
    ):
        assert said in text, said
    assert "line-2" in by_name["bob@plant.example"]["Subject"]


def test_a_flood_is_one_letter_that_says_how_many_more_there_are() -> None:
    found = settings(25)
    many = [called(number) for number in range(60)]
    letter = letter_of(many, found.to[0], found, "plant", "de", UTC)
    assert letter.subject == "[plant] 60 Alarme, der schlimmste: hoch, Referenzteil übersehen"
    assert letter.text.endswith("Und 10 weitere.\n")


def test_a_letter_is_for_those_whose_lines_and_priority_it_has() -> None:
    plantwide = called(1, line=None)
    anybody = MailRecipient(address="ann@plant.example")
    of_line = MailRecipient(address="ann@plant.example", lines=("line-1",), at_least="urgent")
    assert [is_for(one, anybody) for one in (CALLED, plantwide, called(2, priority=Priority.MEDIUM))] == [
        True, True, False,
    ]  # fmt: skip
    assert [is_for(one, of_line) for one in (CALLED, plantwide, called(2))] == [True, False, False]


def test_the_webhook_is_given_every_step_with_its_words() -> None:
    posted = as_posted("plant", CALLED)
    assert (posted["alarm"], posted["stage"], posted["calls"], posted["priority"]) == (7, "raised", True, "urgent")
    assert posted["consequence"].startswith("Defects like this one")
    shelved = as_posted("plant", replace(CALLED, step=Step(Stage.SHELVED), listed=replace(LISTED, seen_by="ann")))
    assert (shelved["stage"], shelved["who"], shelved["at"]) == ("shelved", "ann", NOON.isoformat())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"host": "mail.example"}, "would travel in clear"),
        ({"username": "plant", "password_file": "p"}, "would travel in clear"),
        ({"username": "plant"}, "go together"),
        ({"sender": "line@plant.example\nBcc: x@y"}, "sender"),
        ({"to": []}, "to"),
    ],
)
def test_mail_that_would_leak_or_reach_nobody_is_refused(other: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(25, **other)


def test_a_letter_for_a_line_that_is_not_there_and_a_password_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    mail = "{host: localhost, security: none, sender: a@b, to: [{address: c@d, lines: [line-x]}]}"
    with pytest.raises(PlantError, match="line-x"):
        parse_plant(EXAMPLE + f"\nconsole:\n  mail: {mail}\n")
    lost = settings(25, username="plant", password_file=tmp_path / "none", security="tls")
    with pytest.raises(MailError, match="has no readable first line; write the password of plant there"):
        mail_of(lost)
