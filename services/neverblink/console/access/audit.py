"""What people did, each entry chained to the one before it by a hash: what is changed afterwards is found.

The hash is SHA-256 of the previous entry's hash, a line end, and this entry as JSON with sorted keys. Whoever may write
the database may write the whole chain anew, so take its end (`number:hash`) away from time to time, or export it.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

import orjson
from sqlalchemy import Connection, desc, func, insert, select, text

from neverblink.console.access.database import AccessDatabase
from neverblink.console.access.tables import AuditRow
from neverblink.errors import NeverblinkError
from neverblink.shown import visible

FIRST: Final = "0" * 64
MOST_TEXT: Final = 500
_LOCK = 0x6175646974  # "audit": entries are numbered one after another, whoever writes
_AT_ONCE = 1000
_FACILITY_AUDIT = 13  # RFC 5424, table 1: log audit
_NOTICE = 5
_ENTERPRISE = "neverblink@32473"  # RFC 5612's number for examples: we have none of our own


class AuditBrokenError(NeverblinkError):
    """The chain does not hold; the message says from which entry on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did. `at` is RFC 3339 in UTC, `detail` JSON, `hash` covers all others."""

    number: int
    at: str
    who: str
    address: str
    action: str
    subject: str
    meaning: str
    detail: str
    previous: str
    hash: str

    @property
    def place(self) -> str:
        """Return where the chain stands with this entry: to be kept elsewhere, and checked against later."""
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from which address."""

    who: str
    address: str
    meaning: str = ""


def note(
    connection: Connection,
    now: datetime,
    actor: Actor,
    action: str,
    subject: str,
    detail: Mapping[str, object] | None = None,
) -> Entry:
    """Append an entry within the transaction of what it tells of, and return it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last = connection.execute(select(AuditRow.number, AuditRow.hash).order_by(desc(AuditRow.number)).limit(1)).first()
    number, previous = (1, FIRST) if last is None else (last.number + 1, last.hash)
    found = _hashed(
        number=number,
        at=now.astimezone(UTC).isoformat(timespec="microseconds"),
        who=_short(actor.who),
        address=_short(actor.address),
        action=action,
        subject=_short(subject),
        meaning=_short(actor.meaning),
        detail=orjson.dumps(detail or {}, option=orjson.OPT_SORT_KEYS).decode(),
        previous=previous,
    )
    connection.execute(insert(AuditRow).values(**asdict(found)))
    return found


def entries(connection: Connection, *, newest: int | None = None, before: int | None = None) -> Iterator[Entry]:
    """Yield all entries in order; with `newest` only so many, the newest first, numbered below `before`."""
    columns = (*(getattr(AuditRow, name) for name in Entry.__slots__),)
    if newest is not None:
        query = select(*columns).order_by(desc(AuditRow.number)).limit(newest)
        if before is not None:
            query = query.where(AuditRow.number < before)
        yield from (Entry(*row) for row in connection.execute(query))
        return
    behind = -1
    while rows := connection.execute(
        select(*columns).where(AuditRow.number > behind).order_by(AuditRow.number).limit(_AT_ONCE)
    ).all():
        yield from (Entry(*row) for row in rows)
        behind = rows[-1].number


def verify(connection: Connection, expected: str | None = None) -> Entry | None:
    """Return the chain's end when every entry holds, None for an empty one. Raises AuditBrokenError.

    `expected` is an earlier end as `number:hash`: it must still be in the chain, so that nothing was cut off or written
    anew before it.
    """
    last: Entry | None = None
    seen = expected is None
    for entry in entries(connection):
        number, previous = (1, FIRST) if last is None else (last.number + 1, last.hash)
        if entry.number != number:
            raise AuditBrokenError(f"the audit does not hold: after entry {number - 1} comes entry {entry.number}")
        if entry.previous != previous or _hashed(**{k: v for k, v in asdict(entry).items() if k != "hash"}) != entry:
            raise AuditBrokenError(f"the audit does not hold: entry {entry.number} is not as it was written")
        seen = seen or entry.place == expected
        last = entry
    if not seen:
        raise AuditBrokenError(f"the audit does not hold: {str(expected)[:80]} is not in it any more")
    return last


def count(connection: Connection) -> int:
    """Return how many entries there are."""
    return connection.scalar(select(func.count()).select_from(AuditRow)) or 0


def as_json(entry: Entry) -> bytes:
    """Return an entry as one line of JSON, with its hashes."""
    told = {**asdict(entry), "detail": orjson.loads(entry.detail)}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def as_syslog(entry: Entry, host: str) -> bytes:
    """Return an entry as one RFC 5424 message of facility `log audit`, severity `notice`; texts are in its data."""
    pairs = {
        "number": str(entry.number), "who": entry.who, "address": entry.address, "subject": entry.subject,
        "meaning": entry.meaning, "detail": entry.detail, "hash": entry.hash,
    }  # fmt: skip
    data = " ".join(f'{name}="{_parameter(value)}"' for name, value in pairs.items())
    priority = _FACILITY_AUDIT * 8 + _NOTICE
    head = f"<{priority}>1 {entry.at} {host} neverblink-console - {entry.action} [{_ENTERPRISE} {data}]"
    return f"{head}\n".encode()


def exported(access: AccessDatabase, host: str, form: str) -> Iterator[bytes]:
    """Yield the whole audit, an entry a line: `json`, or `syslog` messages of `host`. It blocks."""
    with access.reading() as connection:
        for entry in entries(connection):
            yield as_syslog(entry, host) if form == "syslog" else as_json(entry)


def _parameter(value: str) -> str:
    for sign in ("\\", '"', "]"):
        value = value.replace(sign, f"\\{sign}")
    return value


def _short(words: str) -> str:
    shown = visible(words)
    return shown if len(shown) <= MOST_TEXT else f"{shown[:MOST_TEXT]}…"


def _hashed(
    *, number: int, at: str, who: str, address: str, action: str, subject: str, meaning: str, detail: str, previous: str
) -> Entry:
    told = {
        "number": number, "at": at, "who": who, "address": address, "action": action, "subject": subject,
        "meaning": meaning, "detail": detail,
    }  # fmt: skip
    body = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(previous.encode() + b"\n" + body).hexdigest()
    return Entry(number, at, who, address, action, subject, meaning, detail, previous, digest)
