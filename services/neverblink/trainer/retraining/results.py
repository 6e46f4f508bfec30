"""What the jobs that learn from confirmed parts come to. Nothing heavy is imported."""

from pathlib import Path
from typing import Any

from pydantic import Field

from neverblink.job_life.results import JobResult
from neverblink.trainer.fitting.results import ModelResult


class KeepReviewedResult(JobResult):
    """What people judged, as a folder has it now."""

    folder: Path
    reviewed: int = Field(description="Reviewed parts.")
    new: int = Field(description="Images that came to the folder.")
    missing: int = Field(description="Reviewed parts without an image: the evidence store has none.")
    unreadable: int = Field(description="Images that could not be read.")


class RetrainResult(ModelResult):
    """What `neverblink retrain` comes to: the challenger; bad when it was refused."""

    champion: str = Field(description="The champion's version.")
    champion_digest: str
    promotable: bool = Field(description="Nothing speaks against promoting it.")
    refused: str | None = Field(default=None, description="Why it was refused.")
    doubts: tuple[str, ...] = Field(default=(), description="What a person should think about before promoting it.")
    learnt: int = Field(description="Confirmed normals that it learnt from.")
    report: Path
    kept: KeepReviewedResult | None = Field(default=None, description="What the reviews brought, where asked for.")
    shadow: tuple[str, ...] = Field(default=(), description="What scores at the stations where it is in shadow now.")
    notes: tuple[str, ...] = Field(default=(), description="What to know about the shadow.")
    figures: dict[str, Any] = Field(description="Figures of both models, and every part's scores.")
