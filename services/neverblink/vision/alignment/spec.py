"""How a product's parts are found and turned alike, as an artifact states it. Nothing heavy is imported."""

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

Align = Literal["none", "auto", "silhouette", "template"]
"""What a fit may be asked for."""

Kind = Literal["silhouette", "template"]
Pixels = Annotated[int, Field(ge=8, le=32767)]


class AlignmentSpec(BaseModel):
    """The upright picture of a part, and what a picture must show so that its pose is believed.

    Its numbers were learnt from good pictures. The templates are an artifact's tensor `alignment`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = Field(default=1, description="Version of how poses are found.")
    kind: Kind = Field(
        description="silhouette: by the part's outline against the ground that it lies on; template: by marks that all"
        " good parts share."
    )
    height: Pixels = Field(description="Of the upright picture, in pixels of the camera.")
    width: Pixels
    shrink: float = Field(gt=0, le=1, description="Pixels that are searched for each of the camera's.")
    template: tuple[int, int] = Field(description="(height, width) of the templates.")
    turns: int = Field(
        default=1,
        ge=0,
        le=8,
        description="1: every angle is told apart; 2: both ends look alike; 0: the part is not turned, for no angle of"
        " it looks like another's.",
    )
    least_fit: float = Field(ge=0, le=1, description="A worse fit is no pose.")
    least_lead: float = Field(default=0, ge=0, le=2, description="The next best pose must be worse by so much.")
    area: tuple[float, float] = Field(
        default=(0.0, 1e9), description="Least and largest area of an outline, in searched pixels."
    )
    most_beside: float = Field(
        default=1.0, ge=0, description="A second outline of more than this share of the first is a second part."
    )

    @field_validator("kind", mode="before")
    @classmethod
    def _is_known(cls, kind: object) -> object:
        known = get_args(Kind)
        if kind not in known:
            raise ValueError(
                f"its parts are found by {kind!r}, and this version finds them by {' or '.join(known)}: use the version"
                " that made it, or a later one"
            )
        return kind

    def sentence(self) -> str:
        """Return what is done with parts, in words."""
        told = {
            0: "moved to one place; no angle of them is told from others, so they are not turned",
            1: "turned the same way round",
        }.get(self.turns, f"turned alike, up to {self.turns} ways that look the same")
        by = "their outline" if self.kind == "silhouette" else "marks that all of them share"
        return f"parts are found by {by} and {told}: upright, they have {self.width} × {self.height} pixels"
