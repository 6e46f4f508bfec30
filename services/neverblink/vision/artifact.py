"""A fitted model as a folder: manifest.json and safetensors files, whose content is its identity."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from neverblink.vision.backbone_spec import SHA256, BackboneSpec
from neverblink.vision.calibration import Calibration
from neverblink.vision.classifier_spec import ClassifierSpec
from neverblink.vision.errors import VisionError, reason_of
from neverblink.vision.sketch import ratio_sketch
from neverblink.vision.tiling import TilePlan
from neverblink.vision.unet_spec import UnetSpec


def plain(name: str) -> str:
    """Return a name that is safe as part of a path and in a log. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError("letters, digits, dots, dashes and underscores make a name, 64 at most, the first no sign")
    return name


Plain = Annotated[str, AfterValidator(plain)]
Digest = Annotated[str, StringConstraints(pattern=SHA256)]
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

PartName = Literal["unet", "classifier"]
Tensors = Mapping[str, npt.NDArray[np.float32]]

MANIFEST = "manifest.json"
TENSORS: Final = "tensors.safetensors"
PARTS: Final[dict[PartName, str]] = {"unet": "unet.safetensors", "classifier": "classifier.safetensors"}
"""The files of what knows known defects, beside the memory bank's."""

MAX_MANIFEST_BYTES = 32 * 1024 * 1024
"""Holds the digests of about 400,000 training images."""

MAX_TENSOR_BYTES = 8 * 1024**3
"""A bank of a million 2,048-wide vectors; a larger one would not answer in time."""

MAX_PART_BYTES = 1024**3
"""A U-Net of 256 million parameters."""


