"""What is done to an image's colours before the network sees it, as settings; `preprocess` does it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Gain = Annotated[float, Field(ge=0.1, le=10)]
"""What the values of one colour channel are multiplied by."""


class Clahe(BaseModel):
    """Contrast-limited adaptive histogram equalisation of the lightness; colours keep their tone."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    clip_limit: float = Field(
        default=2.0, ge=1, le=40, description="How often a grey value may occur, in multiples of the even share."
    )
    tiles: int = Field(default=8, ge=1, le=32, description="Tiles per side, each with a histogram of its own.")
