"""Reference parts that are sent to prove the system: where they are described, and when which must come."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from neverblink.events.parts import Label, Name, Reference
from neverblink.plant.section import Section, unique


class ScheduledChallenges(Section):
    """Which reference parts must come to a line in each of its shifts."""

    line: Name = Field(description="Line that they are sent down.")
    references: tuple[Reference, ...] = Field(min_length=1, max_length=64, description="Ids of reference parts.")
    shifts: tuple[Label, ...] = Field(
        default=(), max_length=24, description="Names of shifts; none named: every shift."
    )
    within_min: float = Field(
        default=60.0,
        gt=0,
        le=1440,
        description="Minutes from the line's first part of the shift until each must have come. A line that runs for"
        " less of a shift owes nothing.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        unique("reference of the schedule", list(self.references), "references")
        return self


class ChallengeSettings(Section):
    """Known parts on the running line."""

    references: Path = Field(
        default=Path("references.yaml"),
        description="File of the reference parts; `neverblink challenge add` writes it.",
    )
    schedule: tuple[ScheduledChallenges, ...] = Field(
        default=(), max_length=256, description="Which must come when, by line and shift."
    )
    grace_s: float = Field(
        default=10.0,
        ge=0.1,
        le=600,
        description="Seconds after a part's time is over, or an announcement's, before it is an alarm: so long the"
        " records may need to have it.",
    )
