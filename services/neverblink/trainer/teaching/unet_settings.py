"""What a U-Net is trained with, down to what only its trainer knows."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from neverblink.job_life.yaml_file import read_policy_file
from neverblink.trainer.teaching.settings import Schooling, TrainUnetJob
from neverblink.vision.defect_augmentation import Augmentation
from neverblink.vision.errors import VisionError
from neverblink.vision.losses import LossSettings
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.tile_plan import TilePlan


class TrainError(VisionError):
    """A U-Net that cannot be trained as asked; the message says why."""


class TrainSettings(Schooling):
    """What a U-Net is trained with; the defaults are what `neverblink train-unet` uses."""

    weights: Path | None = Field(default=None, description="The encoder's weights, where they are not installed.")
    norm: Literal["batch", "group"] = "batch"
    activation: Literal["relu", "silu"] = "relu"
    preprocess: Preprocess = Field(default=Preprocess(), description="From an image to the network's input.")
    tiling: TilePlan | None = Field(default=None, description="How images are cut; as the model that it joins.")
    least_steps: int = Field(
        default=16, ge=1, le=10_000, description="Steps in an epoch at least: few images come often, varied each time."
    )
    encoder_rate: float = Field(
        default=0.25, ge=0, le=1, description="A pretrained encoder's learning rate, as a share of that."
    )
    weight_decay: float = Field(default=1e-2, ge=0, le=1)
    warm_up: int = Field(default=1, ge=0, le=100, description="Epochs in which the learning rate rises.")
    loss: LossSettings = LossSettings()
    augmentation: Augmentation = Augmentation()
    good_share: float = Field(
        default=0.3, ge=0, le=0.9, description="Share of good images in an epoch: it must learn to keep quiet."
    )
    balance: float = Field(
        default=0.5, ge=0, le=1, description="How far rare types are repeated; 1: all types equally often, 0: not."
    )
    false_alarms: float | None = Field(
        default=0.02,
        ge=0,
        lt=1,
        description="Share of held-out good images that may be marked: the evidence a region needs rises until then.",
    )
    amp: bool = Field(default=True, description="bfloat16 where the device is a GPU that has it.")
    threads: int | None = Field(default=None, ge=1, le=1024, description="Of PyTorch; not set: as they are.")
    memory_gib: float = Field(default=2.0, ge=0, description="Images and masks in memory; more are read each time.")

    @classmethod
    def of(cls, job: TrainUnetJob) -> "TrainSettings":
        """Return what a job asks for. Raises TrainError for an augmentation file that cannot be used."""
        values = {name: getattr(job, name) for name in Schooling.model_fields}
        return cls(
            weights=job.encoder_weights,
            loss=LossSettings(focal_gamma=job.focal),
            augmentation=Augmentation() if job.augmentation is None else read_augmentation(job.augmentation),
            **values,
        )


WITHOUT_EFFECT = {"device", "amp", "threads", "workers", "memory_gib"}
"""Settings that a resumed run may change: where and how fast, not what."""


def read_augmentation(path: Path) -> Augmentation:
    """Read a YAML policy; what it leaves out has its default. Raises TrainError in one sentence."""
    return read_policy_file(path, Augmentation, "names and amounts", TrainError)
