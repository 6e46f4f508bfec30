"""The tables of the console's own database; nothing of the records is in it."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Index, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from neverblink.records.columns import ROW_NUMBER, Utc


class ConsoleTable(DeclarativeBase):
    """A table of the console."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: Utc,
        str: Text,
        int: BigInteger,
        dict[str, str]: JSON,
        list[str]: JSON(none_as_null=True),
    }


class LayoutRow(ConsoleTable):
    """Which layout these tables have: one row."""

    __tablename__ = "console_layout"

    layout: Mapped[int] = mapped_column(primary_key=True)


class AccountRow(ConsoleTable):
    """A person, or a screen on the wall. `key` is the name in one case: no two accounts differ by case alone."""

    __tablename__ = "accounts"
    __table_args__ = (Index("accounts_subject", "issuer", "subject", unique=True),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    password: Mapped[str]
    """Argon2id's own text: parameters, salt and hash. Empty where a login provider lets the person in."""
    one_time_until: Mapped[datetime | None]
    """The password was given by somebody else: it must be changed, and is void after this."""
    roles: Mapped[dict[str, str]]
    wall: Mapped[bool]
    active: Mapped[bool]
    made: Mapped[datetime]
    made_by: Mapped[str]
    changed: Mapped[datetime]
    issuer: Mapped[str | None] = mapped_column(String(255))
    """Which login provider knows the person, and as whom: its two words for it, never the name, which may change."""
    subject: Mapped[str | None] = mapped_column(String(255))


class SessionRow(ConsoleTable):
    """A browser that has signed in, by the SHA-256 of its cookie."""

    __tablename__ = "sessions"
    __table_args__ = (Index("sessions_account", "account"), Index("sessions_until", "until"))

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(64))
    csrf: Mapped[str] = mapped_column(String(64))
    made: Mapped[datetime]
    seen: Mapped[datetime]
    until: Mapped[datetime]
    locked: Mapped[bool]
    address: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(256))
    proven: Mapped[datetime | None]
    """When whoever sits there last said who it is, to us or to the login provider."""


class PreferenceRow(ConsoleTable):
    """What an account prefers, by the name of what it is about, such as the keys of a page."""

    __tablename__ = "preferences"

    account: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[dict[str, str]]


class TokenRow(ConsoleTable):
    """A program that may read, by the SHA-256 of its token."""

    __tablename__ = "tokens"
    __table_args__ = (Index("tokens_digest", "digest", unique=True),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]]
    lines: Mapped[list[str] | None]
    made: Mapped[datetime]
    made_by: Mapped[str]
    until: Mapped[datetime | None]


class AuditRow(ConsoleTable):
    """What somebody did. `hash` is of this row and the hash before it: what is changed later breaks the chain.

    `at` and `detail` are kept as the text that was hashed.
    """

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))
    who: Mapped[str]
    address: Mapped[str]
    action: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str]
    meaning: Mapped[str]
    detail: Mapped[str]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class AlarmRow(ConsoleTable):
    """An alarm: what it was at its last look. `tag` is its own name, the same each time that it happens there."""

    __tablename__ = "alarms"
    __table_args__ = (Index("alarms_tag", "tag", unique=True), Index("alarms_standing", "standing"))

    number: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True)
    tag: Mapped[str] = mapped_column(String(200))
    origin: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(64))
    line: Mapped[str | None] = mapped_column(String(64))
    station: Mapped[str | None] = mapped_column(String(64))
    about: Mapped[str]
    causes: Mapped[list[str]]
    acknowledged: Mapped[bool]
    priority: Mapped[int]
    rounds: Mapped[int]
    shelved_until: Mapped[datetime | None]
    since: Mapped[datetime]
    """When what it is about began."""
    returned: Mapped[datetime | None]
    seen_by: Mapped[str]
    """Who acknowledged or shelved it last."""
    reason: Mapped[str]
    """Why it is shelved."""
    what: Mapped[str]
    why: Mapped[str]
    next_step: Mapped[str]
    given: Mapped[dict[str, str]]
    standing: Mapped[bool]
    """Whether it is on the list: false once nobody has anything to do with it any more."""


class AlarmStepRow(ConsoleTable):
    """One thing that happened to an alarm; `calls` says that it wanted somebody anew."""

    __tablename__ = "alarm_steps"
    __table_args__ = (
        Index("alarm_steps_alarm", "alarm", "number"),
        Index("alarm_steps_at", "at"),
        Index("alarm_steps_cause", "cause"),
    )

    number: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True)
    alarm: Mapped[int]
    kind: Mapped[str] = mapped_column(String(64))
    line: Mapped[str | None] = mapped_column(String(64))
    stage: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str | None]
    calls: Mapped[bool]
    priority: Mapped[int]
    at: Mapped[datetime]
    who: Mapped[str]
    reason: Mapped[str]
