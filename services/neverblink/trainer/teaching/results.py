"""What the jobs that teach known defects come to. Nothing heavy is imported."""

from pathlib import Path

from pydantic import Field

from neverblink.job_life.results import JobResult
from neverblink.trainer.fitting.results import ModelResult


class SynthesizeResult(JobResult):
    """What `neverblink synthesize` comes to."""

    folder: Path = Field(description="The data set.")
    defective: int = Field(description="Images with a drawn defect.")
    good: int = Field(description="Good images beside them.")
    sheet: Path = Field(description="A contact sheet: look at it before anything is trained with it.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out, copies.")


class LearntClass(JobResult):
    """A class on held-out images; `dice` null: none of them shows it."""

    name: str
    images: int = Field(description="Held-out images that show it.")
    dice: float | None
    threshold: float = Field(description="Probability from which a pixel is outlined.")
    sure: float = Field(description="Evidence that a region needs, so that good parts stay quiet.")
    synthetic: bool = Field(description="Those images are drawn, as no real one could be held out.")


class TrainUnetResult(ModelResult):
    """What `neverblink train-unet` comes to."""

    epochs: int = Field(description="Epochs that were trained.")
    best_epoch: int = Field(description="The one whose network was kept.")
    classes: tuple[LearntClass, ...]
    learnt_defective: int = Field(description="Images with defects that it learnt from.")
    learnt_good: int
    left: int = Field(description="Images with defects that were left for the evaluation.")
    held_out_good: int
    false_alarms: int = Field(description="Held-out good images that it marks.")
    false_alarm_bound: float | None = Field(description="Upper 95 % bound of their share; null: none was held out.")
    not_validated: tuple[str, ...] = Field(description="Types of which nothing could be held out.")
    without_mask: int = Field(description="Images that were skipped: a defect without a mask.")
    empty_masks: int = Field(description="Images that were skipped: a mask without a pixel.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out, copies.")


class NamedType(JobResult):
    """How well a type is told from the others, each region named without its image."""

    name: str
    regions: int
    images: int
    recall: float
    precision: float | None
    called_unknown: float = Field(description="Share of its regions that are called unknown.")


class TrainClassifierResult(ModelResult):
    """What `neverblink train-classifier` comes to."""

    types: tuple[NamedType, ...]
    statement: str = Field(description="What it promises, in a sentence.")
    drawn: int = Field(description="Outlines that it learnt from.")
    flagged: int = Field(description="Regions that the model marks, which it learnt from too.")
    left: int = Field(description="Images with defects that were left for the evaluation.")
    left_out: dict[str, int] = Field(description="Types that too few images show, and how many do.")
    notes: tuple[str, ...] = Field(default=(), description="What a person should know: what was left out, copies.")
