"""What a model is made with, and what the jobs that make one are asked to do. Nothing heavy is imported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic.json_schema import SkipJsonSchema

from neverblink.job_life.settings import JobSettings, SettingsError, Spelling, fault_of, unit
from neverblink.job_life.yaml_file import read_yaml
from neverblink.trainer.datasets.settings import OWN_WEIGHTS, AnyEngine, GroupBy, PictureSettings
from neverblink.vision.alignment.spec import Align
from neverblink.vision.colour import Clahe, Gain
from neverblink.vision.named_regions.spec import RegionsFile, load_regions
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.pictures.stated_depth import Depth
from neverblink.vision.plain_name import Plain
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.tile_plan import TilePlan

PROGRAM_GIB = 1.0
"""What the program, its network and a batch need besides features: 0.7 GiB with ResNet-18 at 256 px, and some air."""

LEAST_GIB = PROGRAM_GIB + 0.25


def _polygons(value: object) -> object:
    """Read polygons where a region names a YAML file. Raises SettingsError."""
    if isinstance(value, str | Path) and Path(value).suffix.lower() in {".yaml", ".yml", ".json"}:
        return read_yaml(Path(value), "region", SettingsError)
    return value


def _named(value: object) -> object:
    """Read named regions where a setting names a file. Raises RegionsError."""
    return load_regions(Path(value)) if isinstance(value, str | Path) else value


Regions = Annotated[Path | RegionsFile | None, BeforeValidator(_named)]
"""Named regions; those of a file are read at once."""

Region = Annotated[Path | RegionOfInterest | None, BeforeValidator(_polygons)]
"""A mask image, or polygons; those of a YAML file are read at once."""


class ModelSettings(JobSettings):
    """What a model is made with; the defaults are what `neverblink fit` uses."""

    model: Annotated[str, Spelling(old=("--backbone",))] = Field(
        default=DEFAULT_MODEL, description="timm's name of the network; `neverblink backbones` lists what was tried."
    )
    weights: Path | None = Field(default=None, description="Weights file (safetensors) instead.")
    levels: Annotated[tuple[int, ...] | None, Spelling(in_files_only=True)] = Field(
        default=None, min_length=1, max_length=4, description="Feature levels. Default: what suits the network."
    )
    dimension: Annotated[int | None, Spelling(in_files_only=True)] = Field(
        default=None,
        ge=8,
        le=4096,
        description="Numbers per patch after pooling, 1024 in the official code. Default: the channels of all levels.",
    )
    size: int = Field(
        default=256,
        ge=32,
        le=4096,
        description="Images are resized to this square.",
        json_schema_extra=unit("px"),
    )
    crop: int | None = Field(
        default=None, ge=32, le=4096, description="Then only the centre is kept.", json_schema_extra=unit("px")
    )
    # Five draws of a bank of 1 % differ by more than what most other settings bring: docs/benchmarks/models.md.
    # Programs that write settings give a number or leave it out: to them it stays a number.
    ratio: Annotated[float, Field(ge=0.0001, le=1)] | SkipJsonSchema[None] = Field(
        default=None,
        description="Share of patches in the memory bank. Default: 0.04, more of few images and less of thousands.",
    )
    # On magnetic tiles 64 dimensions give the AUROC of all 152 (0.872, 0.873) in 0.4 of the coreset's time.
    projection: Annotated[int, Spelling(in_files_only=True)] = Field(
        default=64, ge=1, le=4096, description="Dimensions in which the memory bank is chosen."
    )
    starts: Annotated[int, Spelling(in_files_only=True)] = Field(
        default=1, ge=1, le=100, description="Random starting points of the coreset; the official code has 10."
    )
    folds: Annotated[int, Spelling(in_files_only=True)] = Field(
        default=5, ge=2, le=100, description="Banks that calibrate the threshold, each without its share of the images."
    )
    false_reject: float | None = Field(
        default=None,
        ge=0.0001,
        le=0.5,
        description="Promise. Default: 0.01, or the tightest that the images allow.",
    )
    group_by: Annotated[GroupBy | None, Spelling(metavar="folder|minute|REGEX")] = Field(
        default=None,
        description="Pictures of one folder or minute, or alike in the REGEX's brackets, count as one in the promise.",
    )
    robust: bool = Field(
        default=False,
        description="Take pictures that stand out for not good, a twentieth at most, and leave them out.",
    )
    top: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Score: mean of so many highest patches; 1 is the paper's maximum.",
    )
    neighbours: Annotated[int, Spelling(old=("--eq7",))] = Field(
        default=0, ge=0, le=64, description="Neighbours of the paper's re-weighting (eq. 7); 0 is without."
    )
    keep_aspect: bool = Field(default=False, description="Pad images to a square instead of stretching them.")
    white_balance: tuple[Gain, Gain, Gain] | None = Field(
        default=None, description="Fixed gains of red, green and blue: 1.1,1,0.9."
    )
    clahe: Annotated[Clahe | None, Spelling(metavar="LIMIT")] = Field(
        default=None, description="Equalise local contrast (CLAHE) with this clip limit."
    )
    depth: Depth | None = Field(
        default=None,
        description="Bits that values of 16-bit pictures use: 12 where white is 4095. Default: such are refused.",
        json_schema_extra=unit("bit"),
    )
    brightness: tuple[float, ...] = Field(
        default=(0.8, 1.0, 1.2),
        min_length=1,
        max_length=16,
        description="The bank knows each image once a factor; 1 for as it is alone.",
    )
    align: Align = Field(
        default="none",
        description="Turn parts that lie anyhow alike, by silhouette or template; auto: where pictures call for it.",
    )
    region: Region = Field(default=None, description="What is judged: a mask image, or polygons in a YAML file.")
    regions: Annotated[Regions, Spelling(metavar="FILE")] = Field(
        default=None, description="Named regions, each with a rule of its own: `neverblink region preview`."
    )
    tiling: Annotated[
        TilePlan | None, Spelling(metavar="PX", old_parts=(("--tile", "tile"), ("--overlap", "overlap")))
    ] = Field(
        default=None,
        description="Cut large images into tiles of so many pixels; tile=512,overlap=0.3 says more.",
    )
    engine: Annotated[AnyEngine, Spelling(metavar="ENGINE")] = Field(
        default="auto", description="auto, torch, torch-cuda, openvino, openvino-bf16 or -int8 (both checked)."
    )
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N.")
    memory_gib: Annotated[float, Spelling(old=("--memory",))] = Field(
        default=4.0,
        ge=LEAST_GIB,
        description="GiB that the job may hold; more features go to a file.",
        json_schema_extra=unit("GiB"),
    )
    scratch: Path | None = Field(default=None, description="Folder of that file. Default: the system's.")
    seed: int = Field(default=0, ge=0, description="The same seed gives the same model.")


class FitSettings(ModelSettings):
    """What a model is made with, and what it is called."""

    product: Plain
    name: Plain
    version: Plain = "1"


class _GoodParts(JobSettings):
    images: Annotated[Path, Spelling(argument=True)] = Field(
        description="Folder of good images, or one in MVTec layout."
    )
    product: Plain = Field(description="Name of the product, as in the plant file.")
    out: Annotated[Path | None, Spelling(short="-o")] = Field(
        default=None, description="Artifact folder to write. Default: artifacts/PRODUCT."
    )
    model_version: Plain = Field(default="1", description="Version to write into the artifact.")


class FitJob(ModelSettings, PictureSettings, _GoodParts):
    """What `neverblink fit` is asked to do."""

    exclude: Annotated[tuple[str, ...], Spelling(metavar="FILE|GLOB")] = Field(
        default=(),
        max_length=10_000,
        description="Leave this picture out, or those that a pattern such as 'lot7/*' names; may be given again.",
    )
    alignment: Path | None = Field(
        default=None, description="Turn parts alike as this file says, which `look-over --align` has kept."
    )
    replace: bool = Field(default=False, description="Write over an earlier artifact of the same product.")
    report: Annotated[Path | None, Spelling(metavar="FILE.html")] = Field(
        default=None, description="Write a page on what the promise costs, and FILE.json beside it."
    )
    gallery: Path | None = Field(
        default=None,
        description="Folder for small JPEGs of what stands out and of the defects that stand out least; the result"
        " names them.",
    )

    @property
    def folder(self) -> Path:
        """Return where the artifact goes."""
        return self.out or Path("artifacts") / self.product

    @property
    def of_the_model(self) -> FitSettings:
        """Return what the model is made with; its name is the product's."""
        values = {name: getattr(self, name) for name in ModelSettings.model_fields}
        return FitSettings(product=self.product, name=self.product, version=self.model_version, **values)


