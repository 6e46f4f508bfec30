"""The plant file as a whole."""

from collections.abc import Iterator, Sequence
from datetime import time
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from neverblink.events.parts import Name
from neverblink.plant.console import ConsoleSettings
from neverblink.plant.lines import Line
from neverblink.plant.products import Product
from neverblink.plant.proof import ProofSettings
from neverblink.plant.records import RecordsSettings
from neverblink.plant.section import Section, named, suggestion, unique
from neverblink.plant.shifts import ShiftPlan
from neverblink.plant.site import DriftSettings, Kafka, ScorerSettings, Storage
from neverblink.plant.stations import Station


class Plant(Section):
    """Everything the services need to know about one site."""

    site: Name
    kafka: Kafka = Kafka()
    storage: Storage = Storage()
    scorer: ScorerSettings = ScorerSettings()
    drift: DriftSettings = DriftSettings()
    records: RecordsSettings = RecordsSettings()
    proof: ProofSettings = ProofSettings()
    console: ConsoleSettings = ConsoleSettings()
    products: tuple[Product, ...] = Field(min_length=1)
    lines: tuple[Line, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for _, fault in twins(self.lines):
            raise ValueError(fault)
        unique("product", [product.name for product in self.products])
        known = {product.name for product in self.products}
        for line, station in self.stations():
            if station.product not in known:
                raise ValueError(
                    f"station {line.name}/{station.name} inspects product {station.product!r}, which is not "
                    f"in products{suggestion(station.product, known)}"
                )
            if station.mm_per_px is None and self.product(station.product).needs_scale:
                raise ValueError(
                    f"product {station.product} has defect areas in mm², and station {line.name}/{station.name} has"
                    " no mm_per_px"
                )
        return self

    @model_validator(mode="after")
    def _reviewing_is_known(self) -> Self:
        reviewing, lines = self.records.reviewing, {line.name for line in self.lines}
        products = {product.name for product in self.products}
        for product in reviewing.second.keys() - products:
            raise ValueError(
                f"records.reviewing.second names product {product!r}, which is not in products"
                f"{suggestion(product, products)}"
            )
        for reviewer in reviewing.reviewers:
            for line in set(reviewer.lines) - lines:
                raise ValueError(
                    f"reviewer {reviewer.name} judges parts of line {line!r}, which the plant does not have"
                    f"{suggestion(line, lines)}"
                )
        return self

    @model_validator(mode="after")
    def _lines_of_roles_are_known(self) -> Self:
        lines = {line.name for line in self.lines}
        given = {} if self.console.oidc is None else self.console.oidc.roles
        for value, line in ((value, line) for value, roles in given.items() for line in roles.keys() - lines - {"*"}):
            raise ValueError(
                f"console.oidc.roles of {value!r} name line {line!r}, which the plant does not have"
                f"{suggestion(line, lines)}"
            )
        return self

    @model_validator(mode="after")
    def _proof_is_known(self) -> Self:
        products = {product.name for product in self.products}
        named = {"holdouts": self.proof.holdouts.products, "audit": self.proof.audit.products}
        for section, product in ((name, one) for name, shares in named.items() for one in shares.keys() - products):
            raise ValueError(
                f"proof.{section}.products names product {product!r}, which is not in products"
                f"{suggestion(product, products)}"
            )
        for product in self.proof.golden.sets.keys() - products:
            raise ValueError(
                f"proof.golden.sets names product {product!r}, which is not in products{suggestion(product, products)}"
            )
        lines, shifts = {line.name for line in self.lines}, set(self.shift_plan().names)
        for one in self.proof.challenges.schedule:
            if one.line not in lines:
                raise ValueError(
                    f"proof.challenges.schedule names line {one.line!r}, which the plant does not have"
                    f"{suggestion(one.line, lines)}"
                )
            for shift in set(one.shifts) - shifts:
                raise ValueError(
                    f"proof.challenges.schedule names shift {shift!r}; the plant's shifts are"
                    f" {', '.join(sorted(shifts))}"
                )
        return self

    def stations(self) -> Iterator[tuple[Line, Station]]:
        """Yield every station with its line."""
        for line in self.lines:
            for station in line.stations:
                yield line, station

    def scales(self) -> dict[tuple[str, str], float]:
        """Return the mm per pixel of every (line, station) that has a scale."""
        return {
            (line.name, station.name): station.mm_per_px
            for line, station in self.stations()
            if station.mm_per_px is not None
        }

    def depth(self, station: Station) -> int | None:
        """Return how many bits the values of a station's 16-bit pictures use: its own word, else its product's."""
        return self.product(station.product).depth if station.depth is None else station.depth

    def depths(self) -> dict[tuple[str, str], int]:
        """Return the depth of every (line, station) for which one is stated."""
        found = {(line.name, station.name): self.depth(station) for line, station in self.stations()}
        return {place: depth for place, depth in found.items() if depth is not None}

    def line(self, name: str) -> Line:
        """Return the line of that name. Raises PlantError when there is none."""
        return named("line", name, self.lines)

    def product(self, name: str) -> Product:
        """Return the product of that name. Raises PlantError when there is none."""
        return named("product", name, self.products)

    def shift_plan(self) -> ShiftPlan:
        """Return the shifts that figures are counted by."""
        own = self.records.shifts
        begins = [(shift.name, shift.begins) for shift in own] or [
            (f"{hour:02d}:00", time(hour)) for hour in self.drift.shifts_begin_h
        ]
        return ShiftPlan(begins, self.time_zone())

    def time_zone(self) -> str:
        """Return the name of the zone of the plant's days and shifts."""
        return self.records.time_zone or self.drift.time_zone

    def artifact_folder(self, product: Product) -> Path:
        """Return the folder of a product's artifact."""
        return self.storage.artifacts / product.artifact


def twins(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Yield lines that cannot be told apart, by name, each with a sentence: same name, or nodes of the same PLC."""
    for line in lines:
        others = [other for other in lines if other is not line]
        if any(other.name == line.name for other in others):
            yield line.name, f"two lines are named {line.name!r}; each needs its own"
        for other in others:
            if line.plc is None or other.plc is None or line.plc.place != other.plc.place:
                continue
            slots = () if "method" in (line.plc.profile, other.plc.profile) else ("slot_node",)
            for field in ("node", *slots):
                if getattr(line.plc, field) == getattr(other.plc, field):
                    same = f"lines {line.name} and {other.name} would write the same nodes of {line.plc.endpoint}"
                    yield line.name, f"{same}: give each its own {field}"
