"""What may be asked: the parameters of each question, bounded, with their meaning. An unknown one is refused."""

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from neverblink.events import Decision
from neverblink.events.parts import Instant, Name
from neverblink.records.questions.cursor import MAX_CURSOR
from neverblink.records.questions.pareto import ParetoOf
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import Order
from neverblink.records.questions.proof.estimates import Exactness
from neverblink.records.questions.rollup_filter import RollupFilter
from neverblink.records.questions.yields import YieldBy

# PostgreSQL keeps no NUL.
Text = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
_MOST_LINES = 64


class Asked(BaseModel):
    """Parameters that every question knows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: list[Name] = Field(default=[], max_length=_MOST_LINES, description="Of these lines; may be given again.")
    station: Name | None = Field(default=None, description="Of which this station has a verdict.")
    product: Name | None = Field(default=None, description="Of this product.")
    lot: Text | None = Field(default=None, description="Of this lot.")
    since: Instant | None = Field(
        default=None, alias="from", description="Triggered at or after this instant: RFC 3339 with a zone."
    )
    until: Instant | None = Field(default=None, alias="to", description="Triggered before this instant.")
    limit: int = Field(default=100, ge=1, le=10_000, description="Rows of the answer; the server has its own bound.")

    @model_validator(mode="after")
    def _forwards(self) -> "Asked":
        if self.since is not None and self.until is not None and self.until < self.since:
            raise ValueError("`to` lies before `from`")
        return self

    def lines(self) -> tuple[str, ...] | None:
        """Return the lines that are asked for, None for all."""
        return tuple(sorted(set(self.line))) or None

    def counted(self) -> RollupFilter:
        """Return which counts are added up."""
        return RollupFilter(self.lines(), self.station, self.product, self.lot, self.since, self.until)


class PartsAsked(Asked):
    """Which parts, and where to go on."""

    order_no: Text | None = Field(default=None, alias="order", description="Of this production order.")
    serial: Text | None = Field(default=None, description="With this serial number.")
    carrier: Text | None = Field(default=None, description="On this carrier.")
    decision: Decision | None = Field(default=None, description="With this decision, the worst of the stations.")
    reason: Text | None = Field(default=None, description="With this reason of the decision.")
    defect: Text | None = Field(default=None, description="With a defect of this type, at any station.")
    judgement: Text | None = Field(
        default=None, description="With this answer of reviewers: normal, defect, inconclusive, disputed."
    )
    cursor: str | None = Field(
        default=None, max_length=MAX_CURSOR, description="`next` of the page before, with the same filters."
    )

    def wanted(self) -> PartFilter:
        """Return which parts fit."""
        return PartFilter(
            lines=self.lines(),
            station=self.station,
            product=self.product,
            order=self.order_no,
            lot=self.lot,
            serial=self.serial,
            carrier=self.carrier,
            since=self.since,
            until=self.until,
            decision=None if self.decision is None else self.decision.value,
            reason=self.reason,
            defect=self.defect,
            judgement=self.judgement,
        )


class HistoryAsked(PartsAsked):
    """Which parts, by trigger time."""

    sort: Order = Field(default="newest", description="newest or oldest first; changes: as /api/v1/changes.")


class YieldAsked(Asked):
    """The yield of which groups."""

    by: YieldBy = Field(default="line", description="What the parts are grouped by.")


class ProofAsked(Asked):
    """The figures that drawn parts prove, and how exactly they must be known."""

    shift: Text | None = Field(default=None, description="Of this shift alone, as the plant file names it.")
    within: float = Field(
        default=0.1,
        ge=0.001,
        le=0.5,
        description="A figure is told where it is known to ±this: recall, precision; rates to a tenth of it.",
    )

    def counted(self) -> RollupFilter:
        """Return which counts are added up."""
        return replace(super().counted(), shift=self.shift)

    def exactness(self) -> Exactness:
        """Return to ± how much a figure must be known."""
        return Exactness(self.within, self.within / 10)


class ParetoAsked(Asked):
    """The most frequent words."""

    of: ParetoOf = Field(default="defects", description="Types of defects, or reasons of decisions.")
    decision: Decision | None = Field(default=None, description="Of parts with this decision.")
