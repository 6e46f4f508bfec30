"""`schemas/telemetry.yaml` is what dashboards and alerts are built on: the instruments of the code are the same."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from neverblink import __version__, telemetry
from neverblink.camera.instruments import observe_waiting
from neverblink.drift.instruments import observe_states
from neverblink.events import DriftState
from neverblink.events.service_report import CertificateEnd, DiskSpace
from neverblink.kafka import EventConsumer
from neverblink.kafka.instruments import observe_belongings
from neverblink.scorer.backlog import Backlog
from neverblink.scorer.instruments import observe_backlog, observe_decoded, observe_models
from neverblink.scorer.watermark import Watermark
from neverblink.service_life.health import State
from neverblink.service_life.instruments import observe_service
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


def spans_made_in(path: Path) -> Iterator[str]:
    """Yield the name of each span that a module begins, with what it is made of in braces."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"start_span", "start_as_current_span"}
        ):
            name = node.args[0]
            parts = name.values if isinstance(name, ast.JoinedStr) else [name]
            yield "".join(
                f"{{{ast.unparse(part.value)}}}" if isinstance(part, ast.FormattedValue) else ast.literal_eval(part)
                for part in parts
            )


def test_code_and_registry_have_the_same_spans() -> None:
    made = {name for path in PACKAGE.rglob("spans.py") for name in spans_made_in(path)}
    assert made == REGISTRY["spans"].keys()


def test_no_span_is_begun_but_in_a_module_of_spans() -> None:
    elsewhere = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "spans.py"
        for name in spans_made_in(path)
    ]
    assert elsewhere == []


def test_code_and_registry_have_the_same_attributes_of_spans_and_every_one_is_explained() -> None:
    written = {
        node.value
        for path in PACKAGE.rglob("spans.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(("neverblink.", "messaging.", "error."))
    }
    registered = {
        attribute for span in REGISTRY["spans"].values() for attribute in [*span["attributes"], *span.get("also", ())]
    }
    assert written == registered == REGISTRY["span_attributes"].keys()
    assert [name for name, span in REGISTRY["spans"].items() if not span["description"].endswith(".")] == []


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


def test_what_a_reader_asks_of_every_service_carries_the_registered_attributes() -> None:
    now = datetime.now(UTC)
    state = State(clock=lambda: 1000.0)
    state.begin("scorer")
    state.take_parts({"frames": "no broker answers", "verdicts": None})
    observe_service(state)
    disks = [DiskSpace(folder="/data", free_bytes=3, total_bytes=9)]
    observe_belongings("scorer", lambda: disks, lambda: [CertificateEnd(what="ours", ends=now + timedelta(days=2.5))])
    observe_waiting(lambda: [("line-1", "top", 4)])
    backlog = Backlog(cast(EventConsumer, None), Watermark(), lambda: now)
    observe_backlog(backlog, lambda: 3)
    me = {"service": "scorer"}
    with backlog.holding(now + timedelta(seconds=2)), backlog.holding(now + timedelta(seconds=0.5)):
        assert [round(one.value, 3) for one in observed("neverblink.scorer.least_slack")] == [0.5]
        assert [one.value for one in observed("neverblink.scorer.in_hand")] == [2]
    expected: dict[str, Any] = {
        "neverblink.service.ready": [(0, me)],
        "neverblink.service.beat": [(1000.0, me)],
        "neverblink.service.version": [(1, me | {"version": __version__})],
        "neverblink.service.amiss": [(1, me | {"work": "frames"})],
        "neverblink.service.disk_free": [(3, me | {"folder": "/data"})],
        "neverblink.service.disk_size": [(9, me | {"folder": "/data"})],
        "neverblink.camera.waiting": [(4, {"line": "line-1", "station": "top"})],
        "neverblink.scorer.waiting": [(3, None)],
        "neverblink.scorer.in_hand": [(0, None)],
        "neverblink.scorer.lag": [(0, None)],
        "neverblink.scorer.least_slack": [],
    }
    assert {name: [(one.value, one.attributes) for one in observed(name)] for name in expected} == expected
    left = [round(float(one.value), 2) for one in observed("neverblink.service.certificate_left")]
    assert (left, take_faults()) == ([2.5], [])


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
