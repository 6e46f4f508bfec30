"""An artifact as one file to send: a plain zip that is the same bytes for the same model."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from neverblink.storage.whole_file import whole_file
from neverblink.vision.artifact import Artifact, load_artifact
from neverblink.vision.artifact_manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    MAX_PART_BYTES,
    MAX_TENSOR_BYTES,
    PARTS,
    TENSORS,
    ArtifactError,
)

_NEEDED: Final = {MANIFEST: MAX_MANIFEST_BYTES, TENSORS: MAX_TENSOR_BYTES}
_LIMITS: Final = _NEEDED | dict.fromkeys(PARTS.values(), MAX_PART_BYTES)

_NO_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say; the artifact's own is in its manifest."""


def export_artifact(folder: Path, path: Path) -> Artifact:
    """Write a verified artifact as a zip, read it back and verify it again.

    The same artifact gives the same bytes: names in order, no times, no compression, which gains little on
    floats. Raises ArtifactError.
    """
    artifact = load_artifact(folder)
    try:
        with whole_file(path) as partial:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
                for name in artifact.files:
                    entry = zipfile.ZipInfo(f"{artifact.name}-{artifact.version}/{name}", _NO_TIME)
                    entry.create_system, entry.external_attr = 3, 0o644 << 16
                    with (folder / name).open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                        shutil.copyfileobj(source, target)
            with tempfile.TemporaryDirectory(dir=path.parent) as place:
                _unpack(partial, Path(place), path, artifact.digest)
    except OSError as error:
        raise ArtifactError(f"the archive {path} cannot be written: {error.strerror}") from error
    return artifact


def import_artifact(path: Path, folder: Path, *, digest: str | None = None) -> Artifact:
    """Make an artifact folder from an exported zip; `digest` is the identity it must have, when that is known.

    No name or link in the zip decides where anything is written, and the folder appears verified or not at
    all. Raises ArtifactError.
    """
    if folder.exists():
        raise ArtifactError(f"{folder} already exists; choose another folder for the imported artifact")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            fresh = Path(place) / "artifact"
            fresh.mkdir()
            artifact = _unpack(path, fresh, path, digest)
            fresh.rename(folder)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be imported to {folder}: {error.strerror}") from error
    return artifact


def _unpack(path: Path, folder: Path, shown: Path, digest: str | None) -> Artifact:
    """Unpack the files of an artifact into an empty folder, and verify them; messages name `shown`."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {Path(entry.filename).name: entry for entry in archive.infolist()}
            twice = len(archive.infolist()) != len(entries)
            if twice or not _NEEDED.keys() <= entries.keys() <= _LIMITS.keys():
                raise ArtifactError(
                    f"{shown} is no exported artifact: it must hold {' and '.join(_NEEDED)}, and nothing else but"
                    f" {' and '.join(PARTS.values())}"
                )
            for name, entry in entries.items():
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > _LIMITS[name]:
                    raise ArtifactError(f"{shown}: {name} is compressed or larger than {_LIMITS[name]} bytes")
                with archive.open(entry) as source, (folder / name).open("xb") as target:
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError is how zipfile asks for a password.
        raise ArtifactError(f"{shown} is not a readable zip file: {error}") from error
    try:
        return load_artifact(folder, digest=digest)
    except ArtifactError as error:
        raise ArtifactError(str(error).replace(str(folder), str(shown))) from error
