"""What the jobs that learn from confirmed parts are asked to do. Nothing heavy is imported."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from neverblink.job_life.settings import Instant, JobSettings, Spelling, unit
from neverblink.trainer.datasets.settings import PictureSettings
from neverblink.trainer.fitting.settings import LEAST_GIB
from neverblink.vision.plain_name import Plain

HoldOutBy = Literal["hash", "time"]


def shift_hours(hours: tuple[int, ...]) -> tuple[int, ...]:
    """Return the hours at which shifts begin. Raises ValueError when they are none."""
    if not hours or list(hours) != sorted(set(hours)) or not all(0 <= hour < 24 for hour in hours):
        said = ",".join(map(str, hours))
        raise ValueError(f"shifts begin at hours of the day in their order, such as 6,14,22, not at {said!r}")
    return hours


_LINES = "All stations of a line; may be given again."
_STATIONS = "LINE/STATION; may be given again."
_PRODUCT = "All stations that inspect it."


class RetrainJob(PictureSettings):
    """What `neverblink retrain` is asked to do."""

    normals: Annotated[Path, Spelling(argument=True)] = Field(
        description="Folder of confirmed good parts, with an index that says when each was captured."
    )
    out: Annotated[Path, Spelling(short="-o")] = Field(description="Folder for the challenger.")
    champion: Path | None = Field(
        default=None, description="Artifact folder. Default: what scores the plant's stations now."
    )
    defects: tuple[Path, ...] = Field(
        default=(), description="Folder of known defects, one sub-folder a type; may be given again."
    )
    challenge: tuple[Path, ...] = Field(
        default=(), description="Folder of challenge parts, all defective; may be given again."
    )
    weeks: float = Field(default=4.0, ge=0.01, le=520, description="Only normals of so many weeks count.")
    until: Annotated[Instant | None, Spelling(metavar="INSTANT")] = Field(
        default=None,
        validation_alias="to",
        serialization_alias="to",
        description="The window's end. Default: the newest image's.",
    )
    most: int | None = Field(
        default=None, ge=2, description="At most so many normals, drawn evenly over days and shifts."
    )
    shifts: Annotated[tuple[int, ...], AfterValidator(shift_hours)] = Field(
        default=(6, 14, 22),
        description="Hours of local time at which shifts begin; a --plant file states its own.",
        json_schema_extra=unit("h"),
    )
    hold_out: float = Field(
        default=0.2,
        ge=0.01,
        le=0.9,
        description="Share of the normals that both models are tried on.",
    )
    hold_out_by: HoldOutBy = Field(
        default="hash",
        description="hash: an image stays held out in every retraining; time: the newest are.",
    )
    least: int = Field(default=59, ge=2, description="Refuse to learn from fewer normals.")
    least_held_out: Annotated[int, Spelling(in_files_only=True)] = Field(
        default=10, ge=1, description="Refuse to try the models on fewer normals."
    )
    correct: bool = Field(
        default=False,
        description="Insert what the bank lacks for normals that it rejects, without a new fit.",
    )
    share: float = Field(
        default=0.05,
        ge=0.0001,
        le=1,
        description="With --correct: at most this share of their patches.",
    )
    false_reject: float | None = Field(
        default=None,
        ge=0.0001,
        le=0.5,
        description="Promise. Default: the champion's, where possible.",
    )
    tolerate_old_misses: bool = Field(
        default=False, description="Do not refuse for defects that the champion misses too."
    )
    report: Annotated[Path | None, Spelling(metavar="FILE.html")] = Field(
        default=None, description="Default: OUT.html. The figures are in FILE.json."
    )
    model_version: Plain | None = Field(default=None, description="Default: 1-retrain-20260302 for version 1.")
    seed: int = Field(default=0, ge=0, description="Draws what is held out and what balances.")
    weights: Path | None = Field(default=None, description="Weights file that the champion was fitted with.")
    device: str = Field(default="cpu", description="cpu, cuda or cuda:N.")
    memory_gib: Annotated[float, Spelling(old=("--memory",))] = Field(
        default=4.0, ge=LEAST_GIB, description="GiB that the job may hold.", json_schema_extra=unit("GiB")
    )
    plant: Annotated[Path | None, Spelling(short="-p")] = Field(
        default=None, description="Plant file: its rules decide, its topics are read."
    )
    line: tuple[str, ...] = Field(default=(), description=_LINES)
    station: tuple[str, ...] = Field(default=(), description=_STATIONS)
    product: str | None = Field(default=None, description=_PRODUCT)
    reviews: bool = Field(
        default=False,
        description="First bring into the folder what people judged, from the records and the evidence store.",
    )
    shadow: bool = Field(
        default=False,
        description="Put the challenger in shadow at these stations, if it is promotable.",
    )
    by: str | None = Field(default=None, description="Who changes it. Default: the user of this machine.")
    why: str | None = Field(default=None, description="Why, for those who look later.")

    @property
    def page(self) -> Path:
        """Return where the report goes."""
        return self.report or self.out.with_name(f"{self.out.name}.html")

    @model_validator(mode="after")
    def _has_a_champion(self) -> Self:
        if self.plant is None and (self.champion is None or self.reviews or self.shadow):
            raise ValueError(
                "name the champion's folder, or the --plant file and the stations whose model, reviews and shadow are"
                " meant"
            )
        return self


class KeepReviewedJob(JobSettings):
    """What `neverblink keep-reviewed` was asked to do; it has ended, and says what replaces it."""

    folder: Annotated[Path, Spelling(argument=True)] = Field(description="Folder for the images and their index.")
    plant: Annotated[Path, Spelling(short="-p", envvar="NEVERBLINK_PLANT")] = Field(
        default=Path("plant.yaml"), description="The plant file."
    )
    line: tuple[str, ...] = Field(default=(), description=_LINES)
    station: tuple[str, ...] = Field(default=(), description=_STATIONS)
    product: str | None = Field(default=None, description=_PRODUCT)
    days: float = Field(default=28.0, ge=0.01, description="Of parts that were captured in so many days.")
