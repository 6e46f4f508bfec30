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
from neverblink.plant.section import PlacedError, Section, Step, named, suggestion, unique
from neverblink.plant.shifts import ShiftPlan
from neverblink.plant.site import DriftSettings, Kafka, ScorerSettings, Storage
from neverblink.plant.stations import Station


class Plant(Section):
    """Everything the services need to know about one site."""

    site: Name = Field(description="What the plant is called: a part of every event's source.")
    kafka: Kafka = Field(default=Kafka(), description="The cluster and how topics lie on it.")
    storage: Storage = Field(default=Storage(), description="Where files live.")
    scorer: ScorerSettings = Field(default=ScorerSettings(), description="Batching, and where the model runs.")
    drift: DriftSettings = Field(
        default=DriftSettings(), description="Windows, shifts and alerts of the drift service."
    )
    records: RecordsSettings = Field(
        default=RecordsSettings(), description="What is kept of every part, and who may ask."
    )
    proof: ProofSettings = Field(default=ProofSettings(), description="What proves how well the plant inspects.")
    console: ConsoleSettings = Field(default=ConsoleSettings(), description="The pages for people.")
    products: tuple[Product, ...] = Field(min_length=1, description="What is inspected, and by which model.")
    lines: tuple[Line, ...] = Field(min_length=1, description="The conveyors with their stations, gates and PLCs.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for _, fault, at in twins(self.lines):
            raise PlacedError(fault, "lines", *at)
        unique("product", [product.name for product in self.products], "products", "name")
        known = {product.name for product in self.products}
        for at, line, station in _placed_stations(self.lines):
            if station.product not in known:
                raise PlacedError(
                    f"station {line.name}/{station.name} inspects product {station.product!r}, which is not "
                    f"in products{suggestion(station.product, known)}",
                    *at,
                    "product",
                )
            if station.mm_per_px is None and self.product(station.product).needs_scale:
                raise PlacedError(
                    f"product {station.product} has defect areas in mm², and station {line.name}/{station.name} has"
                    " no mm_per_px",
                    *at,
                )
        return self

    @model_validator(mode="after")
    def _reviewing_is_known(self) -> Self:
        reviewing, lines = self.records.reviewing, {line.name for line in self.lines}
        products = {product.name for product in self.products}
        for product in reviewing.second.keys() - products:
            raise PlacedError(
                f"records.reviewing.second names product {product!r}, which is not in products"
                f"{suggestion(product, products)}",
                *("records", "reviewing", "second", product),
            )
        for number, reviewer in enumerate(reviewing.reviewers):
            for place, line in enumerate(reviewer.lines):
                if line in lines:
                    continue
                raise PlacedError(
                    f"reviewer {reviewer.name} judges parts of line {line!r}, which the plant does not have"
                    f"{suggestion(line, lines)}",
                    *("records", "reviewing", "reviewers", number, "lines", place),
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
    def _mail_is_known(self) -> Self:
        lines = {line.name for line in self.lines}
        for recipient in self.console.mail.to if self.console.mail is not None else ():
            for line in set(recipient.lines) - lines:
                raise ValueError(
                    f"console.mail.to names line {line!r}, which the plant does not have{suggestion(line, lines)}"
                )
        return self

    @model_validator(mode="after")
    def _proof_is_known(self) -> Self:
        products = {product.name for product in self.products}
        named = {"holdouts": self.proof.holdouts.products, "audit": self.proof.audit.products}
        for section, product in ((name, one) for name, shares in named.items() for one in shares.keys() - products):
            raise PlacedError(
                f"proof.{section}.products names product {product!r}, which is not in products"
                f"{suggestion(product, products)}",
                *("proof", section, "products", product),
            )
        for product in self.proof.golden.sets.keys() - products:
            raise PlacedError(
                f"proof.golden.sets names product {product!r}, which is not in products{suggestion(product, products)}",
                *("proof", "golden", "sets", product),
            )
        lines, shifts = {line.name for line in self.lines}, set(self.shift_plan().names)
        for number, one in enumerate(self.proof.challenges.schedule):
            at = ("proof", "challenges", "schedule", number)
            if one.line not in lines:
                raise PlacedError(
                    f"proof.challenges.schedule names line {one.line!r}, which the plant does not have"
                    f"{suggestion(one.line, lines)}",
                    *at,
                    "line",
                )
            for place, shift in enumerate(one.shifts):
                if shift in shifts:
                    continue
                raise PlacedError(
                    f"proof.challenges.schedule names shift {shift!r}; the plant's shifts are"
                    f" {', '.join(sorted(shifts))}",
                    *(*at, "shifts", place),
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


Twin = tuple[str, str, tuple[Step, ...]]


def twins(lines: Sequence[Line]) -> Iterator[Twin]:
    """Yield lines that cannot be told apart, by name or because they write nodes of the same PLC.

    Each with its name, a sentence, and where among the lines the later one says so.
    """
    for number, line in enumerate(lines):
        others = [(place, other) for place, other in enumerate(lines) if place != number]
        alike = [place for place, other in others if other.name == line.name]
        if alike:
            later = max(number, alike[0])
            yield line.name, f"two lines are named {line.name!r}; each needs its own", (later, "name")
        for place, other in others:
            if line.plc is None or other.plc is None or line.plc.place != other.plc.place:
                continue
            slots = () if "method" in (line.plc.profile, other.plc.profile) else ("slot_node",)
            for field in ("node", *slots):
                if getattr(line.plc, field) == getattr(other.plc, field):
                    same = f"lines {line.name} and {other.name} would write the same nodes of {line.plc.endpoint}"
                    yield line.name, f"{same}: give each its own {field}", (max(number, place), "plc", field)


def _placed_stations(lines: Sequence[Line]) -> Iterator[tuple[tuple[Step, ...], Line, Station]]:
    for number, line in enumerate(lines):
        for place, station in enumerate(line.stations):
            yield ("lines", number, "stations", place), line, station
