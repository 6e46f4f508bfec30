"""How the records are kept and who may ask them."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from neverblink.plant.listening import Listening
from neverblink.plant.reviewing import Reviewing
from neverblink.plant.section import Section, known_zone, unique
from neverblink.plant.shifts import Shift


class LedgerApi(Listening):
    """The read-only REST API that `neverblink ledger serve` offers to an MES."""

    TRAVELS: ClassVar[str] = "tokens"

    port: int = Field(default=8750, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    tokens: Path = Field(
        default=Path("ledger-tokens.json"),
        description="File of the tokens' hashes; `neverblink ledger token` writes it. No token is in it.",
    )
    max_page: int = Field(default=1000, ge=1, le=10_000, description="Rows of one answer at most.")
    query_s: float = Field(default=5.0, ge=0.1, le=300, description="How long one question may take.")
    concurrent: int = Field(
        default=8, ge=1, le=64, description="Questions in hand at most; more wait a second, then are told to come back."
    )


class KeepDays(Section):
    """For how long a picture stays, by why it was kept, from its capture on.

    What a person should still look at (rejects, unscored and unsure parts, holdouts, challenges) stays until somebody
    has, however old it is.
    """

    passes: float = Field(default=60.0, gt=0, le=36500, description="Days of the share of passing parts.")
    alerts: float = Field(default=60.0, gt=0, le=36500, description="Days of passing parts around a drift alert.")
    rejects: float = Field(default=730.0, gt=0, le=36500, description="Days of reviewed rejects.")
    unscored: float = Field(default=365.0, gt=0, le=36500, description="Days of reviewed parts without a score.")
    unsure: float = Field(default=730.0, gt=0, le=36500, description="Days of reviewed unsure parts.")
    holdouts: float = Field(default=730.0, gt=0, le=36500, description="Days of reviewed holdouts.")
    challenges: float = Field(default=730.0, gt=0, le=36500, description="Days of reviewed challenge parts.")


class EvidencePolicy(Section):
    """Which frames the ledger keeps, with their overlay and thumbnail, before Kafka forgets them, where and how long.

    Every reject, unscored and unsure part, holdout and challenge is kept, and all parts around a drift alert.
    """

    store: str | None = Field(
        default="evidence",
        min_length=1,
        description="Where pictures lie: a folder, relative to the plant file, or an fsspec URL such as"
        " s3://bucket/evidence. null keeps none.",
    )
    passes: float = Field(
        default=0.01, ge=0, le=1, description="Share of passing parts that is kept too, chosen by the frame's id."
    )
    around_alerts_min: float = Field(
        default=10.0,
        ge=0,
        le=180,
        description="Minutes before and after a drift alert of which every frame of its station is kept.",
    )
    keep_days: KeepDays = Field(default=KeepDays(), description="How long pictures are kept, by what they show.")
    max_gib: float = Field(
        default=50.0,
        gt=0,
        le=1_048_576,
        description="GiB of pictures at most. The oldest that nobody needs are deleted first, and never what a person"
        " should still look at: where nothing else is left, no more are kept until somebody reviews.",
    )
    leave_free_gib: float = Field(
        default=2.0,
        ge=0,
        le=1_048_576,
        description="GiB that stay free on the disk of a folder: evidence stops there, so that records go on.",
    )


class RecordsSettings(Section):
    """What is kept of every part, for how long, and who may ask."""

    shifts: tuple[Shift, ...] = Field(
        default=(),
        max_length=24,
        description="The shifts that figures are counted by; none named: those of drift, called by their begin.",
    )
    time_zone: str | None = Field(
        default=None, description="Of days and shifts, such as Europe/Berlin. None: that of drift."
    )
    evidence: EvidencePolicy = Field(default=EvidencePolicy(), description="Which pictures are kept, and how long.")
    api: LedgerApi = Field(default=LedgerApi(), description="The records for others, over REST.")
    reviewing: Reviewing = Field(default=Reviewing(), description="Who judges parts, and how often.")

    @field_validator("time_zone")
    @classmethod
    def _zone_is_known(cls, name: str | None) -> str | None:
        return None if name is None else known_zone(name)

    @model_validator(mode="after")
    def _shifts_differ(self) -> Self:
        unique("shift", [shift.name for shift in self.shifts], "shifts", "name")
        begins = [shift.begins for shift in self.shifts]
        if len(set(begins)) < len(begins):
            raise ValueError("two shifts begin at the same time; each needs its own")
        if any(moment.tzinfo is not None for moment in begins):
            raise ValueError("shifts begin at local times; the zone is time_zone")
        return self
