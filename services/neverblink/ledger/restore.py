"""Records, evidence and artifacts from a backup: every file is checked before the first one is put back."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from neverblink.errors import NeverblinkError
from neverblink.ledger.backup import BackupError, KeptFile, Manifest, Shelves, digest_of, manifest_in
from neverblink.ledger.table_copies import fill_tables
from neverblink.plant import Plant
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.tables import SCHEMA_VERSION, VerdictRow
from neverblink.storage.whole_file import whole_file

Tell = Callable[[str], None]


def restore(
    plant: Plant, folder: Path, name: str | None = None, *, force: bool = False, tell: Tell = lambda _: None
) -> Manifest:
    """Put back what a backup holds, where the plant file says; the newest backup without a name.

    Without `force` nothing that is there is overwritten. The ledger must not run. Raises BackupError, LedgerError,
    EvidenceStoreError.
    """
    path, manifest = manifest_in(folder, name)
    kind = "sqlite" if plant.storage.ledger.startswith("sqlite") else "postgresql"
    if manifest.database != kind:
        raise BackupError(f"{path} is of a {manifest.database} database and storage.ledger names a {kind} one")
    if manifest.layout > SCHEMA_VERSION or (kind == "postgresql" and manifest.layout != SCHEMA_VERSION):
        raise BackupError(
            f"{path} has table layout {manifest.layout} and this program has {SCHEMA_VERSION}: restore it with version"
            f" {manifest.version}"
        )
    shelves = Shelves(folder / "files")
    tell("checking")
    damaged = [file for file in manifest.files if not shelves.is_sound(file)]
    if damaged:
        raise BackupError(
            f"{len(damaged)} of {len(manifest.files)} files of {path} are missing or damaged, first {damaged[0].path}"
            f" ({damaged[0].digest[:12]}…): nothing was put back; delete it there and take another backup"
        )
    artifacts = [file for file in manifest.files if file.of == "artifact"]
    if not force:
        _refuse_to_overwrite(plant, artifacts)
    try:
        tell("models")
        for file in artifacts:
            _put(shelves.place(file.digest), _inside(plant.storage.artifacts, file.path))
        tell("pictures")
        _put_pictures(plant, shelves, manifest)
        tell("records")
        _put_records(plant, shelves, manifest, force)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, NeverblinkError):
            raise
        raise BackupError(f"the backup {path} could not be put back whole: {error}; restore it again") from error
    return manifest


def _refuse_to_overwrite(plant: Plant, artifacts: list[KeptFile]) -> None:
    for file in artifacts:
        there = _inside(plant.storage.artifacts, file.path)
        if there.exists() and digest_of(there) != file.digest:
            raise BackupError(f"{there} is there and differs from the backup's: --force puts the backup's in its place")
    ledger = plant.storage.ledger
    if ledger.startswith("sqlite"):
        there = Path(make_url(ledger).database or "")
        if there.exists():
            raise BackupError(f"there is a ledger at {there}: --force puts the backup's in its place")
        return
    database = Database(ledger, create=True)
    try:
        with database.session() as session:
            if session.scalar(select(func.count()).select_from(VerdictRow)):
                raise BackupError(f"the ledger {database.name} has verdicts: --force puts the backup's in their place")
    finally:
        database.close()


def _put_pictures(plant: Plant, shelves: Shelves, manifest: Manifest) -> None:
    pictures = [file for file in manifest.files if file.of == "evidence"]
    place = plant.records.evidence.store
    if not pictures:
        return
    if place is None:
        raise BackupError(
            f"the backup has {len(pictures)} pictures, and records.evidence.store names no place for them"
        )
    store = EvidenceStore(place)
    for file in pictures:
        if store.size(file.digest) != file.bytes:
            store.put(shelves.place(file.digest).read_bytes(), file.digest)


def _put_records(plant: Plant, shelves: Shelves, manifest: Manifest, force: bool) -> None:
    ledger = plant.storage.ledger
    if manifest.database == "sqlite":
        (file,) = (one for one in manifest.files if one.of == "database")
        there = Path(make_url(ledger).database or "")
        if force and there.exists():
            _nobody_writes(there)
        for beside in (there.with_name(f"{there.name}-wal"), there.with_name(f"{there.name}-shm")):
            beside.unlink(missing_ok=True)
        _put(shelves.place(file.digest), there)
        Database(ledger, create=True).close()
        return
    database = Database(ledger, create=True)
    try:
        tables = {one.path: shelves.place(one.digest) for one in manifest.files if one.of == "table"}
        with database.writing() as connection:
            fill_tables(connection, tables)
    finally:
        database.close()


def _nobody_writes(file: Path) -> None:
    """Raise BackupError while another program has the database open to write."""
    try:
        with closing(sqlite3.connect(file, timeout=1.0, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
    except sqlite3.DatabaseError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise BackupError(f"another program has {file} open: stop `neverblink ledger run` first") from error


def _put(source: Path, there: Path) -> None:
    with whole_file(there, mode=0o640) as partial:
        shutil.copyfile(source, partial)


def _inside(root: Path, path: str) -> Path:
    """Return where a file of that name lies below a folder. Raises BackupError for a name that leads out of it."""
    found = Path(os.path.normpath(root / path))
    if not found.is_relative_to(os.path.normpath(root)):
        raise BackupError(f"the backup names {path!r}, which leads out of {root}: it is not one of ours")
    return found
