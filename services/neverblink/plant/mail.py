"""Alarms by mail: to whom, through which server, and how much at once."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, HttpUrl, StringConstraints, model_validator

from neverblink.plant.listening import on_loopback
from neverblink.plant.section import Section

MailAddress = Annotated[str, StringConstraints(pattern=r'^[^@\s,;<>"]{1,64}@[^@\s,;<>"]{1,190}$')]
PriorityWord = Literal["low", "medium", "high", "urgent"]


class MailRecipient(Section):
    """Somebody who is told of alarms by mail."""

    address: MailAddress = Field(description="Their mail address.")
    lines: tuple[str, ...] = Field(
        default=(), max_length=256, description="The lines whose alarms they get; none: of all lines and the plant."
    )
    at_least: PriorityWord = Field(default="high", description="Alarms below this priority are not sent.")


class MailSettings(Section):
    """The mail server that takes the plant's alarms, and who is told. The page has them all."""

    host: str = Field(min_length=1, max_length=253, description="The mail server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port: 587 with starttls, 465 with tls.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How it is spoken to; `none` on this machine only, and without a password."
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authority that signed the server; None: those that the system trusts.",
    )
    username: str | None = Field(default=None, min_length=1, max_length=255, description="Account on the server.")
    password_file: Path | None = Field(default=None, description="File whose first line is that account's password.")
    sender: MailAddress = Field(description="The address that the mails come from.")
    to: tuple[MailRecipient, ...] = Field(min_length=1, max_length=100, description="Who is told of what.")
    address: HttpUrl | None = Field(
        default=None, description="Address at which browsers reach the console: mails then lead to their alarms."
    )
    gather_s: float = Field(
        default=20.0, ge=0.1, le=3600, description="What calls within so long goes into one mail: a flood is one mail."
    )
    timeout_s: float = Field(default=10.0, ge=0.1, le=60, description="How long the server may be silent.")
    attempts: int = Field(default=4, ge=1, le=10, description="Attempts, with growing pauses, until a mail is lost.")
    queue: int = Field(default=64, ge=1, le=4096, description="Mails waiting at most; more are dropped.")

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together: give both or neither")
        if self.security == "none" and not on_loopback(self.host):
            raise ValueError(f"mail to {self.host} would travel in clear: choose security starttls or tls")
        if self.security == "none" and self.username is not None:
            raise ValueError("the mail account's password would travel in clear: choose security starttls or tls")
        return self
