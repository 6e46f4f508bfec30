"""What `neverblink inspect` comes to. Nothing heavy is imported."""

from pathlib import Path
from typing import Any

from pydantic import Field

from neverblink.job_life.results import JobResult


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
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out.")
