"""What `neverblink inspect` comes to. Nothing heavy is imported."""

from pathlib import Path
from typing import Any

from pydantic import Field

from neverblink.events import Defect, RegionScore
from neverblink.job_life.results import JobResult


class ShownPicture(JobResult):
    """One picture, and what a model says of it."""

    path: str = Field(description="Below the folder of images.")
    picture: str | None = Field(default=None, description="Its JPEG in the gallery; null: there is none.")
    decision: str = Field(description="pass, reject or unscored.")
    reason: str | None = None
    detail: str | None = Field(default=None, description="Of one without a score: why, in a sentence.")
    unsure: bool = False
    score: float | None = None
    threshold: float | None = None
    ratio: float | None = Field(default=None, description="score / threshold.")
    defects: tuple[Defect, ...] = ()
    regions: tuple[RegionScore, ...] = Field(default=(), description="What each named region says.")


class InspectResult(JobResult):
    """What `neverblink inspect` comes to; bad when the lot is not accepted, or no image has a score."""

    subject: str = Field(description="What was inspected, in words.")
    images: int
    passed: int
    unsure: int = Field(description="Of those that passed.")
    rejected: int
    unscored: int = Field(description="Images that could not be used.")
    accepted: bool | None = Field(default=None, description="Whether the lot is; null: no sampling plan was asked for.")
    done_before: bool = Field(description="Nothing was inspected again: it had been done before.")
    rows: Path = Field(description="Parquet file of all rows.")
    report: Path
    counts: dict[str, Any] = Field(description="All counts, as --json prints them.")
    artifact: str = Field(default="", description="Digest of the model.")
    pictures: tuple[ShownPicture, ...] = Field(
        default=(), description="A folder's first 200 images, where a gallery was asked for."
    )
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out.")
