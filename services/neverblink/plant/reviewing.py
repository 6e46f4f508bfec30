"""Who judges parts, and where two people must agree."""

from datetime import datetime
from typing import Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from neverblink.events.identity import derived_id
from neverblink.events.parts import Decision, Name
from neverblink.plant.section import Section, unique


class Reviewer(Section):
    """A person whose answers count."""

    name: str = Field(min_length=1, max_length=128, description="As answers name the person.")
    lines: tuple[Name, ...] = Field(
        default=(), max_length=256, description="Lines whose parts the person judges; none named: all."
    )
    until: AwareDatetime | None = Field(
        default=None,
        description="Answers from this instant on do not count. Who leaves stays on the list with it: earlier answers"
        " go on to count.",
    )


class SecondLook(Section):
    """Which parts of a product a second person judges, who sees nothing of what the first said."""

    of: Literal["none", "rejects", "all", "share"] = Field(
        default="none", description="rejects: parts that were rejected. share: so many of all, chosen by verdict id."
    )
    share: float = Field(default=0.1, gt=0, le=1, description="With `share`: which share of the answered parts.")

    def wants(self, decision: str, verdict: str) -> bool:
        """Say whether a second person judges the part of this verdict, the same on every host and at every time."""
        if self.of == "share":
            return int(derived_id("second-look", verdict)[:8], 16) < self.share * 2**32
        return self.of == "all" or (self.of == "rejects" and decision == Decision.REJECT)


class Reviewing(Section):
    """Who judges parts, how long a part is taken for, and where two people must agree."""

    reviewers: tuple[Reviewer, ...] = Field(
        default=(), max_length=1000, description="Whose answers count; without any, everybody's who may write them."
    )
    claim_minutes: float = Field(
        default=15.0, ge=1, le=240, description="How long a part that a reviewer takes is kept from others."
    )
    waits_days: float = Field(
        default=28.0, gt=0, le=3650, description="What nobody judged for so long is no longer shown as waiting."
    )
    second: dict[Name, SecondLook] = Field(
        default={}, max_length=256, description="By product: which parts a second person judges, blind."
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        unique("reviewer", [reviewer.name for reviewer in self.reviewers], "reviewers", "name")
        return self

    def second_wanted(self, product: str, decision: str, verdict: str) -> bool:
        """Say whether a second person judges the part of this verdict too."""
        return product in self.second and self.second[product].wants(decision, verdict)

    def reviewer(self, name: str) -> Reviewer | None:
        """Return the person of that name, None when nobody on the list has it."""
        return next((one for one in self.reviewers if one.name == name), None)

    def counts(self, name: str, line: str, at: datetime) -> bool:
        """Say whether what this person answered at that instant about a part of that line counts."""
        if not self.reviewers:
            return True
        found = self.reviewer(name)
        return (
            found is not None and (not found.lines or line in found.lines) and (found.until is None or at < found.until)
        )
