"""The shipped collector's policies ask for attributes and words that there are, and keep all that is no plain pass."""

import re
from pathlib import Path
from typing import Any

import yaml

from neverblink.bridge.part_tracking import Effect
from neverblink.events import Decision, GateAction, Outcome
from neverblink.events.review import Judgement
from rigs.registered_telemetry import REGISTRY

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION: dict[str, Any] = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
POLICIES: list[dict[str, Any]] = CONFIGURATION["processors"]["tail_sampling"]["policies"]
KINDS = ("receivers", "processors", "exporters", "extensions")
WORDS = {
    "neverblink.decision": (Decision, {Decision.PASS}),
    "neverblink.outcome": (Outcome, {Outcome.CONFIRMED}),
    # A failed confirmation is an attribute of its own on the span.
    "neverblink.gate.action": (GateAction, {GateAction.PASSED, GateAction.CONFIRM_FAIL}),
    # What every part has, and a reject of one station before the others have spoken, which is kept by its decision.
    "neverblink.effect": (Effect, {Effect.DECIDED, Effect.WAITING, Effect.SUPERSEDED}),
    "neverblink.judgement": (Judgement, set()),
}


def test_the_collectors_policies_keep_every_word_but_those_of_a_plain_pass() -> None:
    asked = {
        one["string_attribute"]["key"]: one["string_attribute"]["values"]
        for one in POLICIES
        if one["type"] == "string_attribute"
    }
    assert {key: set(values) for key, values in asked.items()} == {
        key: {str(one) for one in set(words) - plain} for key, (words, plain) in WORDS.items()
    }


def test_the_collectors_policies_ask_for_registered_attributes() -> None:
    keys = {one[one["type"]]["key"] for one in POLICIES if one["type"].endswith("_attribute")}
    assert keys <= REGISTRY["span_attributes"].keys()


def test_the_collector_is_built_in_the_version_that_make_names() -> None:
    built = yaml.safe_load((ROOT / "deploy/otel/collector-builder.yaml").read_text())
    version = built["dist"]["version"]
    assert f"COLLECTOR_VERSION := {version}\n" in (ROOT / "Makefile").read_text()
    parts = [one["gomod"] for kind in KINDS for one in built[kind]]
    assert {one.split(" v")[1] for one in parts} == {version}
    used = {name.split("/")[0].replace("_", "") for kind in KINDS for name in CONFIGURATION[kind]}
    modules = [one.split(" ")[0].rsplit("/", 1)[1] for one in parts]
    assert used <= {re.sub(r"(receiver|processor|exporter|extension)$", "", one) for one in modules}
