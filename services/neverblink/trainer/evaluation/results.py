"""What the jobs that judge models come to. Nothing heavy is imported."""

from pathlib import Path
from typing import Any

from pydantic import Field

from neverblink.job_life.results import JobResult


class EvaluateResult(JobResult):
    """What `neverblink evaluate` comes to: the figures that most want, and all of them as `--json` prints them."""

    artifact: Path
    name: str
    version: str
    digest: str
    good: int = Field(description="Test images of good parts.")
    defective: int = Field(description="Test images of defective parts.")
    image_auroc: float
    au_pro: float | None = Field(description="Null: no image has a mask.")
    false_rejects: int
    missed: int = Field(description="Defective images that pass, of those that no model was trained with.")
    threshold: float
    report: Path | None = Field(default=None, description="The page, where one was asked for.")
    like_calibration: bool | None = Field(
        default=None,
        description="Good parts are like those of the calibration; null: the model was fitted to them all.",
    )
    figures: dict[str, Any] = Field(description="All figures, and every image's score.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know about them.")
    doubts: tuple[str, ...] = Field(default=(), description="Why the model is of no use; none: it is of some.")
    next: tuple[str, ...] = Field(default=(), description="Commands to try next, in order.")


class ComparedConfiguration(JobResult):
    """One configuration; `fault` says why it has no figures."""

    label: str
    fault: str | None = None
    artifact: Path | None = None
    digest: str | None = None
    image_auroc: float | None = None
    pixel_auroc: float | None = None
    au_pro: float | None = None
    recall: float | None = None
    false_rejects: int | None = None
    good: int | None = None
    promised_false_reject: float | None = None
    p50_ms: float | None = None
    images_per_s: float | None = None
    bank_mb: float | None = None
    fit_seconds: float | None = None
    fitted_before: bool = False


class CompareResult(JobResult):
    """What `neverblink compare` comes to; bad when a configuration failed."""

    configurations: tuple[ComparedConfiguration, ...]
    figures_file: Path = Field(description="The same, in a file.")
