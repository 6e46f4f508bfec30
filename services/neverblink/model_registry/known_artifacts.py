"""Which artifacts a plant has: what lies where scorers look for models, by its manifests alone."""

import posixpath
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from neverblink.model_registry.artifact_store import ArtifactStore, store_roots
from neverblink.model_registry.qualifications import FOLDER
from neverblink.plant import Storage
from neverblink.storage.file_root import FileRoot, shortened
from neverblink.vision.artifact_manifest import MANIFEST, ArtifactError, Manifest

MOST: Final = 1000
"""Folders that are looked into; a plant with more should tidy up, and is told."""

_Mark = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class KnownArtifact:
    """An artifact that scorers can fetch: where it lies, as slots name it, and what it says of itself."""

    location: str
    digest: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Listed:
    """The artifacts, the newest first, each once; `faults` say what cannot be read, and where."""

    found: tuple[KnownArtifact, ...] = ()
    faults: tuple[str, ...] = ()

    def of(self, digest: str | None) -> KnownArtifact | None:
        """Return the artifact of that digest, None where it is not known."""
        return next((one for one in self.found if one.digest == digest), None)


class KnownArtifacts:
    """Lists a plant's artifacts; a manifest that has not changed is not read again. Its methods block.

    One thread at a time may use it.
    """

    def __init__(self, storage: Storage) -> None:
        """Raises PlantError when no installed package knows the store."""
        self.store = ArtifactStore(storage)
        self._artifacts = storage.artifacts
        self._roots = store_roots(storage)
        self._read: dict[str, tuple[_Mark, KnownArtifact | str]] = {}

    def listed(self) -> Listed:
        """Return what lies there now."""
        found: dict[str, KnownArtifact] = {}
        faults: list[str] = []
        seen: set[str] = set()
        for number, root in enumerate(self._roots):
            try:
                folders = list(_folders(root))
            except Exception as error:  # noqa: BLE001 - each kind of store raises errors of its own; told to whoever asks
                faults.append(f"{root.path}: {shortened(error)}")
                continue
            if len(folders) > MOST:
                faults.append(f"{root.path} has more than {MOST} folders: only so many are looked into")
            for folder, mark in folders[:MOST]:
                location = self._location(root, folder, first=number == 0)
                seen.add(location)
                one = self._manifest(location, mark)
                if isinstance(one, str):
                    faults.append(one)
                else:
                    found.setdefault(one.digest, one)
        self._read = {location: held for location, held in self._read.items() if location in seen}
        newest = sorted(found.values(), key=lambda one: (one.manifest.created, one.digest), reverse=True)
        return Listed(tuple(newest), tuple(faults))

    def _location(self, root: FileRoot, folder: str, *, first: bool) -> str:
        """Return how slots name a folder: relative to storage.artifacts, else as the store does."""
        if first:
            return posixpath.relpath(folder, root.path)
        return folder if root.is_local else root.location(folder)

    def _manifest(self, location: str, mark: _Mark) -> KnownArtifact | str:
        held = self._read.get(location)
        if held is not None and held[0] == mark:
            return held[1]
        one: KnownArtifact | str
        try:
            with tempfile.TemporaryDirectory(prefix="neverblink-known-") as place:
                manifest, digest = self.store.manifest(location, Path(place))
            one = KnownArtifact(location, digest, manifest)
        except ArtifactError as error:
            one = str(error)
        self._read[location] = (mark, one)
        return one


def _folders(root: FileRoot) -> Iterator[tuple[str, _Mark]]:
    """Yield the folders with a manifest, directly in a place or one folder deeper, and a mark that changes with it."""
    deeper: list[str] = []
    for folder in _inside(root, root.path):
        mark = _manifest_mark(root, folder)
        if mark is not None:
            yield folder, mark
        else:
            deeper.append(folder)
    for folder in deeper[:MOST]:
        for inner in _inside(root, folder):
            if (mark := _manifest_mark(root, inner)) is not None:
                yield inner, mark


def _inside(root: FileRoot, folder: str) -> list[str]:
    root.filesystem.invalidate_cache(folder)
    try:
        listed: list[dict[str, Any]] = root.filesystem.ls(folder, detail=True)
    except FileNotFoundError:
        return []
    names = [str(one["name"]).rstrip("/") for one in listed if one.get("type") == "directory"]
    return sorted(name for name in names if posixpath.basename(name) != FOLDER)[: MOST + 1]


def _manifest_mark(root: FileRoot, folder: str) -> _Mark | None:
    try:
        info = root.filesystem.info(f"{folder}/{MANIFEST}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    return tuple(info.get(name) for name in ("size", "mtime", "ino", "ETag", "LastModified"))
