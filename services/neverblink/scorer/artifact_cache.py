"""Artifacts that were fetched, on this host's disk, by digest: whole and verified, or not there."""

import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from neverblink import telemetry
from neverblink.model_registry.artifact_store import ArtifactStore, folder_name
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.artifact_manifest import ArtifactError

_PARTIAL = ".partial-"
_ABANDONED_S = 3600.0
"""So old, what was begun is nobody's any more: no fetch takes an hour."""


class ArtifactCache:
    """A folder of artifact folders, `sha256-…`, of a bounded size; the longest unused are deleted first.

    Several scorers of a host may share it. Its methods block: call them in a thread.
    """

    def __init__(self, folder: Path, max_bytes: int, store: ArtifactStore) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._store = store
        self._log = telemetry.logger("scorer")

    def load(self, location: str, digest: str, keep: Collection[str] = ()) -> Artifact:
        """Return the artifact of that digest, fetched from `location` unless it is here. Raises ArtifactError.

        What is here is verified again, and fetched again when it is damaged. Artifacts whose digests are in `keep`
        are not deleted to make room.
        """
        entry = self._folder / folder_name(digest)
        try:
            if entry.is_dir():
                try:
                    artifact = load_artifact(entry, digest=digest)
                except ArtifactError as error:
                    self._log.warning(f"a cached model is damaged and is fetched again: {error}")
                    self._discard(entry)
                else:
                    os.utime(entry)
                    return artifact
            self._fetch(location, digest, entry, {*keep, digest})
        except OSError as error:
            raise ArtifactError(
                f"the model {digest[:19]} cannot be kept in storage.model_cache ({self._folder}): {error.strerror}"
            ) from error
        return load_artifact(entry, digest=digest)

    def _fetch(self, location: str, digest: str, entry: Path, keep: Collection[str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=self._folder) as place:
            fresh = Path(place) / "artifact"
            fresh.mkdir(mode=0o755)
            manifest, _ = self._store.manifest(location, fresh, digest=digest)
            self._make_room(sum(file.bytes for file in manifest.files().values()), location, keep)
            self._store.files(location, manifest, fresh)
            try:
                fresh.rename(entry)
            except OSError:
                # Another scorer of this host was faster; what is there now is verified like everything else.
                if not entry.is_dir():
                    raise

    def _make_room(self, needed: int, location: str, keep: Collection[str]) -> None:
        """Delete what was begun and abandoned, then what was longest unused, until there is room."""
        if needed > self._max_bytes:
            raise ArtifactError(
                f"the model at {location} has {needed} bytes, and storage.model_cache_mib allows {self._max_bytes}"
            )
        for partial in self._folder.glob(f"{_PARTIAL}*"):
            if _age_s(partial) > _ABANDONED_S:
                shutil.rmtree(partial, ignore_errors=True)
        held = list(self._entries())
        over = sum(size for _, _, size in held) + needed - self._max_bytes
        kept = {folder_name(digest) for digest in keep}
        for _, entry, size in sorted(held):
            if over <= 0:
                return
            if entry.name not in kept:
                self._discard(entry)
                over -= size

    def _entries(self) -> Iterator[tuple[float, Path, int]]:
        """Yield when each entry was last used, where it is, and its bytes."""
        for entry in self._folder.glob("sha256-*"):
            try:
                used = entry.stat().st_mtime
                size = sum(file.stat().st_size for file in entry.iterdir())
            except FileNotFoundError:
                continue  # another scorer deletes it
            yield used, entry, size

    def _discard(self, entry: Path) -> None:
        """Delete an entry in two steps, so that nobody finds half of one."""
        with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=self._folder) as place:
            try:
                entry.rename(Path(place) / "discarded")
            except FileNotFoundError:
                return


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
