"""Which products have a golden set, pictures with known answers, and what a model must make of it."""

from typing import Self

from pydantic import Field, model_validator

from neverblink.events.parts import Name
from neverblink.plant.section import Section


class GoldenSettings(Section):
    """Golden sets: every change of what scores a product is judged by its set first."""

    sets: dict[Name, str] = Field(
        default={},
        max_length=1000,
        description="Product to the folder of its golden set, relative to the plant file, or an fsspec URL that all"
        " hosts reach, such as s3://bucket/golden/pcb. `neverblink golden add` fills it.",
    )
    good_rejected: int | None = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Good golden parts that a model may reject; null: any number. No known defect may ever pass.",
    )
    demanded: bool = Field(
        default=False,
        description="Nothing scores a product that has a golden set without a passing report of it: no --force, and"
        " scorers do not follow a change that has none.",
    )

    @model_validator(mode="after")
    def _demands_something(self) -> Self:
        if self.demanded and not self.sets:
            raise ValueError(
                "demanded asks for reports of golden sets, and sets names none: name the products' folders"
            )
        return self

    def demands(self, product: str) -> bool:
        """Say whether nothing may score a product without a passing report."""
        return self.demanded and product in self.sets