class ArtifactError(VisionError):
    """An artifact that is missing, damaged, altered or not understood; the message says which and where."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Provenance(_Strict):
    """How the model came to be."""

    images: tuple[Digest, ...] = Field(description="sha256 of every training image's file, in order.")
    coreset_ratio: float = Field(gt=0, le=1, description="Share of all patches kept in the bank.")
    projection: int = Field(ge=1, description="Dimensions in which the coreset was chosen.")
    seed: int = Field(ge=0)
    folds: int = Field(ge=2, description="Folds of the calibration.")
    brightness: tuple[float, ...] = Field(
        default=(), max_length=16, description="Factors of the brightened copies that went into the bank too."
    )
    starts: int = Field(default=1, ge=1, description="Random vectors that the coreset began from; 1: with one of them.")
    added: int = Field(default=0, ge=0, description="Vectors that came into the bank by updates, after the coreset.")
    levels: Literal[1, 2] = Field(default=1, description="2: the coreset was chosen from what each fold's had kept.")
    software: dict[str, str] = Field(default={}, description="Versions of what computed it.")


class Retraining(_Strict):
    """How a challenger did against the champion that it was made from."""

    champion: Digest
    mode: Literal["refit", "correction"]
    learnt: int = Field(ge=0, description="Confirmed normals that it learnt from.")
    held_out: int = Field(ge=1, description="Confirmed normals that both models were tried on.")
    refused: str | None = Field(
        default=None, max_length=2000, description="Why it must not score; null: nothing speaks against it."
    )


class ValidatedEngine(_Strict):
    """An engine that was run on training images beside the one that made the bank."""

    name: Plain
    difference: float = Field(ge=0, description="Largest relative difference of an image score.")
    images: int = Field(ge=1, description="Over so many images.")


class Quantised(_Strict):
    """Sizes of the int8 network that travels with the bank, an OpenVINO graph and its weights."""

    graph_bytes: int = Field(ge=1, le=64 * 1024**2)
    weights_bytes: int = Field(ge=1, le=1024**3)


class UnetPart(_Strict):
    """The U-Net of an artifact, and how it came to be."""

    spec: UnetSpec
    created: AwareDatetime
    images: tuple[Digest, ...] = Field(description="sha256 of every image that it learnt from, in order.")
    settings: dict[str, str | int | float | bool | None] = Field(default={}, description="What training was asked for.")
    epochs: int = Field(ge=1, description="Epochs until the weights that were kept.")
    held_out: int = Field(ge=0, description="Images with defects that it was tried on after every epoch.")
    dice: dict[str, float | None] = Field(default={}, description="Dice a type on them; null: none shows the type.")
    held_out_good: int = Field(default=0, ge=0, description="Good images that it was tried on.")
    false_alarms: int = Field(default=0, ge=0, description="Good images among them in which it marks a pixel.")
    false_alarm_bound: float | None = Field(
        default=None, ge=0, le=1, description="With 95 % confidence it does so in no larger share of good images."
    )


class ClassifierPart(_Strict):
    """The classifier of an artifact, and how it came to be."""

    spec: ClassifierSpec
    created: AwareDatetime
    images: tuple[Digest, ...] = Field(description="sha256 of every image that it learnt from, in order.")


class Description(_Strict):
    """What an artifact says about itself, all but the tensor file."""

    format: Literal["neverblink.patchcore.v1"] = "neverblink.patchcore.v1"
    name: Plain
    version: Plain
    product: Plain
    created: AwareDatetime
    backbone: BackboneSpec
    grid: tuple[int, int] = Field(description="Patches (high, wide).")
    dimension: int = Field(ge=1, le=65536, description="Numbers per patch.")
    vectors: int = Field(ge=1, le=100_000_000, description="Patches in the bank.")
    neighbours: int = Field(
        default=0, ge=0, le=64, description="Columns of the neighbour table of eq. 7; 0: score is the plain maximum."
    )
    top: int = Field(default=1, ge=1, le=4096, description="The score is the mean of so many highest patches.")
    smoothing: float = Field(default=4.0, ge=0, le=64, description="Sigma of the map's Gaussian in pixels.")
    tiling: TilePlan | None = Field(default=None, description="How large images are cut, when they are.")
    regions: int = Field(
        default=0, ge=0, le=4096, description="1: only patches inside a region are judged; more: one a tile; 0: all."
    )
    engine: Plain = Field(default="torch", description="The engine that computed bank and threshold.")
    engines: tuple[ValidatedEngine, ...] = Field(default=(), max_length=16, description="Others that agree with it.")
    quantised: Quantised | None = Field(default=None, description="The int8 network, when the engine is one.")
    calibration: Calibration
    provenance: Provenance
    retraining: Retraining | None = Field(default=None, description="Its trial, when it was made by a retraining.")
    unet: UnetPart | None = Field(default=None, description="What segments known defects.")
    classifier: ClassifierPart | None = Field(default=None, description="What names the type of a region.")


class TensorFile(_Strict):
    """The memory bank's file."""

    name: Literal["tensors.safetensors"] = TENSORS
    sha256: Digest
    bytes: int = Field(ge=1, le=MAX_TENSOR_BYTES)


class PartFile(_Strict):
    """The file of a U-Net or a classifier."""

    sha256: Digest
    bytes: int = Field(ge=1, le=MAX_PART_BYTES)


class Manifest(Description):
    """The whole content, the tensors by their digest."""

    tensors: TensorFile
    parts: dict[PartName, PartFile] = Field(default={}, description="The other files: PART.safetensors.")

    @model_validator(mode="after")
    def _each_part_has_its_file(self) -> Self:
        described = {name for name in PARTS if getattr(self, name) is not None}
        if described != self.parts.keys():
            raise ValueError(f"it describes the parts {sorted(described)} and has files of {sorted(self.parts)}")
        return self

    def files(self) -> dict[str, "TensorFile | PartFile"]:
        """Return what the manifest says about the files beside it, by their names."""
        return {TENSORS: self.tensors, **{PARTS[name]: file for name, file in self.parts.items()}}

    def digest(self) -> str:
        """Return the artifact's identity: sha256 of the canonical manifest, which names the tensors' digest."""
        # Without defaults: a field added later leaves the identity of older artifacts as it was.
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
        return _sha256(text.encode())


class _Sealed(_Strict):
    digest: Digest
    manifest: Manifest


