"""Where the plant's artifacts lie, and how one is had from there: read by its location, believed by its digest."""

import hashlib
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import orjson

from neverblink.plant import PlantError, Storage
from neverblink.storage.file_root import FileRoot, FileRootError, shortened
from neverblink.vision.artifact import Artifact, read_manifest
from neverblink.vision.artifact_manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_TENSOR_BYTES,
    TENSORS,
    ArtifactError,
    Manifest,
)

_CHUNK_BYTES = 4 * 1024 * 1024
_MAX_HEADER_BYTES = 1024 * 1024
_MAX_SCORES_BYTES = 4 * 1_000_000


def folder_name(digest: str) -> str:
    """Return the name of an artifact's folder where folders are known by digest: `sha256-…`."""
    return digest.replace(":", "-")


class ArtifactStore:
    """The plant's artifacts: `storage.artifacts`, and `storage.artifact_store` where it has one.

    Its methods block: call them in a thread. Only what lies below these two places is read, so that an event
    cannot make a scorer open other files or addresses.
    """

    def __init__(self, storage: Storage) -> None:
        """Raises PlantError when no installed package knows the store."""
        self._folder = storage.artifacts
        self._roots = store_roots(storage)
        self._store = None if storage.artifact_store is None else self._roots[-1]

    def location_of(self, folder: Path) -> str | None:
        """Return how scorers find an artifact folder, None when it does not lie where they look."""
        path, artifacts = folder.resolve(), self._folder.resolve()
        if path != artifacts and path.is_relative_to(artifacts):
            return path.relative_to(artifacts).as_posix()
        return next((str(path) for root in self._roots if root.is_local and root.inside(str(path)) is not None), None)

    def put(self, folder: Path, artifact: Artifact) -> str:
        """Copy an artifact folder, loaded as `artifact`, to the store and return its location. Raises ArtifactError.

        Its folder there is named after its digest, and its manifest is written last: what has one is whole.
        """
        if self._store is None:
            raise ArtifactError(
                f"scorers cannot fetch {folder}: it does not lie under storage.artifacts ({self._folder}), and the"
                " plant file has no storage.artifact_store; move it there, or name a store that all hosts reach"
            )
        store = self._store
        path = f"{store.path}/{folder_name(artifact.digest)}"
        try:
            store.filesystem.makedirs(path, exist_ok=True)
            for name in (*artifact.manifest.files(), MANIFEST):
                store.write(f"{path}/{name}", folder / name)
        except Exception as error:  # each kind of store raises errors of its own
            raise ArtifactError(f"{folder} cannot be copied to the store {store.path}: {shortened(error)}") from error
        return path if store.is_local else store.location(path)

    def manifest(self, location: str, into: Path, *, digest: str | None = None) -> tuple[Manifest, str]:
        """Copy an artifact's manifest into a folder and return it with the artifact's digest. Raises ArtifactError."""
        root, path = self._resolved(location)
        place = f"{path}/{MANIFEST}"
        _checked(root, place, location, lambda size: size <= MAX_MANIFEST_BYTES)
        _copied(root, place, into / MANIFEST, MAX_MANIFEST_BYTES)
        try:
            return read_manifest(into, digest=digest)
        except ArtifactError as error:
            raise ArtifactError(str(error).replace(str(into), location)) from error

    def held_out_scores(self, location: str) -> npt.NDArray[np.float32]:
        """Return the sorted scores of an artifact's held-out good images, (m,) float32, without reading its bank.

        They are for looking at: the file's digest is checked by whoever opens the model. Raises ArtifactError.
        """
        root, path = self._resolved(location)
        place, shown = f"{path}/{TENSORS}", f"{location}/{TENSORS}"
        _checked(root, place, shown, lambda size: size <= MAX_TENSOR_BYTES)
        try:
            with root.filesystem.open(place, "rb") as file:
                found = _scores_in(file)
        except (ValueError, KeyError, TypeError):
            found = None
        except Exception as error:  # each kind of store raises errors of its own
            raise ArtifactError(f"{shown} cannot be read: {shortened(error)}") from error
        if found is None:
            raise ArtifactError(f"{shown} holds no scores of held-out images that can be read")
        return np.sort(found)

    def files(self, location: str, manifest: Manifest, into: Path) -> None:
        """Copy the files that a manifest names into a folder, each verified on its way. Raises ArtifactError."""
        root, path = self._resolved(location)
        for name, file in manifest.files().items():
            place, shown = f"{path}/{name}", f"{location}/{name}"
            _checked(root, place, shown, lambda size, wanted=file.bytes: size == wanted)  # type: ignore[misc]
            found = _copied(root, place, into / name, file.bytes)
            if found != file.sha256:
                raise ArtifactError(f"{shown} was altered: its digest is not the one in the manifest")

    def _resolved(self, location: str) -> tuple[FileRoot, str]:
        if "://" not in location and not posixpath.isabs(location):
            location = f"{self._folder.absolute()}/{location}"
        for root in self._roots:
            if (path := root.inside(location)) is not None:
                return root, path
        raise ArtifactError(
            f"{location} lies neither under storage.artifacts nor in storage.artifact_store: models are fetched from"
            " nowhere else"
        )


