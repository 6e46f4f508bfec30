"""What the jobs that judge models are asked to do. Nothing heavy is imported."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from neverblink.job_life.settings import JobSettings, Spelling, unit
from neverblink.trainer.datasets.settings import OWN_WEIGHTS, FixedEngine, PictureSettings
from neverblink.vision.pictures.stated_depth import Depth
from neverblink.vision.plain_name import Plain


class EvaluateJob(PictureSettings):
    """What `neverblink evaluate` is asked to do."""

    images: Annotated[Path, Spelling(argument=True)] = Field(description="Folder in MVTec layout.")
    artifact: Path = Field(description="Artifact folder.")
    weights: Path | None = Field(default=None, description=OWN_WEIGHTS)
    report: Annotated[Path | None, Spelling(metavar="FILE.html")] = Field(
        default=None, description="Write a page with plots and the worst images, and FILE.json beside it."
    )
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N.")
    engine: FixedEngine = Field(
        default="auto", description="What runs the backbone; auto: torch-cuda on a GPU, openvino on a CPU."
    )
    plant: Annotated[Path | None, Spelling(short="-p")] = Field(
        default=None, description="Plant file: known defects are decided by its rules for the product."
    )
    station: str | None = Field(
        default=None,
        description="LINE/STATION that the images come from, where the product's have different mm_per_px.",
    )
    depth: Depth | None = Field(
        default=None,
        description="Bits that values of 16-bit pictures use. Default: the plant file's or artifact's.",
        json_schema_extra=unit("bit"),
    )

    @model_validator(mode="after")
    def _station_of_a_plant(self) -> Self:
        if self.station is not None and self.plant is None:
            raise ValueError("--station is one of the --plant file: name that too")
        return self


_NAME_BOTH = "name a folder of images and --config FILE.yaml; --example prints such a file"


class CompareJob(JobSettings):
    """What `neverblink compare` is asked to do."""

    images: Annotated[Path, Spelling(argument=True, missing=_NAME_BOTH)] = Field(description="Folder in MVTec layout.")
    config: Annotated[Path, Spelling(short="-c", missing=_NAME_BOTH)] = Field(
        description="YAML list of configurations; --example prints one."
    )
    folder: Path = Field(
        default=Path("runs/compare"), description="Models and comparison.json go here, and are found again."
    )
    product: Plain | None = Field(default=None, description="Name of the product. Default: the image folder's.")
