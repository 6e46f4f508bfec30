"""What the job that looks pictures over is asked to do. Nothing heavy is imported."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from neverblink.job_life.settings import Instant, JobSettings, Spelling, unit
from neverblink.trainer.datasets.settings import GroupBy
from neverblink.vision.alignment.spec import Align
from neverblink.vision.pictures.stated_depth import Depth


class LookOverJob(JobSettings):
    """What `neverblink look-over` is asked to do."""

    images: Annotated[Path, Spelling(argument=True)] = Field(
        description="Folder of good images, or one in MVTec layout; with --station where frames are put first."
    )
    group_by: Annotated[GroupBy | None, Spelling(metavar="folder|minute|REGEX")] = Field(
        default=None, description="Pictures of one folder or minute, or alike in the REGEX's brackets, count as one."
    )
    depth: Depth | None = Field(
        default=None,
        description="Bits that values of 16-bit pictures use: 12 where white is 4095. Default: such are refused.",
        json_schema_extra=unit("bit"),
    )
    gallery: Path | None = Field(
        default=None, description="Folder for a small JPEG of each picture; the result names them."
    )
    most: int = Field(default=10_000, ge=1, le=100_000, description="More pictures than that are refused.")
    align: Align | None = Field(
        default=None, description="Also find the parts as `fit --align` would, and tell how they lie."
    )
    alignment: Path | None = Field(
        default=None, description="With --align: find them as this file says, which an earlier look over has kept."
    )
    apart: Annotated[tuple[str, ...], Spelling(metavar="PATH")] = Field(
        default=(),
        max_length=10_000,
        description="From this picture, by its path below the folder, is not learnt how parts lie; may be given again.",
    )
    station: Annotated[str | None, Spelling(metavar="LINE/STATION")] = Field(
        default=None, description="First take frames of this station from the plant's topic."
    )
    since: Annotated[Instant | None, Spelling(metavar="INSTANT")] = Field(
        default=None,
        validation_alias="from",
        serialization_alias="from",
        description="Frames published from then on: 2026-11-01T06:00.",
    )
    until: Annotated[Instant | None, Spelling(metavar="INSTANT")] = Field(
        default=None, validation_alias="to", serialization_alias="to", description="Frames before that. Default: now."
    )
    product: str | None = Field(default=None, description="Frames of which product. Default: the station's.")
    take: int = Field(
        default=300,
        ge=2,
        le=10_000,
        description="So many of the span's frames, drawn evenly; all where there are fewer.",
    )
    plant: Annotated[Path | None, Spelling(short="-p")] = Field(
        default=None, description="Plant file: its Kafka, and where large frames lie."
    )
    seed: int = Field(default=0, ge=0, description="The same seed draws the same frames of the same span.")

    @model_validator(mode="after")
    def _frames_have_a_place_and_a_time(self) -> Self:
        if self.station is None:
            if self.since or self.until or self.product:
                raise ValueError("--from, --to and --product are of frames: name their --station")
            return self
        line, _, station = self.station.partition("/")
        if not line or not station:
            raise ValueError(f"--station is LINE/STATION, such as line-1/top, and not {self.station!r}")
        if self.since is None or self.plant is None:
            raise ValueError("frames are taken from a plant's topic, from an instant on: --plant FILE --from INSTANT")
        return self
