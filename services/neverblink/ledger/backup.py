"""A copy of records, evidence and artifacts, made while the ledger runs: files by digest, and a manifest written last.

    DIR/files/AB/DIGEST          every file once, whatever backup it belongs to
    DIR/2026-03-02T060000Z.json  the manifest of one backup: what it is of, and the digest of every file

A backup without its manifest is none: one that was broken off is made again, and copies only what is not there yet.
"""

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink import __version__
from neverblink.errors import NeverblinkError
from neverblink.events.parts import Instant
from neverblink.ledger.table_copies import copied_tables
from neverblink.plant import Plant
from neverblink.records.evidence_store import EvidenceMissingError, EvidenceStore
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.reading import ReadOnlyRecords
from neverblink.records.tables import SCHEMA_VERSION
from neverblink.storage.whole_file import PARTIAL, whole_file, write_whole

Tell = Callable[[str], None]

_PAGES = 4096
_CHUNK = 1024 * 1024
_DUMP_S = 6 * 3600.0
"""How long the tables of a large database may take; PostgreSQL's limit of a statement."""


class BackupError(NeverblinkError, RuntimeError):
    """A backup that cannot be made or used; the message says what to do."""


class KeptFile(BaseModel):
    """One file of a backup: what it is of, where it was, and its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: Literal["database", "table", "evidence", "artifact"]
    path: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int


class Manifest(BaseModel):
    """One backup. `missing` are pictures that retention deleted while it was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    made: Instant
    site: str
    version: str
    layout: int
    database: Literal["sqlite", "postgresql"]
    files: tuple[KeptFile, ...]
    missing: int = 0


def back_up(plant: Plant, folder: Path, now: datetime, tell: Tell = lambda _: None) -> tuple[Path, Manifest]:
    """Copy everything and return the manifest's path and what it says; nothing stands still for it.

    The records are those of one instant, and the pictures and models those that they name then. Raises BackupError,
    LedgerError, EvidenceStoreError.
    """
    shelves = Shelves(folder / "files")
    name = now.astimezone(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    manifest = folder / f"{name}.json"
    if manifest.exists():
        raise BackupError(f"{manifest} is there already: a backup is never overwritten")
    try:
        kind: Literal["sqlite", "postgresql"] = "sqlite" if plant.storage.ledger.startswith("sqlite") else "postgresql"
        tell("records")
        files = [*_database(plant, shelves)]
        tell("pictures")
        pictures, missing = _pictures(plant, shelves)
        tell("models")
        files += [*pictures, *_artifacts(plant, shelves)]
        held = Manifest(
            made=now,
            site=plant.site,
            version=__version__,
            layout=SCHEMA_VERSION,
            database=kind,
            files=tuple(files),
            missing=missing,
        )
        write_whole(manifest, held.model_dump_json(indent=1).encode(), mode=0o640)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, NeverblinkError):
            raise
        raise BackupError(f"the backup in {folder} cannot be written: {error}; nothing of the plant has changed") from (
            error
        )
    return manifest, held


def manifest_in(folder: Path, name: str | None) -> tuple[Path, Manifest]:
    """Return a backup's manifest, the newest one without a name. Raises BackupError."""
    found = sorted(folder.glob("*Z.json"))
    wanted = [path for path in found if name in (None, path.stem, path.name)]
    if not wanted:
        names = ", ".join(path.stem for path in found) or "none"
        raise BackupError(f"there is no backup {name or ''} in {folder}; there is {names}".replace("  ", " "))
    try:
        return wanted[-1], Manifest.model_validate_json(wanted[-1].read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupError(f"{wanted[-1]} is no manifest of a backup") from error


class Shelves:
    """Files by the SHA-256 of their bytes, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def place(self, digest: str) -> Path:
        """Return where a file of that digest lies."""
        return self._folder / digest[:2] / digest

    def holds(self, digest: str, size: int) -> bool:
        """Say whether a file of that digest is there, as large as it was."""
        try:
            return self.place(digest).stat().st_size == size
        except OSError:
            return False

    def put(self, content: bytes) -> tuple[str, int]:
        """Keep bytes; returns digest and size. Raises OSError."""
        digest = hashlib.sha256(content).hexdigest()
        if not self.holds(digest, len(content)):
            write_whole(self.place(digest), content, mode=0o640)
        return digest, len(content)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Keep a copy of a file; returns digest and size. Raises OSError."""
        digest, size = digest_of(path), path.stat().st_size
        if not self.holds(digest, size):
            with whole_file(self.place(digest), mode=0o640) as partial:
                shutil.copyfile(path, partial)
        return digest, size

    def is_sound(self, file: KeptFile) -> bool:
        """Say whether a file is there with the bytes it had."""
        return self.holds(file.digest, file.bytes) and digest_of(self.place(file.digest)) == file.digest


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _database(plant: Plant, shelves: Shelves) -> Iterator[KeptFile]:
    beside = shelves.place("00").parent
    beside.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=beside) as scratch,
        closing(ReadOnlyRecords(plant.storage.ledger, answer_s=_DUMP_S)) as records,
    ):
        if records.file is None:
            with records.asking() as session:
                for name, path in copied_tables(session.connection(), Path(scratch)):
                    digest, size = shelves.put_file(path)
                    yield KeptFile(of="table", path=name, digest=digest, bytes=size)
            return
        copy = Path(scratch) / "ledger.db"
        _copy_sqlite(records.file, copy)
        digest, size = shelves.put_file(copy)
        yield KeptFile(of="database", path="ledger.db", digest=digest, bytes=size)


def _copy_sqlite(file: Path, copy: Path) -> None:
    """Copy a database of one instant: the transaction that reads it is older than what is written meanwhile."""
    source = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, isolation_level=None)
    with closing(source), closing(sqlite3.connect(copy)) as target:
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM ledger_version").fetchone()
        source.backup(target, pages=_PAGES)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, no log beside it
        found = target.execute("PRAGMA quick_check").fetchone()
    if found != ("ok",):
        raise BackupError(f"the copy of {file} is damaged ({found[0]}): check the disk, and the ledger's own file")


def _pictures(plant: Plant, shelves: Shelves) -> tuple[list[KeptFile], int]:
    place = plant.records.evidence.store
    if place is None:
        return [], 0
    with closing(ReadOnlyRecords(plant.storage.ledger, answer_s=_DUMP_S)) as records, records.asking() as session:
        wanted = _digests(session)
    store = EvidenceStore(place)
    found, missing = [], 0
    for digest, size in wanted:
        if not shelves.holds(digest, size):
            try:
                shelves.put(store.get(digest))
            except EvidenceMissingError:
                missing += 1
                continue
        found.append(KeptFile(of="evidence", path=digest, digest=digest, bytes=size))
    return found, missing


def _digests(session: Session) -> list[tuple[str, int]]:
    query = select(EvidenceFileRow.digest, EvidenceFileRow.bytes).where(EvidenceFileRow.deleted.is_(None)).distinct()
    return [(digest, size) for digest, size in session.execute(query.order_by(EvidenceFileRow.digest))]


def _artifacts(plant: Plant, shelves: Shelves) -> Iterator[KeptFile]:
    root = plant.storage.artifacts
    if not root.is_dir():
        return
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.name.endswith(PARTIAL):
            digest, size = shelves.put_file(path)
            yield KeptFile(of="artifact", path=path.relative_to(root).as_posix(), digest=digest, bytes=size)
