"""What a search comes to. Nothing heavy is imported."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from neverblink.job_life.results import JobResult


class TriedRecipe(JobResult):
    """One recipe; figures are null where it was tried on some pictures alone, or failed."""

    label: str
    changes: dict[str, Any] = Field(description="Settings in which it differs from the default.")
    tried_on: Literal["some", "all"] = Field(description="Whether it was judged by all pictures, or left out before.")
    recall: float | None = Field(default=None, description="Defects found at the promise, by all pictures.")
    low: float | None = Field(default=None, description="Of 400 drawings of the parts 95 % are from here")
    high: float | None = Field(default=None, description="to here.")
    gain: float | None = Field(
        default=None, description="Mean gain over the default in recall around the promise, on the same drawings;"
    )
    gain_low: float | None = Field(default=None, description="95 % of them are from here")
    gain_high: float | None = Field(default=None, description="to here.")
    auroc: float | None = None
    ms: float | None = Field(default=None, description="An image on this machine, without decoding.")
    seconds: float = Field(default=0.0, description="What its trials took.")
    beats: bool = Field(default=False, description="It finds more than the default beyond what chance explains.")
    near: bool = Field(default=False, description="It is within noise of the best that do.")
    too_slow: bool = False
    fault: str | None = Field(default=None, description="Why it could not be tried.")


class FreshFigures(JobResult):
    """What the search finds on pictures that chose nothing."""

    recall: float
    low: float
    high: float
    default: float = Field(description="Recall of the default on the same pictures.")
    gain: float
    gain_low: float
    gain_high: float
    rejected: float = Field(description="Share of good groups above the threshold.")


class TuneResult(JobResult):
    """What `neverblink tune` comes to."""

    chosen: str = Field(description="Label of the recipe that is taken.")
    why: str
    changes: dict[str, Any] = Field(description="Settings in which it differs from the default.")
    settings_file: Path = Field(description="For `neverblink fit --settings`.")
    report: Path
    defects: Literal["real", "synthetic"] = Field(description="What it was judged by.")
    defective: int = Field(description="Pictures of defects.")
    good: int = Field(description="Groups of good pictures.")
    promise: float = Field(description="Share of good parts that may be rejected, at which recall is measured.")
    recipes: tuple[TriedRecipe, ...] = Field(description="The default first, then as they were tried.")
    fresh: FreshFigures | None = Field(default=None, description="Null: too few pictures were left for it.")
    spent_s: float
    left: int = Field(description="Trials that the budget left no time for.")
    notes: tuple[str, ...] = ()

    @property
    def taken(self) -> TriedRecipe:
        """Return the recipe that is taken."""
        return next(one for one in self.recipes if one.label == self.chosen)
