"""What may be drawn: kinds of defects, the class of each, and the ranges of their parameters."""

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal[
    "scratch",
    "crack",
    "dent",
    "pit",
    "stain",
    "oxidation",
    "hole",
    "edge-break",
    "foreign-object",
    "specks",
    "bridge",
    "misplacement",
    "finish",
]
DefectClass = Literal["surface", "structural", "dimensional", "foreign-object", "assembly"]
Unit = Literal["share", "px", "mm"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

TAXONOMY: Final[dict[Kind, DefectClass]] = {
    "scratch": "surface",
    "crack": "structural",
    "dent": "surface",
    "pit": "surface",
    "stain": "surface",
    "oxidation": "surface",
    "hole": "structural",
    "edge-break": "dimensional",
    "foreign-object": "foreign-object",
    "specks": "foreign-object",
    "bridge": "assembly",
    "misplacement": "assembly",
    "finish": "surface",
}

Length = Annotated[float, Field(gt=0, le=100_000)]
Lengths = tuple[Length, Length]
Shares = tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]]
Counts = tuple[Annotated[int, Field(ge=1, le=1000)], Annotated[int, Field(ge=1, le=1000)]]
Degrees = tuple[Annotated[float, Field(ge=0, le=180)], Annotated[float, Field(ge=0, le=180)]]

ScratchShape = Literal["straight", "curved", "branching"]
ForeignShape = Literal["fibre", "chip", "ball"]
FinishShape = Literal["patch", "band"]


class Ranges(BaseModel):
    """What every kind has. A range is [lowest, highest]; a value is drawn evenly between them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    size: Lengths = Field(default=(0.1, 0.25), description="longest extent")
    contrast: Shares = Field(default=(0.15, 0.4), description="grey levels that it differs by, as a share of 255")
    count: Counts = Field(default=(1, 1), description="how many on one image")

    @classmethod
    def lengths(cls) -> tuple[str, ...]:
        """Return the names of the fields that are lengths."""
        return tuple(name for name in ("size", "width", "spread") if name in cls.model_fields)

    @model_validator(mode="after")
    def _ranges_ascend(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) == 2 and not isinstance(value[0], str) and value[0] > value[1]:
                raise ValueError(f"{name} goes from the lowest to the highest, not {list(value)}")
        return self


class Lines(Ranges):
    """Kinds that are long and thin."""

    width: Lengths = Field(default=(0.004, 0.012), description="at its widest")


class Scratches(Lines):
    """Grooves, lit from the side."""

    size: Lengths = Field(default=(0.2, 0.6), description="length")
    shapes: tuple[ScratchShape, ...] = Field(default=("straight", "curved", "branching"), min_length=1)


class ForeignObjects(Ranges):
    """What does not belong there."""

    shapes: tuple[ForeignShape, ...] = Field(
        default=("fibre", "chip", "ball"), min_length=1, description="where no images to cut from are given"
    )


class Specks(Ranges):
    """Small dirt in a loose cluster."""

    size: Lengths = Field(default=(0.008, 0.025), description="diameter of one speck")
    count: Counts = Field(default=(6, 30), description="specks on one image")
    spread: Lengths = Field(default=(0.15, 0.4), description="diameter of the cluster")


class Misplacements(Ranges):
    """A piece of the part, moved and turned."""

    size: Lengths = Field(default=(0.18, 0.35), description="side of the piece")
    contrast: Shares = Field(default=(0.08, 0.2), description="depth of the shadow along its edge")
    shift: Shares = Field(default=(0.15, 0.4), description="as a share of the piece's side")
    angle: Degrees = Field(default=(5, 35), description="degrees, either way")


class Finishes(Ranges):
    """A zone with another surface: left out by the tool (patch), or gone over in another way (band)."""

    size: Lengths = Field(default=(0.25, 0.6), description="length of a patch; a band is at most half as wide")
    contrast: Shares = Field(default=(0.04, 0.15), description="grey levels that it differs by, as a share of 255")
    shapes: tuple[FinishShape, ...] = Field(default=("patch", "band"), min_length=1)


class Policy(BaseModel):
    """Ranges of every kind, and the unit of all lengths in them."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, alias_generator=lambda name: name.replace("_", "-")
    )

    unit: Unit = Field(default="share", description="of lengths: share of the image's shorter side, px, or mm")
    scratch: Scratches = Scratches()
    crack: Lines = Lines(size=(0.2, 0.6), contrast=(0.25, 0.55), width=(0.004, 0.01))
    dent: Ranges = Ranges(size=(0.12, 0.3), contrast=(0.12, 0.35))
    pit: Ranges = Ranges(size=(0.02, 0.06), contrast=(0.2, 0.45), count=(1, 6))
    stain: Ranges = Ranges(size=(0.15, 0.4), contrast=(0.1, 0.3))
    oxidation: Ranges = Ranges(size=(0.15, 0.45), contrast=(0.15, 0.4))
    hole: Ranges = Ranges(size=(0.05, 0.15), contrast=(0.3, 0.6))
    edge_break: Ranges = Ranges(size=(0.1, 0.25), contrast=(0.3, 0.6))
    foreign_object: ForeignObjects = ForeignObjects(contrast=(0.25, 0.5))
    specks: Specks = Specks(contrast=(0.2, 0.5))
    bridge: Lines = Lines(size=(0.08, 0.2), contrast=(0.25, 0.5), width=(0.03, 0.06))
    misplacement: Misplacements = Misplacements()
    finish: Finishes = Finishes()

    @model_validator(mode="before")
    @classmethod
    def _keep_a_kinds_own_defaults(cls, values: object) -> object:
        """Let a kind that is given in part have its own defaults for the rest, not its type's."""
        if not isinstance(values, dict):
            return values
        merged = dict(values)
        for name, field in cls.model_fields.items():
            for key in {name, name.replace("_", "-")} & merged.keys():
                if isinstance(field.default, Ranges) and isinstance(merged[key], dict):
                    given, unit = merged[key], merged.get("unit", "share")
                    missing = [length for length in field.default.lengths() if length not in given]
                    if unit != "share" and missing:
                        raise ValueError(f"with lengths in {unit}, {key} needs its {' and '.join(missing)}")
                    merged[key] = {**field.default.model_dump(), **given}
        return merged

    def states(self, kind: Kind) -> bool:
        """Say whether a kind's lengths are meant in this policy's unit: the defaults are shares."""
        return self.unit == "share" or kind.replace("-", "_") in self.model_fields_set

    def of(self, kind: Kind) -> Ranges:
        """Return the ranges of a kind."""
        found: Ranges = getattr(self, kind.replace("-", "_"))
        return found


def example() -> str:
    """Return a YAML policy with every default, commented."""
    unit = Policy.model_fields["unit"]
    lines = [
        "# What `neverblink synthesize --policy FILE` draws. Ranges are [lowest, highest].",
        "# What is left out stays as it is here; with px or mm, every kind that is drawn needs its lengths.",
        f"unit: {unit.default}  # {unit.description} (mm needs --scale)",
    ]
    policy = Policy()
    for kind in KINDS:
        ranges = policy.of(kind)
        lines.append(f"{kind}:  # class: {TAXONOMY[kind]}")
        for name, field in type(ranges).model_fields.items():
            values = ", ".join(
                f"{value:g}" if isinstance(value, float) else str(value) for value in getattr(ranges, name)
            )
            lines.append(f"  {name}: [{values}]" + (f"  # {field.description}" if field.description else ""))
    return "\n".join(lines) + "\n"
