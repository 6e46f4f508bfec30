"""A fitted model as a folder: manifest.json and safetensors files, whose content is its identity."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import (
    ValidationError,
)
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from neverblink.errors import reason_of
from neverblink.storage.whole_file import write_whole_folder
from neverblink.vision.artifact_manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    PARTS,
    TENSORS,
    ArtifactError,
    ClassifierPart,
    Description,
    Manifest,
    PartFile,
    PartName,
    Retraining,
    Sealed,
    TensorFile,
    UnetPart,
    sha256_of,
)
from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.calibration import Calibration
from neverblink.vision.sketch import ratio_sketch

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

Tensors = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Artifact:
    """A loaded model. `bank` (M, C) float32, `neighbours` (M, b) int32 or None, `scores` and `peaks` (m,)
    float32: image scores and highest map values of the held-out good images, sorted, one a group. `picture_scores`
    (n,) float32 are those of all pictures, which differ where groups were made. `sketch` is the
    KLL sketch of them / threshold; `probe` (q, C) float32 or None are patches of these images, to choose the search
    with; `region` (R, h, w) bool or None; `graph` and `weights` (n,) uint8 are the int8 network.
    `parts` holds the float32 tensors of U-Net, classifier, alignment and regions, where the manifest has them.
    """

    manifest: Manifest
    digest: str
    bank: Floats
    neighbours: npt.NDArray[np.int32] | None
    scores: Floats
    peaks: Floats
    picture_scores: Floats
    probe: Floats | None
    sketch: bytes
    region: npt.NDArray[np.bool_] | None
    graph: Bytes | None
    weights: Bytes | None
    parts: Mapping[PartName, Tensors] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Return the names of the folder's files, the manifest first."""
        return MANIFEST, TENSORS, *(PARTS[name] for name in self.manifest.parts)

    @property
    def knows_defects(self) -> bool:
        """Say whether it has a U-Net or a classifier."""
        return self.manifest.unet is not None or self.manifest.classifier is not None

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Return the model's version."""
        return self.manifest.version

    @property
    def product(self) -> str:
        """Return the product it knows."""
        return self.manifest.product

    @property
    def backbone(self) -> BackboneSpec:
        """Return the network and preprocessing that make its features."""
        return self.manifest.backbone

    @property
    def threshold(self) -> float:
        """Return the image score above which a part is rejected."""
        return self.manifest.calibration.threshold

    @property
    def map_threshold(self) -> float:
        """Return the map value above which a pixel belongs to a defect region."""
        return self.manifest.calibration.map_threshold

    @property
    def map_normal(self) -> float:
        """Return what a map's highest value is on half of all good parts: below, nothing is remarkable."""
        return float(np.median(self.peaks))


