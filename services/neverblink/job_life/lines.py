"""What a job tells another program: one line of JSON a step, the last one its result or what went wrong."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

JobName = Annotated[str, Field(description="The job's command, such as train-unet.")]


class _Line(BaseModel):
    # What has a default is written all the same: readers may rely on it.
    model_config = ConfigDict(
        frozen=True, ser_json_inf_nan="null", json_schema_serialization_defaults_required=True, defer_build=True
    )


class ProgressLine(_Line):
    """How far the job is; there is one each time that something is done."""

    kind: Literal["progress"] = "progress"
    job: JobName
    stage: str = Field(description="What is being done, in words.")
    done: int = Field(ge=0, description="How much of this stage is done.")
    total: int = Field(ge=0, description="Of how much; 0: not known yet.")


class FiguresLine(_Line):
    """How well the job does so far, where it learns: the figures of an epoch."""

    kind: Literal["figures"] = "figures"
    job: JobName
    stage: str = Field(description="What the figures are of, such as epoch 3.")
    figures: dict[str, float | None]


class ResultLine(_Line):
    """The last line of a job that was done."""

    kind: Literal["result"] = "result"
    job: JobName
    exit_code: int = Field(description="0: done; 1: done, and the result is bad.")
    result: dict[str, Any] = Field(description="Described by the job's own schema.")


class ErrorLine(_Line):
    """The last line of a job that was not done."""

    kind: Literal["error"] = "error"
    job: JobName
    exit_code: int = Field(
        description="2: bad input or surroundings; 130: stopped; 1: a fault of neverblink's own, with a traceback on"
        " standard error."
    )
    error: str = Field(description="What went wrong, in a sentence.")


Line = Annotated[ProgressLine | FiguresLine | ResultLine | ErrorLine, Field(discriminator="kind")]
LINES: TypeAdapter[Line] = TypeAdapter(Line)
"""Reads any of the lines. Readers ignore lines of a kind that they do not know."""
