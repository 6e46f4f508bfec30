"""Where an artifact goes: what is there already, and whether it can be written, is known before the work begins."""

import tempfile
from pathlib import Path

from neverblink.vision.artifact import read_manifest
from neverblink.vision.artifact_manifest import MANIFEST, ArtifactError


def check_place(folder: Path, product: str, *, replace: bool) -> None:
    """Raise ArtifactError when an artifact of `product` cannot or must not be written to `folder`.

    What is there must be an artifact of the same product, and `replace` must allow to write over it: a folder of
    anything else, or of another product, is never written over.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ArtifactError(f"{folder} is no folder: name another place for the artifact")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MANIFEST).is_file():
            raise ArtifactError(f"{folder} holds other files and no artifact: name an empty or a new folder")
        manifest, _ = read_manifest(folder)
        if manifest.product != product:
            raise ArtifactError(
                f"{folder} holds {manifest.name} {manifest.version}, a model of product {manifest.product} and not of"
                f" {product}: name another folder"
            )
        if not replace:
            raise ArtifactError(
                f"{folder} already exists: it holds {manifest.name} {manifest.version}, made"
                f" {manifest.created:%Y-%m-%d %H:%M} UTC; name another folder, or say --replace to write over it"
            )
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Raise ArtifactError when nothing can be written where `folder` is to be: as far as it exists, it is tried."""
    place = folder.absolute().parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ArtifactError(f"the artifact {folder} cannot be written: {place}: {error.strerror}") from error