def _scores_in(file: BinaryIO) -> npt.NDArray[np.float32] | None:
    """Return the scores of a safetensors file: eight bytes of the header's length, the header, the arrays.

    None where there are none that fit what the header says of them.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > _MAX_HEADER_BYTES:
        return None
    entry = orjson.loads(file.read(length))["scores"]
    begin, end = entry["data_offsets"]
    if entry["dtype"] != "F32" or len(entry["shape"]) != 1 or not 0 < end - begin <= _MAX_SCORES_BYTES:
        return None
    file.seek(8 + length + begin)
    found = np.frombuffer(file.read(end - begin), "<f4").astype(np.float32)
    return found if found.shape == tuple(entry["shape"]) and np.isfinite(found).all() else None


def store_roots(storage: Storage) -> list[FileRoot]:
    """Return the places where artifacts lie, last the one that all hosts share, where there is one.

    Raises PlantError when no installed package knows it.
    """
    places = [str(storage.artifacts.absolute()), storage.artifact_store]
    return [_opened(place) for place in places if place is not None]


def _opened(url: str) -> FileRoot:
    try:
        return FileRoot.at(url)
    except FileRootError as error:
        raise PlantError(f"storage.artifact_store is {url!r}, and it cannot be used: {error}") from error


def _checked(root: FileRoot, path: str, shown: str, fits: Callable[[int], bool]) -> None:
    """Raise ArtifactError unless a regular file of a fitting size is there: a pipe would be waited for without end."""
    try:
        # What is listed may be from before the artifact was put there.
        root.filesystem.invalidate_cache(posixpath.dirname(path))
        found = root.filesystem.info(path)
    except FileNotFoundError as error:
        raise ArtifactError(f"there is no artifact at {shown}: {posixpath.basename(path)} is missing") from error
    except Exception as error:  # each kind of store raises errors of its own
        raise ArtifactError(f"the artifact at {shown} cannot be read: {shortened(error)}") from error
    if found.get("type") != "file":
        raise ArtifactError(f"{shown} holds no regular file {posixpath.basename(path)}")
    if found.get("size") is not None and not fits(int(found["size"])):
        raise ArtifactError(f"{shown} has {found['size']} bytes: it is cut off, or another file than expected")


def _copied(root: FileRoot, path: str, target: Path, limit: int) -> str:
    """Copy a file of at most `limit` bytes and return its digest. Raises ArtifactError."""
    digest, left = hashlib.sha256(), limit
    try:
        with root.filesystem.open(path, "rb") as source, target.open("xb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                left -= len(chunk)
                if left < 0:
                    raise ArtifactError(f"{path} has more than the {limit} bytes that are expected")
                digest.update(chunk)
                file.write(chunk)
    except ArtifactError:
        raise
    except Exception as error:  # each kind of store raises errors of its own
        raise ArtifactError(f"{path} cannot be copied to {target.parent}: {shortened(error)}") from error
    return f"sha256:{digest.hexdigest()}"
