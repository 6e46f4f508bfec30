"""What a job comes to, for another program: plain values by name, described by a JSON Schema."""

from pydantic import BaseModel, ConfigDict


class JobResult(BaseModel):
    """What a job comes to. Fields are only ever added, optional: readers ignore those that they do not know."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null", defer_build=True)
