"""The metrics that `schemas/telemetry.yaml` registers, and meters that notice what it does not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from opentelemetry.metrics import CallbackOptions, CallbackT, Meter, MeterProvider, NoOpMeter, Observation

REGISTRY: dict[str, Any] = yaml.safe_load((Path(__file__).resolve().parents[2] / "schemas/telemetry.yaml").read_text())

KINDS = {
    "create_counter": "counter",
    "create_histogram": "histogram",
    "create_gauge": "gauge",
    "create_observable_gauge": "gauge",
}

_faults: dict[str, None] = {}
_observed: dict[str, Sequence[CallbackT]] = {}


def take_faults() -> list[str]:
    """Return what was recorded since the last call and is not as it is registered."""
    faults = list(_faults)
    _faults.clear()
    return faults


def observed(name: str) -> list[Observation]:
    """Ask the newest gauge of this name as a reader would."""
    found = [one for callback in _observed[name] for one in callback(CallbackOptions())]  # type: ignore[operator]
    for one in found:
        _check(name, one.attributes)
    return found


class RegisteredMeters(MeterProvider):
    """Gives meters whose instruments measure nothing and check their attributes."""

    def get_meter(self, name: str, *_: Any, **__: Any) -> Meter:
        """Return a meter."""
        return _Meter(name)


class _Instrument:
    """A counter, a histogram or a gauge, by whichever method it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def record(self, _: float, attributes: Mapping[str, Any] | None = None, context: object = None) -> None:
        _check(self._name, attributes)

    add = set = record


class _Meter(NoOpMeter):
    def _instrument(self, name: str, *_: object, **__: object) -> Any:
        if name not in REGISTRY["metrics"]:
            _faults[f"the metric {name} is not in schemas/telemetry.yaml"] = None
        return _Instrument(name)

    create_counter = create_histogram = create_gauge = _instrument

    def create_observable_gauge(
        self, name: str, callbacks: Sequence[CallbackT] | None = None, unit: str = "", description: str = ""
    ) -> Any:
        _observed[name] = callbacks or ()
        return self._instrument(name)


def _check(name: str, attributes: Mapping[str, Any] | None) -> None:
    registered = REGISTRY["metrics"].get(name)
    said = sorted(attributes or {})
    if registered is not None and said != sorted(registered["attributes"]):
        _faults[
            f"{name} was recorded with the attributes {said}, and is registered with {registered['attributes']}"
        ] = None