def save_artifact(
    path: Path,
    description: Description,
    *,
    bank: Floats,
    scores: Floats,
    peaks: Floats,
    picture_scores: Floats | None = None,
    probe: Floats | None = None,
    neighbours: npt.NDArray[np.int32] | None = None,
    region: npt.NDArray[np.bool_] | None = None,
    int8: tuple[Bytes, Bytes] | None = None,
    parts: Mapping[PartName, Tensors] | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Write an artifact folder; it appears whole or not at all. The arrays are those of `Artifact`, `int8` graph and
    weights of the int8 network.

    Raises ArtifactError when the folder exists and `overwrite` is not set, or cannot be written.
    """
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "bank": np.ascontiguousarray(bank, dtype=np.float32),
        "scores": np.sort(scores).astype(np.float32),
        "peaks": np.sort(peaks).astype(np.float32),
    }
    if picture_scores is not None:
        tensors["picture_scores"] = np.sort(picture_scores).astype(np.float32)
    if probe is not None:
        tensors["probe"] = np.ascontiguousarray(probe, dtype=np.float32)
    # Drift compares single parts with it: the worst of a group would make all of them look better.
    sketch = ratio_sketch(scores if picture_scores is None else picture_scores, description.calibration.threshold)
    tensors["sketch"] = np.frombuffer(sketch, dtype=np.uint8)
    if neighbours is not None:
        tensors["neighbours"] = np.ascontiguousarray(neighbours, dtype=np.int32)
    if region is not None:
        tensors["region"] = region.astype(np.uint8)
    if int8 is not None:
        tensors |= dict(zip(("graph", "weights"), int8, strict=True))
    content = save_tensors(tensors)
    parts = parts or {}
    files = {name: save_tensors(dict(part)) for name, part in parts.items()}
    manifest = Manifest(
        # The nested models are handed over as they are: they were checked when they were made.
        **{name: getattr(description, name) for name in Description.model_fields},
        tensors=TensorFile(sha256=sha256_of(content), bytes=len(content)),
        parts={name: PartFile(sha256=sha256_of(file), bytes=len(file)) for name, file in files.items()},
    )
    artifact = _assemble(path, manifest, manifest.digest(), tensors, parts)
    if path.exists() and not overwrite:
        raise ArtifactError(f"{path} already exists; choose another folder or version, or overwrite it")
    sealed = Sealed(digest=artifact.digest, manifest=manifest).model_dump_json(indent=2)
    try:
        named = {PARTS[name]: file for name, file in files.items()}
        write_whole_folder(path, {MANIFEST: sealed.encode() + b"\n", TENSORS: content, **named})
    except OSError as error:
        raise ArtifactError(f"the artifact {path} cannot be written: {error.strerror}") from error
    return artifact


def recalibrated(path: Path, calibration: Calibration, *, out: Path, overwrite: bool = False) -> Artifact:
    """Write the artifact at `path` to `out` with another calibration. Raises ArtifactError."""
    found = load_artifact(path)
    changed = {"calibration": calibration.from_the_same(found.manifest.calibration)}
    return _rewritten(found, out, changed, found.bank, found.neighbours, overwrite=overwrite)


def tried(found: Artifact, out: Path, retraining: Retraining) -> Artifact:
    """Write an artifact to `out`, over itself if need be, with the result of its trial. Raises ArtifactError."""
    return _rewritten(found, out, {"retraining": retraining}, found.bank, found.neighbours, overwrite=True)


def extended(
    found: Artifact,
    out: Path,
    *,
    bank: Floats,
    neighbours: npt.NDArray[np.int32] | None,
    images: tuple[str, ...],
    version: str,
    created: datetime,
) -> Artifact:
    """Write an artifact to `out` with a larger bank, whose first vectors are its own, learnt from `images` (digests).

    Raises ArtifactError.
    """
    before = found.manifest.provenance
    changed: dict[str, object] = {
        "version": version,
        "created": created,
        "vectors": len(bank),
        "provenance": before.model_copy(
            update={"images": before.images + images, "added": before.added + len(bank) - len(found.bank)}
        ),
    }
    return _rewritten(found, out, changed, bank, neighbours)


def _rewritten(
    found: Artifact,
    out: Path,
    changed: Mapping[str, Any],
    bank: Floats,
    neighbours: npt.NDArray[np.int32] | None,
    *,
    parts: Mapping[PartName, Tensors] | None = None,
    overwrite: bool = False,
) -> Artifact:
    described = {name: getattr(found.manifest, name) for name in Description.model_fields}
    trial = found.manifest.retraining
    # A model that was changed after its trial was never tried; one that was refused stays so until it is tried again.
    described["retraining"] = trial if trial is not None and trial.refused is not None else None
    return save_artifact(
        out,
        Description(**{**described, **changed}),
        bank=bank,
        scores=found.scores,
        peaks=found.peaks,
        picture_scores=None if found.manifest.calibration.pictures is None else found.picture_scores,
        probe=found.probe,
        neighbours=neighbours,
        region=found.region,
        int8=None if found.graph is None or found.weights is None else (found.graph, found.weights),
        parts=found.parts if parts is None else parts,
        overwrite=overwrite,
    )


def joined(
    found: Artifact,
    out: Path,
    *,
    unet: tuple[UnetPart, Tensors] | None = None,
    classifier: tuple[ClassifierPart, Tensors] | None = None,
    version: str,
    created: datetime,
    overwrite: bool = False,
) -> Artifact:
    """Write an artifact to `out` with a U-Net, a classifier or both in place of those it has. Raises ArtifactError."""
    new: dict[PartName, tuple[UnetPart | ClassifierPart, Tensors] | None] = {"unet": unet, "classifier": classifier}
    changed: dict[str, object] = {name: part[0] for name, part in new.items() if part is not None}
    return _rewritten(
        found,
        out,
        {"version": version, "created": created, **changed},
        found.bank,
        found.neighbours,
        parts={**found.parts, **{name: part[1] for name, part in new.items() if part is not None}},
        overwrite=overwrite,
    )


def load_artifact(path: Path, *, digest: str | None = None) -> Artifact:
    """Read and verify an artifact folder; `digest` is the identity it must have, when that is known.

    Every file's digest, size and shape is checked before it is used, and nothing in it is executed.
    Raises ArtifactError.
    """
    manifest, found = read_manifest(path, digest=digest)
    tensors = _read_tensors(path / TENSORS, manifest.tensors)
    parts = {name: _read_tensors(path / PARTS[name], file) for name, file in manifest.parts.items()}
    return _assemble(path, manifest, found, tensors, parts)


def read_manifest(path: Path, *, digest: str | None = None) -> tuple[Manifest, str]:
    """Read what an artifact says about itself, and its digest; the files that it names are not looked at.

    Raises ArtifactError.
    """
    sealed = _read_manifest(path)
    found = sealed.manifest.digest()
    if found != sealed.digest:
        raise ArtifactError(f"{path / MANIFEST} was altered: its content has digest {found}, it claims {sealed.digest}")
    if digest is not None and found != digest:
        raise ArtifactError(f"{path} is another artifact than asked for: digest {found}, not {digest}")
    return sealed.manifest, found


def _read_tensors(path: Path, file: TensorFile | PartFile) -> dict[str, npt.NDArray[np.generic]]:
    content = _read_bounded(path, file.bytes)
    if len(content) != file.bytes:
        raise ArtifactError(f"{path} is cut off: {len(content)} bytes of {file.bytes}")
    if sha256_of(content) != file.sha256:
        raise ArtifactError(f"{path} was altered: its digest is not the one in the manifest")
    try:
        tensors: dict[str, npt.NDArray[np.generic]] = load_tensors(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is not a safetensors file: {error}") from error
    return tensors


def _assemble(
    path: Path,
    manifest: Manifest,
    digest: str,
    tensors: Mapping[str, npt.NDArray[np.generic]],
    parts: Mapping[PartName, Mapping[str, npt.NDArray[np.generic]]],
) -> Artifact:
    """Check that the tensors are what the manifest says they are."""
    count = manifest.calibration.normals
    wanted: dict[str, tuple[type[np.generic], tuple[int | None, ...]]] = {
        "bank": (np.float32, (manifest.vectors, manifest.dimension)),
        "scores": (np.float32, (count,)),
        "peaks": (np.float32, (count,)),
        "sketch": (np.uint8, (None,)),
    }
    if manifest.calibration.pictures is not None:
        wanted["picture_scores"] = (np.float32, (manifest.calibration.pictures,))
    if manifest.probe:
        wanted["probe"] = (np.float32, (manifest.probe, manifest.dimension))
    if manifest.neighbours:
        wanted["neighbours"] = (np.int32, (manifest.vectors, manifest.neighbours))
    if manifest.regions:
        wanted["region"] = (np.uint8, (manifest.regions, *manifest.grid))
    if manifest.quantised is not None:
        wanted["graph"] = (np.uint8, (manifest.quantised.graph_bytes,))
        wanted["weights"] = (np.uint8, (manifest.quantised.weights_bytes,))
    if tensors.keys() != wanted.keys():
        raise ArtifactError(f"{path} holds the tensors {sorted(tensors)}, expected {sorted(wanted)}")
    for name, (dtype, shape) in wanted.items():
        array = tensors[name]
        fits = len(array.shape) == len(shape) and all(b in (a, None) for a, b in zip(array.shape, shape, strict=True))
        if array.dtype != dtype or not fits:
            raise ArtifactError(
                f"{path}: {name} is {array.dtype} {array.shape}, the manifest says {np.dtype(dtype)} {shape}"
            )
        if dtype is np.float32 and not np.isfinite(array.astype(np.float32, copy=False)).all():
            raise ArtifactError(f"{path}: {name} holds values that are not finite numbers")
    neighbours = tensors.get("neighbours")
    table = None if neighbours is None else neighbours.astype(np.int32, copy=False)
    if table is not None and (table.min() < 0 or table.max() >= manifest.vectors):
        raise ArtifactError(f"{path}: neighbours points outside the bank of {manifest.vectors} vectors")
    probe, region = tensors.get("probe"), tensors.get("region")
    if region is not None and not region.any():
        raise ArtifactError(f"{path}: the region holds no patch, so nothing would ever be judged")
    graph, weights = tensors.get("graph"), tensors.get("weights")
    return Artifact(
        manifest=manifest,
        digest=digest,
        bank=tensors["bank"].astype(np.float32, copy=False),
        neighbours=table,
        scores=tensors["scores"].astype(np.float32, copy=False),
        peaks=tensors["peaks"].astype(np.float32, copy=False),
        picture_scores=tensors.get("picture_scores", tensors["scores"]).astype(np.float32, copy=False),
        probe=None if probe is None else probe.astype(np.float32, copy=False),
        sketch=tensors["sketch"].tobytes(),
        region=None if region is None else region.astype(np.bool_),
        graph=None if graph is None else graph.astype(np.uint8, copy=False),
        weights=None if weights is None else weights.astype(np.uint8, copy=False),
        parts={name: _floats(path / PARTS[name], part) for name, part in parts.items()},
    )


def _floats(path: Path, tensors: Mapping[str, npt.NDArray[np.generic]]) -> Tensors:
    """Check what all parts have in common; names and shapes are the network's own to check."""
    for name, array in tensors.items():
        if array.dtype != np.float32:
            raise ArtifactError(f"{path}: {name} is {array.dtype}, and the tensors of a part are float32")
        if not np.isfinite(array.astype(np.float32, copy=False)).all():
            raise ArtifactError(f"{path}: {name} holds values that are not finite numbers")
    return {name: array.astype(np.float32, copy=False) for name, array in tensors.items()}


def _read_manifest(path: Path) -> Sealed:
    if not path.is_dir():
        raise ArtifactError(f"there is no artifact folder {path}; `neverblink fit` makes one")
    text = _read_bounded(path / MANIFEST, MAX_MANIFEST_BYTES)
    try:
        return Sealed.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the document"
        raise ArtifactError(f"{path / MANIFEST} is not a manifest: {where}: {reason_of(fault)}") from error


def _read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; links are refused, they could lead anywhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            size = os.fstat(descriptor).st_size
            if size > limit:
                raise ArtifactError(f"{path} has {size} bytes, more than the {limit} that are expected")
            return file.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error