@dataclass(frozen=True)
class Artifact:
    """A loaded model. `bank` (M, C) float32, `neighbours` (M, b) int32 or None, `scores` and `peaks` (m,)
    float32: image scores and highest map values of the held-out good images, sorted. `sketch` is the KLL sketch
    of scores / threshold; `region` (R, h, w) bool or None; `graph` and `weights` (n,) uint8 are the int8 network.
    `parts` holds the float32 tensors of U-Net and classifier, where the manifest has them.
    """

    manifest: Manifest
    digest: str
    bank: Floats
    neighbours: npt.NDArray[np.int32] | None
    scores: Floats
    peaks: Floats
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


def save_artifact(
    path: Path,
    description: Description,
    *,
    bank: Floats,
    scores: Floats,
    peaks: Floats,
    neighbours: npt.NDArray[np.int32] | None = None,
    region: npt.NDArray[np.bool_] | None = None,
    graph: Bytes | None = None,
    weights: Bytes | None = None,
    parts: Mapping[PartName, Tensors] | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Write an artifact folder; it appears whole or not at all. The arrays are those of `Artifact`.

    Raises ArtifactError when the folder exists and `overwrite` is not set, or cannot be written.
    """
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "bank": np.ascontiguousarray(bank, dtype=np.float32),
        "scores": np.sort(scores).astype(np.float32),
        "peaks": np.sort(peaks).astype(np.float32),
        "sketch": np.frombuffer(ratio_sketch(scores, description.calibration.threshold), dtype=np.uint8),
    }
    if neighbours is not None:
        tensors["neighbours"] = np.ascontiguousarray(neighbours, dtype=np.int32)
    if region is not None:
        tensors["region"] = region.astype(np.uint8)
    if graph is not None and weights is not None:
        tensors |= {"graph": graph, "weights": weights}
    content = save_tensors(tensors)
    parts = parts or {}
    files = {name: save_tensors(dict(part)) for name, part in parts.items()}
    manifest = Manifest(
        # The nested models are handed over as they are: they were checked when they were made.
        **{name: getattr(description, name) for name in Description.model_fields},
        tensors=TensorFile(sha256=_sha256(content), bytes=len(content)),
        parts={name: PartFile(sha256=_sha256(file), bytes=len(file)) for name, file in files.items()},
    )
    artifact = _assemble(path, manifest, manifest.digest(), tensors, parts)
    if path.exists() and not overwrite:
        raise ArtifactError(f"{path} already exists; choose another folder or version, or overwrite it")
    sealed = _Sealed(digest=artifact.digest, manifest=manifest).model_dump_json(indent=2)
    try:
        named = {PARTS[name]: file for name, file in files.items()}
        _replace_folder(path, {MANIFEST: sealed.encode() + b"\n", TENSORS: content, **named})
    except OSError as error:
        raise ArtifactError(f"the artifact {path} cannot be written: {error.strerror}") from error
    return artifact


def recalibrated(path: Path, calibration: Calibration, *, out: Path, overwrite: bool = False) -> Artifact:
    """Write the artifact at `path` to `out` with another calibration. Raises ArtifactError."""
    found = load_artifact(path)
    return _rewritten(found, out, {"calibration": calibration}, found.bank, found.neighbours, overwrite=overwrite)


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
        neighbours=neighbours,
        region=found.region,
        graph=found.graph,
        weights=found.weights,
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
    if _sha256(content) != file.sha256:
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
    region = tensors.get("region")
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


def _read_manifest(path: Path) -> _Sealed:
    if not path.is_dir():
        raise ArtifactError(f"there is no artifact folder {path}; `neverblink fit` makes one")
    text = _read_bounded(path / MANIFEST, MAX_MANIFEST_BYTES)
    try:
        return _Sealed.model_validate_json(text)
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


def _replace_folder(path: Path, files: Mapping[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent))
    try:
        fresh.chmod(0o755)
        for name, content in files.items():
            with (fresh / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if path.exists():
            retired = fresh.with_suffix(".old")
            path.rename(retired)
            fresh.rename(path)
            shutil.rmtree(retired)
        else:
            fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
