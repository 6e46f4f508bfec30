"""Metrics as Prometheus reads them: OpenMetrics with exemplars, or its older text without.

Names follow OpenTelemetry's rules for Prometheus, as a collector's exporter makes them: dots become underscores, the
unit is spelt out, a counter ends in `_total`. So rules and dashboards fit whichever way the metrics came.
Source: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/ and OpenMetrics 1.0.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import Gauge, Histogram, HistogramDataPoint, Metric, MetricsData, Sum

OPEN_METRICS: Final = "application/openmetrics-text"
OPEN_METRICS_TYPE: Final = f"{OPEN_METRICS}; version=1.0.0; charset=utf-8"
TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_UNITS: Final = {"s": "seconds", "By": "bytes", "d": "days", "1": "ratio"}
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_:]")
_ANNOTATION = re.compile(r"\{[^}]*\}")


def exposition(data: MetricsData | None, *, open_metrics: bool) -> str:
    """Return the metrics as text; with `open_metrics` each bucket of a histogram has its last exemplar."""
    lines: list[str] = []
    told: set[str] = set()
    for resource in data.resource_metrics if data is not None else ():
        if "target_info" not in told:
            told.add("target_info")
            lines += _target_info(resource.resource.attributes, open_metrics)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                name = name_of(metric)
                # Two rooms that measure under one name would make a text that no reader takes: the first one stands.
                if name not in told:
                    told.add(name)
                    lines += _family(name, metric, open_metrics)
    if open_metrics:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def name_of(metric: Metric) -> str:
    """Return the name of a metric's family in OpenMetrics: unit and all, without `_total`."""
    return family_name(metric.name, metric.unit or "", is_gauge=isinstance(metric.data, Gauge))


def family_name(name: str, unit: str, *, is_gauge: bool) -> str:
    """Return what a metric of this name and unit is called."""
    plain = _NOT_IN_A_NAME.sub("_", name)
    bare = _ANNOTATION.sub("", unit)
    word = _UNITS.get(bare, _NOT_IN_A_NAME.sub("_", bare))
    if not word or (bare == "1" and not is_gauge) or plain.endswith(f"_{word}"):
        return plain
    return f"{plain}_{word}"


def _family(name: str, metric: Metric, open_metrics: bool) -> Iterator[str]:
    data = metric.data
    counts = isinstance(data, Sum) and data.is_monotonic
    kind = "histogram" if isinstance(data, Histogram) else "counter" if counts else "gauge"
    # The older text names a counter's family as its sample.
    family = name if open_metrics or not counts else f"{name}_total"
    yield f"# TYPE {family} {kind}"
    yield f"# HELP {family} {_escaped(metric.description or '', quotes=open_metrics)}"
    for point in data.data_points:
        labels = _labels(point.attributes or {})
        if isinstance(point, HistogramDataPoint):
            yield from _histogram(name, labels, point, open_metrics)
        elif hasattr(point, "value"):
            yield f"{name}{'_total' if counts else ''}{_braces(labels)} {_number(point.value)}"


def _histogram(name: str, labels: Sequence[str], point: HistogramDataPoint, open_metrics: bool) -> Iterator[str]:
    counted = 0
    below = -math.inf
    for bound, count in zip((*point.explicit_bounds, math.inf), point.bucket_counts, strict=True):
        counted += count
        seen = _exemplar_in(point.exemplars, below, bound) if open_metrics else ""
        bucket = _braces([*labels, _label("le", _number(bound))])
        yield f"{name}_bucket{bucket} {counted}{seen}"
        below = bound
    yield f"{name}_sum{_braces(labels)} {_number(point.sum)}"
    yield f"{name}_count{_braces(labels)} {point.count}"


def _exemplar_in(exemplars: Sequence[Exemplar], below: float, bound: float) -> str:
    """Return the newest exemplar of a bucket as it stands behind its sample; nothing where there is none."""
    found = [one for one in exemplars if one.trace_id and one.span_id and below < one.value <= bound]
    if not found:
        return ""
    last = max(found, key=lambda one: one.time_unix_nano)
    ids = f'{{trace_id="{last.trace_id:032x}",span_id="{last.span_id:016x}"}}'
    return f" # {ids} {_number(last.value)} {last.time_unix_nano / 1e9:.3f}"


def _target_info(attributes: Mapping[str, Any], open_metrics: bool) -> Iterator[str]:
    yield f"# TYPE {'target info' if open_metrics else 'target_info gauge'}"
    yield f"# HELP {'target' if open_metrics else 'target_info'} What these metrics are of."
    yield f"target_info{_braces(_labels(attributes))} 1"


def _labels(attributes: Mapping[str, Any]) -> list[str]:
    return [_label(key, value) for key, value in sorted(attributes.items())]


def _label(key: str, value: object) -> str:
    name = _NOT_IN_A_NAME.sub("_", key)
    return f'{name}="{_escaped(str(value))}"'


def _braces(labels: Sequence[str]) -> str:
    return f"{{{','.join(labels)}}}" if labels else ""


def _escaped(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def _number(value: float) -> str:
    return "+Inf" if value == math.inf else repr(float(value))  # also of a library's own kinds of numbers
