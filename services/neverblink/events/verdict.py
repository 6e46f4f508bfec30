"""What was decided about a part, and what was only computed."""

from datetime import datetime
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from neverblink.events.envelope import Event
from neverblink.events.parts import (
    ArtifactRef,
    CalibratedScores,
    Decision,
    Defect,
    Identity,
    Instant,
    Name,
    Quality,
    Reference,
    RegionScore,
    Times,
    Tracking,
)


class ScoredEvent(Event):
    """The fields of everything that a scorer says about a frame."""

    frame_id: str
    line: Name
    station: Name
    product: Name
    part: str = Field(min_length=1, max_length=128)
    seq: int = Field(ge=0)
    tracking: Tracking | None = None
    decision: Decision
    reason: str | None = Field(default=None, description="One word for programs, see `Reason`.")
    detail: str | None = Field(default=None, max_length=1000, description="One sentence for people.")
    score: float | None = Field(default=None, ge=0, description="The raw image score.")
    threshold: float | None = Field(default=None, gt=0)
    ratio: float | None = Field(
        default=None,
        ge=0,
        description="score / threshold. Above 1 is a reject unless the product is rejected for listed defects alone;"
        " a part with a known defect is rejected below 1 too.",
    )
    artifact: ArtifactRef | None = None
    calibrated: CalibratedScores | None = Field(
        default=None, description="What the model's calibration images scored, to compare the line's good parts with."
    )
    defects: tuple[Defect, ...] = ()
    regions: tuple[RegionScore, ...] = Field(
        default=(), max_length=65, description="Each named region's score, where the model has any; none is ignored."
    )
    quality: Quality | None = None
    times: Times
    deadline: Instant
    late: bool = False
    holdout: bool = False
    challenge: bool = False
    holdout_share: float | None = Field(
        default=None, gt=0, le=1, description="The share of its like that are drawn as holdouts; none where none are."
    )
    reference: Reference | None = None
    unsure: bool = Field(
        default=False,
        description="The part passes, but a person should look: its score is near the threshold, or a model saw a"
        " defect that it is not sure of.",
    )
    identity: Identity | None = None
    frame_partition: int | None = Field(default=None, ge=0, description="Where on the frames topic the frame lies,")
    frame_offset: int | None = Field(default=None, ge=0, description="as long as the topic keeps it.")

    @property
    def key(self) -> str:
        """Return the line: all verdicts of a line stay in order."""
        return self.line

    @property
    def occurred(self) -> datetime:
        """Return when the verdict was emitted, or the frame captured."""
        return self.times.emitted or self.times.captured

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.decision is Decision.UNSCORED:
            if self.reason is None:
                raise ValueError("an unscored verdict must state its reason")
        elif self.score is None or self.threshold is None or self.ratio is None or self.artifact is None:
            raise ValueError(f"a {self.decision} verdict must state score, threshold, ratio and artifact")
        if self.unsure and self.decision is not Decision.PASS:
            raise ValueError(f"a {self.decision} verdict is not unsure: only parts that pass can be")
        return self


class Verdict(ScoredEvent):
    """The one decision about a frame; the bridge acts on it."""

    TYPE: ClassVar[str] = "neverblink.verdict.v1"
    TOPIC: ClassVar[str] = "verdicts"

    evidence: tuple[str, ...] = Field(default=(), description="Ids of the evidence events of this frame.")

    @model_validator(mode="after")
    def _late_never_passes(self) -> Self:
        if self.late and self.decision is Decision.PASS:
            raise ValueError("a late verdict must not pass a part")
        return self


class ShadowVerdict(ScoredEvent):
    """A score that must not act: of a shadow model, or of a frame that was already too late."""

    TYPE: ClassVar[str] = "neverblink.shadow-verdict.v1"
    TOPIC: ClassVar[str] = "shadow-verdicts"

    cause: Literal["shadow-model", "late-frame"]


Scored = TypeVar("Scored", bound=ScoredEvent)
