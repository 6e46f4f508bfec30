"""What `neverblink inspect` is asked to do. Nothing heavy is imported."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from neverblink.job_life.settings import Instant, JobSettings, Spelling, unit
from neverblink.trainer.datasets.settings import OWN_WEIGHTS, FixedEngine

Level = Literal["I", "II", "III"]
Severity = Literal["normal", "tightened"]


class InspectJob(JobSettings):
    """What `neverblink inspect` is asked to do."""

    images: Annotated[Path | None, Spelling(argument=True)] = Field(
        default=None, description="Folder of images, with its sub-folders."
    )
    artifact: Annotated[Path, Spelling(missing="name the model with --artifact FOLDER")] = Field(
        description="Artifact folder."
    )
    out: Annotated[Path | None, Spelling(short="-o")] = Field(
        default=None, description="Folder of this inspection. Default: one of its own below runs/inspect."
    )
    gallery: Path | None = Field(
        default=None,
        description="Folder for small JPEGs of a folder's first 200 images with what was found; the result names them.",
    )
    kafka: bool = Field(default=False, description="Inspect frames that Kafka still keeps, from the plant's topic.")
    since: Annotated[Instant | None, Spelling(metavar="INSTANT")] = Field(
        default=None,
        validation_alias="from",
        serialization_alias="from",
        description="Frames published from then on: 2026-11-01T06:00.",
    )
    until: Annotated[Instant | None, Spelling(metavar="INSTANT")] = Field(
        default=None,
        validation_alias="to",
        serialization_alias="to",
        description="Frames before that. Default: up to the start.",
    )
    line: tuple[str, ...] = Field(default=(), description="Only of this line; may be given again.")
    station: tuple[str, ...] = Field(
        default=(),
        description="LINE/STATION: only of this one, may be given again; where a folder's images come from.",
    )
    plant: Annotated[Path | None, Spelling(short="-p")] = Field(
        default=None, description="Plant file: its Kafka, and its rules for the product."
    )
    product: str | None = Field(default=None, description="What is inspected. Default: the artifact's product.")
    threshold: Literal["own", "in-force"] = Field(
        default="own",
        description="own: the artifact's; in-force: what people edited it to at the stations that it scores.",
    )
    second: Annotated[Path | None, Spelling(metavar="ARTIFACT")] = Field(
        default=None, description="A stronger artifact that judges doubtful images again."
    )
    second_from: float = Field(
        default=0.8,
        ge=0,
        le=10,
        description="From this share of the threshold on, beside all rejected and unsure ones.",
    )
    aql: float | None = Field(
        default=None,
        gt=0,
        description="Inspect a sample by ISO 2859-1 with this AQL, percent: 0.65, 1.0, 2.5.",
        json_schema_extra=unit("%"),
    )
    lot_size: int | None = Field(
        default=None, ge=2, description="Parts in the lot. Default: those that there are images of."
    )
    level: Level = Field(default="II", description="General inspection level.")
    tightened: bool = Field(
        default=False, description="Tightened inspection: after 2 of 5 lots in a row were not accepted."
    )
    seed: int = Field(default=0, ge=0, description="Draws the sample; the same seed draws the same parts.")
    against: Annotated[Literal["verdicts"] | Path | None, Spelling(metavar="FILE|verdicts")] = Field(
        default=None,
        description="Compare with an earlier inspection's Parquet file, or the plant's verdicts.",
    )
    depth: int | None = Field(
        default=None,
        ge=8,
        le=16,
        description="Bits that values of 16-bit pictures use. Default: the plant file's or artifact's.",
        json_schema_extra=unit("bit"),
    )
    weights: Path | None = Field(default=None, description=OWN_WEIGHTS)
    second_weights: Path | None = Field(default=None, description="Weights file of the second artifact.")
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N.")
    engine: FixedEngine = Field(
        default="auto", description="What runs the backbone; auto: torch-cuda on a GPU, openvino on a CPU."
    )
    batch: int = Field(default=32, ge=1, le=1024, description="Images in one forward pass.")
    save_every: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="Seconds of work that a kill may cost at most.",
        json_schema_extra=unit("s"),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.images is None) is not self.kafka:
            raise ValueError("name a folder of images, or --kafka for frames, and not both")
        if self.kafka and (self.plant is None or self.since is None):
            raise ValueError("--kafka needs the --plant file and --from, the instant to begin with")
        if not self.kafka and (self.since is not None or self.until is not None):
            raise ValueError("--from and --to are for frames: they go with --kafka")
        if self.kafka and self.gallery is not None:
            raise ValueError("--gallery is for a folder of images")
        if self.aql is None and self.lot_size is not None:
            raise ValueError("--lot-size is for a sampling plan: name its --aql too")
        if self.threshold == "in-force" and (self.plant is None or not (self.kafka or self.station)):
            raise ValueError("--threshold in-force is a station's: name the --plant file, and a folder's --station")
        return self
