"""What an artifact says of itself: models without arrays, free of torch."""

import hashlib
import json
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from neverblink.vision.alignment.spec import AlignmentSpec
from neverblink.vision.backbone_spec import SHA256, BackboneSpec
from neverblink.vision.calibration import Calibration
from neverblink.vision.classifier_spec import ClassifierSpec
from neverblink.vision.errors import VisionError
from neverblink.vision.named_regions.spec import RegionsSpec
from neverblink.vision.plain_name import Plain
from neverblink.vision.tile_plan import TilePlan
from neverblink.vision.unet_spec import UnetSpec

Digest = Annotated[str, StringConstraints(pattern=SHA256)]
PartName = Literal["unet", "classifier", "alignment", "named_regions"]
MANIFEST = "manifest.json"
TENSORS: Final = "tensors.safetensors"
PARTS: Final[dict[PartName, str]] = {
    "unet": "unet.safetensors",
    "classifier": "classifier.safetensors",
    "alignment": "alignment.safetensors",
    "named_regions": "named_regions.safetensors",
}
"""The files beside the memory bank's: what knows known defects, what parts are found by, what named regions are."""

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
    groups: tuple[int, ...] = Field(
        default=(),
        description="Group of each image that calibrated, in order; none: each is its own.",
    )
    grouped_by: str | None = Field(
        default=None,
        max_length=200,
        description="folder, minute or a regular expression that joined images beside copies; null: copies alone.",
    )
    excluded: dict[str, Digest] = Field(
        default={}, description="Images that a person, or a robust fit, left out: path below their folder, sha256."
    )
    coreset_ratio: float = Field(gt=0, le=1, description="Share of all patches kept in the bank.")
    usual_ratio: bool = Field(
        default=False, description="Nobody asked for that share: it is what a fit takes of so many patches."
    )
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
    probe: int = Field(
        default=0, ge=0, le=65536, description="Patches of calibration images that are kept to choose the search with."
    )
    smoothing: float = Field(default=4.0, ge=0, le=64, description="Sigma of the map's Gaussian in pixels.")
    tiling: TilePlan | None = Field(default=None, description="How large images are cut, when they are.")
    alignment: AlignmentSpec | None = Field(
        default=None, description="How parts that lie anyhow are found and turned alike; null: they are not."
    )
    named_regions: RegionsSpec | None = Field(
        default=None, description="Regions with a name and a rule of their own; null: the part is judged as one."
    )
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

    @property
    def depth(self) -> int | None:
        """Return how many bits the values of the 16-bit pictures use that it was made from, None: there were none."""
        return self.backbone.preprocess.depth


class TensorFile(_Strict):
    """The memory bank's file."""

    name: Literal["tensors.safetensors"] = TENSORS
    sha256: Digest
    bytes: int = Field(ge=1, le=MAX_TENSOR_BYTES)


class PartFile(_Strict):
    """The file of a U-Net, a classifier, an alignment or named regions."""

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
        return sha256_of(text.encode())


class Sealed(_Strict):
    """A manifest together with the digest of all that it describes: the file that makes a folder an artifact."""

    digest: Digest
    manifest: Manifest


def sha256_of(content: bytes) -> str:
    """Return the digest of a file's content, as manifests name it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
