"""Where pictures lie that are kept: whole files in a folder or at an fsspec URL, found by the digest of their bytes."""

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from neverblink.errors import NeverblinkError
from neverblink.plant import PlantError
from neverblink.shown import without_secrets
from neverblink.storage.file_root import FileRoot, FileRootError, shortened
from neverblink.storage.whole_file import PARTIAL

MAX_PICTURE_BYTES = 256 * 1024 * 1024
"""No camera image is larger; a larger file is neither put nor read."""

SHELVES = tuple(f"{number:02x}" for number in range(256))
"""The folders of the store: a file lies in the one that its digest begins with."""

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class EvidenceStoreError(NeverblinkError, RuntimeError):
    """A picture cannot be put, had or deleted; the message says which store, why, and what to look at."""


class EvidenceStoreFullError(EvidenceStoreError):
    """The store's disk is full."""


class EvidenceMissingError(EvidenceStoreError):
    """There is no such picture in the store."""


class EvidenceDamagedError(EvidenceStoreError):
    """What lies at a digest, or was given for one, has another."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that lies in the store. `digest` is None for what is not a picture of ours."""

    path: str
    digest: str | None
    bytes: int
    changed: datetime | None
    is_partial: bool = False


class EvidenceStore:
    """A folder or an fsspec URL. Its methods block: call them in a thread.

    A picture lies at `AB/DIGEST`, AB being the first two characters of its SHA-256 in hexadecimal; the same bytes lie
    there once. Nothing half written has a name there, on a disk; object stores see to that by themselves.
    """

    def __init__(self, url: str) -> None:
        """Take the store at `url`. Raises PlantError when no installed package knows it."""
        try:
            self._root = FileRoot.at(url)
        except FileRootError as error:
            raise PlantError(
                f"records.evidence.store is {without_secrets(url)!r}, and it cannot be used: {error}; for s3:// install"
                " neverblink[s3]"
            ) from error
        self._files = self._root.filesystem
        self.name = without_secrets(url)

    def put(self, content: bytes, digest: str | None = None) -> str:
        """Keep bytes and return their digest; it is durable when this returns. `digest` is what they shall have.

        Raises EvidenceDamagedError when they have another, EvidenceStoreFullError, EvidenceStoreError.
        """
        found = hashlib.sha256(content).hexdigest()
        if digest is not None and found != digest:
            raise EvidenceDamagedError(f"a picture has the digest {found} and not {digest}: it is not kept")
        if len(content) > MAX_PICTURE_BYTES:
            raise EvidenceStoreError(
                f"the picture {found} has {len(content)} bytes, and one may have {MAX_PICTURE_BYTES}"
            )
        path = self._path(found)
        try:
            # The same bytes again: a camera that stands still, or a batch that a crash let come twice.
            if not (self._root.is_local and Path(path).is_file() and Path(path).stat().st_size == len(content)):
                self._root.write(path, content)
        except Exception as error:  # each kind of store raises errors of its own
            raise self._explained(error, "put") from error
        return found

    def get(self, digest: str) -> bytes:
        """Return a picture's bytes. Raises EvidenceMissingError, EvidenceDamagedError, EvidenceStoreError."""
        path = self._path(digest)
        try:
            content = bytes(self._files.cat_file(path, start=0, end=MAX_PICTURE_BYTES + 1, **self._root.within))
        except FileNotFoundError as error:
            self._refuse_missing_place(error)
            raise EvidenceMissingError(f"there is no picture {digest} in the evidence store {self.name}") from error
        except Exception as error:  # each kind of store raises errors of its own
            raise self._explained(error, "read") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise EvidenceDamagedError(
                f"the picture {digest} in the evidence store {self.name} is damaged: its bytes have another digest"
            )
        return content

    def size(self, digest: str) -> int | None:
        """Return how many bytes a picture has, None when it is not there. Raises EvidenceStoreError."""
        try:
            self._files.invalidate_cache()
            return int(self._files.info(self._path(digest), **self._root.within)["size"])
        except FileNotFoundError as error:
            self._refuse_missing_place(error)
            return None
        except Exception as error:  # each kind of store raises errors of its own
            raise self._explained(error, "read") from error

    def delete(self, digest: str) -> None:
        """Delete a picture; one that is not there is no fault. Raises EvidenceStoreError."""
        self.delete_file(self._path(digest))

    def delete_file(self, path: str) -> None:
        """Delete what `shelf` found. Raises EvidenceStoreError."""
        try:
            self._files.rm_file(path, **self._root.within)
        except FileNotFoundError as error:
            self._refuse_missing_place(error)
        except Exception as error:  # each kind of store raises errors of its own
            raise self._explained(error, "changed") from error

    def shelf(self, name: str) -> Iterator[StoredFile]:
        """Yield the files of one of `SHELVES`. Raises EvidenceStoreError."""
        folder = f"{self._root.path}/{name}"
        try:
            self._files.invalidate_cache(folder)
            listed = self._files.ls(folder, detail=True, **self._root.within)
        except FileNotFoundError:
            return
        except Exception as error:  # each kind of store raises errors of its own
            raise self._explained(error, "listed") from error
        for one in listed:
            path = str(one["name"])
            base = path.rstrip("/").rpartition("/")[2]
            if one.get("type") == "file" and base:
                known = bool(_DIGEST.match(base)) and base.startswith(name)
                yield StoredFile(
                    path, base if known else None, int(one.get("size") or 0), _changed(one), base.endswith(PARTIAL)
                )

    def free_bytes(self) -> int | None:
        """Return how many bytes its disk has left, None where it lies on none of ours. Raises EvidenceStoreError."""
        if not self._root.is_local:
            return None
        place = Path(self._root.path)
        try:
            while not place.exists() and place != place.parent:
                place = place.parent
            return shutil.disk_usage(place).free
        except OSError as error:
            raise self._explained(error, "asked for its room") from error

    def _path(self, digest: str) -> str:
        if not _DIGEST.match(digest):
            raise EvidenceStoreError(f"{digest[:80]!r} is no SHA-256 in hexadecimal, by which pictures are kept")
        return f"{self._root.path}/{digest[:2]}/{digest}"

    def _refuse_missing_place(self, error: FileNotFoundError) -> None:
        """Raise EvidenceStoreError where not the file is missing but the bucket: servers tell both alike."""
        bucket = self._root.path.partition("/")[0]
        if self._root.is_local or not bucket:
            return
        try:
            there = bool(self._files.exists(bucket, **self._root.within))
        except Exception as fault:  # each kind of store raises errors of its own
            raise self._explained(fault, "read") from fault
        if not there:
            raise self._no_bucket(bucket) from error

    def _explained(self, error: Exception, done: str) -> EvidenceStoreError:
        if isinstance(error, OSError) and error.errno in _FULL:
            return EvidenceStoreFullError(
                f"the disk of the evidence store {self.name} is full: free some space on it, or lower"
                " records.evidence.max_gib"
            )
        if isinstance(error, FileNotFoundError) and not self._root.is_local:
            return self._no_bucket(self._root.path.partition("/")[0])
        advice = "; may this user write there?" if isinstance(error, PermissionError) else ""
        return EvidenceStoreError(f"the evidence store {self.name} cannot be {done}: {shortened(error)}{advice}")

    def _no_bucket(self, bucket: str) -> EvidenceStoreError:
        return EvidenceStoreError(
            f"there is no bucket {bucket} for the evidence store {self.name}: make it, or name another one in"
            " records.evidence.store"
        )


def _changed(listed: dict[str, Any]) -> datetime | None:
    """Return when a file was written last, as its kind of store says it."""
    for name in ("mtime", "LastModified", "created"):
        said = listed.get(name)
        if isinstance(said, datetime):
            return said if said.tzinfo else said.replace(tzinfo=UTC)
        if isinstance(said, int | float):
            return datetime.fromtimestamp(said, UTC)
    return None
