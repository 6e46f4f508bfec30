"""What is deployed for Prometheus: rules, and the names that the services' metrics have there."""

import re
from functools import cache
from typing import Any

import yaml

from neverblink.telemetry.exposition import family_name
from rigs.alerting.watched_plant import DEPLOYED
from rigs.registered_telemetry import REGISTRY

_NAME = re.compile(r"\b(?:line:)?(?:neverblink|messaging_client)_[a-z0-9_]+\b(?!:)")


@cache
def rules() -> list[dict[str, Any]]:
    """Return all rules, of alerts and recorded ones."""
    read = [yaml.safe_load(path.read_text()) for path in sorted((DEPLOYED / "rules").glob("*.yml"))]
    return [rule for one in read for group in one["groups"] for rule in group["rules"]]


@cache
def exported() -> frozenset[str]:
    """Return every name that a registered metric or a sample of it may have."""
    found = {"up"}
    for name, metric in REGISTRY["metrics"].items():
        family = family_name(name, metric["unit"], is_gauge=metric["kind"] == "gauge")
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("", "_bucket", "_sum", "_count")}[
            metric["kind"]
        ]
        found |= {f"{family}{ending}" for ending in endings}
    return frozenset(found)


def names_in(expression: str) -> set[str]:
    """Return the metrics that an expression names, recorded ones aside."""
    return {name for name in _NAME.findall(expression) if not name.startswith("line:")}
