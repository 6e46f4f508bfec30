"""The contracts of jobs with other programs: what is checked in is what the models say, and writers keep working."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from contract.compatibility import breaking_changes
from neverblink.cli.jobs import JOBS
from neverblink.job_life.lines import ErrorLine, FiguresLine, ProgressLine, ResultLine
from neverblink.job_life.schemas import documents, line_schema, result_schema, settings_schema
from neverblink.job_life.settings import key_of, spelling_of

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "schemas"
FROZEN = Path(__file__).parent / "frozen"


def expected() -> dict[str, bytes]:
    return documents({name: (job.settings, job.result) for name, job in JOBS.items()})


def test_the_checked_in_schemas_are_what_the_jobs_say() -> None:
    found = {str(path.relative_to(SCHEMAS)): path.read_bytes() for path in (SCHEMAS / "jobs").iterdir()}
    stale = sorted(name for name, content in expected().items() if found.get(name) != content)
    assert not stale, f"run `neverblink schemas export`: {', '.join(stale)} are not what the jobs say now"
    assert found.keys() == expected().keys()


@pytest.mark.parametrize("name", sorted(expected()))
def test_every_schema_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(orjson.loads(expected()[name]))


@pytest.mark.parametrize("name", sorted(expected()))
def test_programs_of_the_frozen_version_keep_working(name: str) -> None:
    broken = breaking_changes(orjson.loads((FROZEN / name).read_bytes()), orjson.loads(expected()[name]))
    assert not broken, "\n".join(f"{name}: {sentence}" for sentence in broken)


def test_a_setting_that_becomes_necessary_is_told() -> None:
    schema = settings_schema("fit", JOBS["fit"].settings)
    newer = copy.deepcopy(schema)
    newer["required"].append("ratio")
    assert any("ratio has become required" in sentence for sentence in breaking_changes(schema, newer))


@pytest.mark.parametrize("name", sorted(JOBS))
def test_every_setting_is_described_and_has_an_option_of_its_name(name: str) -> None:
    for field_name, field in JOBS[name].settings.model_fields.items():
        key = key_of(field_name, field)
        assert field.description, f"{name}: {key} has no description"
        assert field.description.endswith("."), f"{name}: {key}"
        assert key == key.lower().replace("-", "_")
        for old in spelling_of(field).old:
            assert old != f"--{key.replace('_', '-')}"


def test_a_schema_refuses_a_misspelt_setting_and_one_out_of_bounds() -> None:
    fit = jsonschema.Draft202012Validator(settings_schema("fit", JOBS["fit"].settings))
    asked = yaml.safe_load("{images: good, product: pcb, ratio: 0.1, tiling: {tile: 512}, white_balance: [1, 1, 0.9]}")
    fit.validate(asked)
    for wrong in ({"ratoi": 0.1}, {"ratio": 2}, {"size": 8}, {"product": "a b"}, {"engine": "abacus"}):
        assert not fit.is_valid(asked | wrong), wrong


LINES: list[tuple[Any, dict[str, Any]]] = [
    (
        ProgressLine(job="fit", stage="calibrating", done=3, total=6),
        {"kind": "progress", "job": "fit", "stage": "calibrating", "done": 3, "total": 6},
    ),
    (
        FiguresLine(job="train-unet", stage="epoch 1", figures={"loss": 0.5, "dice": None}),
        {"kind": "figures", "job": "train-unet", "stage": "epoch 1", "figures": {"loss": 0.5, "dice": None}},
    ),
    (
        ResultLine(job="fit", exit_code=0, result={"images": 6}),
        {"kind": "result", "job": "fit", "exit_code": 0, "result": {"images": 6}},
    ),
    (
        ErrorLine(job="fit", exit_code=2, error="there is no folder nowhere"),
        {"kind": "error", "job": "fit", "exit_code": 2, "error": "there is no folder nowhere"},
    ),
]


@pytest.mark.parametrize(("line", "written"), LINES, ids=lambda one: type(one).__name__)
def test_a_line_is_written_with_these_fields_in_this_order(line: Any, written: dict[str, Any]) -> None:
    assert line.model_dump_json() == orjson.dumps(written).decode()
    validator = jsonschema.Draft202012Validator(line_schema())
    validator.validate(written)
    assert not validator.is_valid({name: value for name, value in written.items() if name != "kind"})


def test_a_result_may_gain_fields() -> None:
    result = result_schema("fit", JOBS["fit"].result)
    newer = copy.deepcopy(result)
    newer["properties"]["seconds"] = {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None}
    assert breaking_changes(result, newer) == []
