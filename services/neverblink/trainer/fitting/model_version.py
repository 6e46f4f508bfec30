"""The version of a model that is made from another."""

from neverblink.vision.artifact import Artifact
from neverblink.vision.artifact_manifest import ArtifactError
from neverblink.vision.plain_name import plain


def new_version(found: Artifact, version: str | None, suffix: str) -> str:
    """Return the version asked for, else the artifact's own with a suffix. Raises ArtifactError."""
    wanted = f"{found.version}-{suffix}" if version is None else version
    try:
        return plain(wanted)
    except ValueError as error:
        raise ArtifactError(f"the version {wanted!r} cannot be used: {error}") from error
