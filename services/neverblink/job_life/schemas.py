"""The contracts of jobs with other programs: JSON Schemas of their settings, their results and their progress."""

from collections.abc import Mapping
from typing import Any

import orjson

from neverblink.job_life.lines import LINES
from neverblink.job_life.results import JobResult
from neverblink.job_life.settings import JobSettings

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]
Models = tuple[type[JobSettings], type[JobResult]]
"""What a job is asked, and what it comes to."""


def documents(jobs: Mapping[str, Models]) -> dict[str, bytes]:
    """Return every document by its path in the `schemas` folder; the same models give the same bytes.

    `jobs/NAME.v1.json` describes a settings file, `jobs/NAME.result.v1.json` the result, and `jobs/progress.v1.json`
    a line of progress of any job.
    """
    found = {"jobs/progress.v1.json": _json(line_schema())}
    for name, (settings, result) in jobs.items():
        found[f"jobs/{name}.v1.json"] = _json(settings_schema(name, settings))
        found[f"jobs/{name}.result.v1.json"] = _json(result_schema(name, result))
    return dict(sorted(found.items()))


def settings_schema(name: str, model: type[JobSettings]) -> Schema:
    """Return the JSON Schema of a job's settings. Unknown keys are refused: a misspelt one must not be ignored."""
    return _headed(f"{name}:settings", model.model_json_schema(mode="validation"))


def result_schema(name: str, model: type[JobResult]) -> Schema:
    """Return the JSON Schema of a job's result. Unknown fields are allowed: readers ignore them."""
    return _headed(f"{name}:result", model.model_json_schema(mode="serialization"))


def line_schema() -> Schema:
    """Return the JSON Schema of one line of `--progress json`."""
    return _headed("progress", LINES.json_schema(mode="serialization"))


def _headed(name: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, "$id": f"urn:neverblink:job:{name}:v1", **schema}


def _json(document: Schema) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
