"""Sends alarms by mail, through the plant's own server and without ever making the service wait."""

import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from opentelemetry.metrics import Counter

from neverblink.alarms.outbox import Outbox, Way
from neverblink.errors import NeverblinkError
from neverblink.plant import MailSettings
from neverblink.plant.secret_line import first_line
from neverblink.shown import visible

_FIRST_PAUSE_S = 2.0
_MOST_SUBJECT = 150


class MailError(NeverblinkError, RuntimeError):
    """Mail cannot be sent as it is set up; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to somebody: plain text."""

    to: str
    subject: str
    text: str
    language: str


class Mail(Outbox[EmailMessage]):
    """Sends letters in their order. The password appears in no log.

    `service` says whose letters they are, `setting` where the plant file has it, `sent` and `dropped` count.
    Raises MailError when a file of the settings cannot be used.
    """

    def __init__(
        self,
        settings: MailSettings,
        service: str,
        setting: str,
        sent: Counter,
        dropped: Counter,
        *,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._settings = settings
        self._password = _password(settings, setting)
        self._trust = _trust(settings, setting)
        lost = f"a mail about alarms was not taken by {settings.host}"
        super().__init__(
            Way(service, "the mail", lost, settings.attempts, settings.queue, first_pause_s, sent, dropped)
        )

    def post(self, letter: Letter) -> None:
        """Queue a letter; never waits."""
        self.put(_message(letter, self._settings.sender))

    def attempt(self, message: EmailMessage) -> str | None:
        """Give it to the server, in the thread."""
        settings = self._settings
        try:
            with self._connected() as server:
                if settings.security == "starttls":
                    server.starttls(context=self._trust)
                if settings.username is not None:
                    server.login(settings.username, self._password)
                server.send_message(message)
                return None
        except smtplib.SMTPResponseException as error:
            return f"it answered with {error.smtp_code}"
        except ssl.SSLError as error:
            return f"its certificate or TLS is not what was expected ({error.reason or type(error).__name__})"
        except (OSError, ValueError) as error:  # smtplib's own errors are OSErrors too; some have addresses in them
            return f"it could not be given the mail ({type(error).__name__})"

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        if settings.security == "tls":
            return smtplib.SMTP_SSL(settings.host, settings.port, timeout=settings.timeout_s, context=self._trust)
        return smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_s)


def _message(letter: Letter, sender: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = sender, letter.to
    message["Subject"] = visible(letter.subject)[:_MOST_SUBJECT]
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Content-Language"] = letter.language
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message.set_content(visible(letter.text, but="\n"))
    return message


def _password(settings: MailSettings, setting: str) -> str:
    if settings.password_file is None:
        return ""
    try:
        return first_line(settings.password_file)
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise MailError(
            f"{setting}.password_file {settings.password_file} has no readable first line; write the password of"
            f" {settings.username} there"
        ) from error


def _trust(settings: MailSettings, setting: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        raise MailError(f"{setting}.ca_file {settings.ca_file} is no PEM file of an authority: {error}") from error