def settings_from(values: Mapping[str, object]) -> FitSettings:
    """Check settings that come from outside, such as a list of configurations. Raises SettingsError in one sentence.

    A `region` that names a YAML file is read as polygons.
    """
    try:
        return FitSettings.model_validate(values)
    except ValidationError as error:
        place, reason = fault_of(error)
        raise SettingsError(f"{place}: {reason}") from error


class CalibrateJob(JobSettings):
    """What `neverblink calibrate` is asked to do."""

    artifact: Annotated[Path, Spelling(argument=True)] = Field(description="Artifact folder; it stays as it is.")
    out: Annotated[Path, Spelling(short="-o")] = Field(description="Folder for the recalibrated artifact.")
    false_reject: float | None = Field(
        default=None,
        ge=0.0001,
        le=0.5,
        description="Promise: at most this share of good parts is rejected, 95 % sure.",
    )
    cost: Annotated[str | None, Spelling(metavar="FP:FN")] = Field(
        default=None,
        description="Cost of a false reject and of a missed defect, such as 1:50. Needs --images.",
    )
    threshold: float | None = Field(default=None, ge=0, description="A threshold of your own.")
    unsure: float | None = Field(
        default=None,
        ge=0.0001,
        le=0.9,
        description="Also open a band below the threshold: at most this share of good parts above it.",
    )
    images: Path | None = Field(
        default=None, description="Folder in MVTec layout: also tells how many of its images change side."
    )
    weights: Path | None = Field(default=None, description=OWN_WEIGHTS)

    @field_validator("cost", mode="before")
    @classmethod
    def _costs(cls, value: object) -> object:
        if isinstance(value, int | float):
            # YAML 1.1 takes 1:50 for minutes and seconds.
            raise ValueError('costs are a text: write them in quotes, "1:50"')
        return value


class UpdateJob(PictureSettings):
    """What `neverblink update` is asked to do."""

    artifact: Annotated[Path, Spelling(argument=True)] = Field(description="Artifact folder; it stays as it is.")
    images: Annotated[Path, Spelling(argument=True)] = Field(
        description="Folder of images of good parts, such as confirmed false alarms."
    )
    out: Annotated[Path, Spelling(short="-o")] = Field(description="Folder for the updated artifact.")
    model_version: Plain | None = Field(
        default=None, description="Its version; default: 1-plus12 for version 1 and 12 images."
    )
    share: float = Field(
        default=0.01,
        ge=0.0001,
        le=1,
        description="At most this share of the images' patches goes into the bank.",
    )
    weights: Path | None = Field(default=None, description=OWN_WEIGHTS)
