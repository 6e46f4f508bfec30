"""What the jobs that teach known defects are asked to do. Nothing heavy is imported."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neverblink.job_life.settings import JobSettings, Spelling, unit
from neverblink.trainer.datasets.settings import OWN_WEIGHTS, PictureSettings
from neverblink.trainer.fitting.settings import Region
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.pictures.stated_depth import Depth
from neverblink.vision.plain_name import Plain

_NAME_FOLDERS = "name a folder of good images and --out FOLDER; --example prints a policy"
_NAME_ALL = "name folders of images, --artifact FOLDER and --out FOLDER; --example prints a policy"


class SynthesizeJob(PictureSettings):
    """What `neverblink synthesize` is asked to do."""

    images: Annotated[Path, Spelling(argument=True, missing=_NAME_FOLDERS)] = Field(
        description="Folder of good images, or one in MVTec layout."
    )
    out: Annotated[Path, Spelling(short="-o", missing=_NAME_FOLDERS)] = Field(
        description="New folder for the data set."
    )
    kinds: Annotated[tuple[str, ...] | None, Spelling(commas=True)] = Field(
        default=None, description="Kinds to draw, such as scratch,stain. Default: all."
    )
    per_kind: int = Field(default=20, ge=1, le=100_000, description="Images of each kind.")
    seed: int = Field(default=0, ge=0, description="The same seed gives the same files.")
    region: Region = Field(
        default=None,
        description="Where defects may be: a mask image, or polygons (YAML). Default: the part, if it is clear.",
    )
    scale: float | None = Field(
        default=None,
        description="Millimetres a pixel, for a policy in mm.",
        json_schema_extra=unit("mm/px") | {"exclusiveMinimum": 0},
    )
    light: float = Field(
        default=135,
        ge=-360,
        le=360,
        description="Degrees that light comes from: 0 right, 90 top, 180 left.",
        json_schema_extra=unit("°"),
    )
    policy: Annotated[Path | None, Spelling(metavar="FILE.yaml")] = Field(
        default=None, description="Sizes, contrasts and counts; --example prints one."
    )
    foreign: Path | None = Field(default=None, description="Folder of images that foreign objects are cut from.")
    depth: Depth | None = Field(
        default=None,
        description="Bits that values of 16-bit pictures use; eight are written.",
        json_schema_extra=unit("bit"),
    )


class Schooling(JobSettings):
    """What a U-Net is trained with, as far as a person chooses it."""

    classes: Literal["types", "binary"] = Field(
        default="types",
        description="types: tells defect types apart; binary: only defect or not, for few images a type.",
    )
    # Magnetic tiles, 40 epochs each: held-out Dice 0.74 with EfficientNet-Lite0, 0.25 with a plain U-Net of width 16.
    encoder: str = Field(
        default=DEFAULT_MODEL,
        description="Network that it starts from, by timm's name; plain: none, from scratch.",
    )
    width: int = Field(default=16, ge=4, le=256, description="Channels of its finest level.")
    depth: int = Field(default=4, ge=1, le=6, description="How often the image is halved.")
    epochs: int = Field(default=40, ge=1, le=10_000, description="Epochs at most.")
    patience: int = Field(default=12, ge=1, le=10_000, description="Stop after so many without a better Dice.")
    batch: int = Field(default=8, ge=1, le=1024, description="Images a step.")
    learning_rate: float = Field(default=2e-3, ge=1e-6, le=1, description="Its highest value.")
    held_out: float = Field(
        default=0.2,
        ge=0.01,
        le=0.9,
        description="Share that tries it after every epoch and sets its thresholds.",
    )
    real_weight: float = Field(
        default=1.0,
        ge=0.01,
        le=100,
        description="How often a real defect is shown for each synthetic one.",
    )
    seed: int = Field(default=0, ge=0, description="The same seed gives the same U-Net on a CPU.")
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N.")
    workers: int = Field(default=0, ge=0, le=64, description="Threads that prepare images ahead, for a GPU.")


class _Taught(PictureSettings):
    images: Annotated[tuple[Path, ...], Spelling(argument=True, missing=_NAME_ALL)] = Field(
        min_length=1, description="Folders in MVTec layout with masks, real or synthetic."
    )
    artifact: Annotated[Path, Spelling(missing=_NAME_ALL)] = Field(
        description="Artifact that the U-Net joins; it stays as it is."
    )
    out: Annotated[Path, Spelling(short="-o", missing=_NAME_ALL)] = Field(description="Folder for the new artifact.")


class TrainUnetJob(Schooling, _Taught):
    """What `neverblink train-unet` is asked to do."""

    resize: int | None = Field(
        default=None,
        ge=32,
        le=4096,
        description="Side of its input, pixels; default: the artifact's.",
        json_schema_extra=unit("px"),
    )
    encoder_weights: Path | None = Field(
        default=None, description="Weights file of the encoder, where they are not installed."
    )
    focal: float = Field(
        default=0.0,
        ge=0,
        le=5,
        description="Focal loss: how strongly pixels that are right are left out.",
    )
    leave: float = Field(
        default=0.2,
        ge=0,
        le=0.9,
        description="Share of real images that it never sees, for `evaluate`.",
    )
    augmentation: Annotated[Path | None, Spelling(metavar="FILE.yaml")] = Field(
        default=None, description="How images are varied; --example prints such a file."
    )
    checkpoint: Path | None = Field(
        default=None, description="File that is written after every epoch, to go on from with --resume."
    )
    resume: bool = Field(default=False, description="Go on from the checkpoint, where it is there.")
    model_version: Plain | None = Field(default=None, description="Default: 1-unet for version 1.")

    @model_validator(mode="after")
    def _resumes_from_something(self) -> Self:
        if self.resume and self.checkpoint is None:
            raise ValueError("--resume needs the --checkpoint file to go on from")
        return self


class TrainClassifierJob(PictureSettings):
    """What `neverblink train-classifier` is asked to do."""

    images: Annotated[tuple[Path, ...], Spelling(argument=True)] = Field(
        min_length=1, description="Folders in MVTec layout with masks or boxes.csv."
    )
    artifact: Path = Field(description="Artifact that the classifier joins; it stays as it is.")
    out: Annotated[Path, Spelling(short="-o")] = Field(description="Folder for the new artifact.")
    unknown_rate: float | None = Field(
        default=None,
        ge=0.001,
        le=0.5,
        description="Share of known defects that may be called unknown. Default: 5 %, or what is possible.",
    )
    min_confidence: float = Field(default=0.0, ge=0, le=1, description="Below this confidence a defect is unknown too.")
    leave: float = Field(default=0.2, ge=0, le=0.9, description="Share of images that it never sees, for `evaluate`.")
    weights: Path | None = Field(default=None, description=OWN_WEIGHTS)
    drawn_only: bool = Field(
        default=False,
        description="Learn from masks and boxes alone, not from what the models mark: where they mark the wrong"
        " places.",
    )
    seed: int = Field(default=0, ge=0, description="The same seed gives the same classifier.")
    model_version: Plain | None = Field(default=None, description="Default: 1-classifier for version 1.")
