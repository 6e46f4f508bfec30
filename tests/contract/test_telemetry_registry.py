"""`schemas/telemetry.yaml` is what dashboards and alerts are built on: the instruments of the code are the same."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neverblink import telemetry
from neverblink.drift.instruments import observe_states
from neverblink.events import DriftState
from neverblink.scorer.instruments import observe_decoded, observe_models
from rigs.registered_telemetry import KINDS, REGISTRY, observed, take_faults

PACKAGE = Path(__file__).resolve().parents[2] / "services" / "neverblink"
METRICS: dict[str, Any] = REGISTRY["metrics"]


def made_in(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name, and kind, unit and description, of each instrument that a module makes; all of it is literal."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("create_"):
            kind = KINDS.get(node.func.attr)
            if kind is not None:
                said = {word.arg: word.value for word in node.keywords}
                texts = {word: ast.literal_eval(said[word]) if word in said else "" for word in ("unit", "description")}
                yield ast.literal_eval(node.args[0]), {"kind": kind, **texts}


def test_code_and_registry_have_the_same_metrics_alike() -> None:
    made = [one for path in sorted(PACKAGE.rglob("instruments.py")) for one in made_in(path)]
    assert len(made) == len(dict(made)), "a metric is made in two places"
    registered = {
        name: {word: value for word, value in metric.items() if word != "attributes"}
        for name, metric in METRICS.items()
    }
    assert dict(made) == registered


def test_no_instrument_is_made_but_in_an_instruments_module() -> None:
    elsewhere = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "instruments.py"
        for name, _ in made_in(path)
    ]
    assert elsewhere == []


def test_every_metric_is_described_and_every_attribute_explained() -> None:
    assert [name for name, metric in METRICS.items() if not metric["description"].endswith(".")] == []
    used = {attribute for metric in METRICS.values() for attribute in metric["attributes"]}
    assert used == REGISTRY["attributes"].keys()


def test_what_a_reader_asks_for_carries_the_registered_attributes() -> None:
    observe_models(lambda: {("line-1", "top"): 2}, lambda: 7)
    observe_decoded(lambda: 5)
    observe_states(lambda: [("line-1", "top", DriftState.WATCH)])
    top = {"line": "line-1", "station": "top"}
    expected: dict[str, Any] = {
        "neverblink.scorer.slots_in_fault": [(2, top)],
        "neverblink.scorer.model_memory": [(7, None)],
        "neverblink.scorer.decoded_bytes": [(5, None)],
        "neverblink.drift.state": [(2, top)],
    }
    assert {name: [(one.value, one.attributes) for one in observed(name)] for name in expected} == expected
    assert take_faults() == []


def test_a_record_with_other_attributes_than_registered_is_noticed_wherever_a_test_makes_it() -> None:
    counter = telemetry.meter("scorer").create_counter("neverblink.scorer.verdicts")
    counter.add(1, {"line": "line-1", "station": "top", "decision": "pass"})
    assert take_faults() == []
    counter.add(1, {"line": "line-1"})
    telemetry.meter("scorer").create_counter("neverblink.scorer.nowhere")
    assert [fault.split(" was ")[0] for fault in take_faults()] == [
        "neverblink.scorer.verdicts",
        "the metric neverblink.scorer.nowhere is not in schemas/telemetry.yaml",
    ]
