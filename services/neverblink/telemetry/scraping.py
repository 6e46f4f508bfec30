"""Metrics that are asked for, instead of sent: nothing is collected between two questions."""

import os
from typing import Any, Final

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from neverblink.telemetry.exposition import exposition

HEALTH: Final = "NEVERBLINK_HEALTH"
"""HOST:PORT where a service says how it does and what it measures; without it there is no such place."""


class ScrapedMetrics(MetricReader):
    """Collects when it is asked; what it has given is not kept. Whoever asks waits for nobody else who asks."""

    def __init__(self) -> None:
        super().__init__()
        self._collected: MetricsData | None = None

    def text(self, *, open_metrics: bool) -> str:
        """Return what is measured now, as Prometheus reads it. Not from two threads at once."""
        self._collected = None
        self.collect()
        data, self._collected = self._collected, None
        return exposition(data, open_metrics=open_metrics)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """End; there is nothing to send."""

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self._collected = metrics_data


_scraped: ScrapedMetrics | None = None


def wanted_reader() -> ScrapedMetrics | None:
    """Make the reader of this process where the environment says that somebody will ask."""
    global _scraped
    _scraped = ScrapedMetrics() if os.environ.get(HEALTH) else None
    return _scraped


def scraped(*, open_metrics: bool) -> str | None:
    """Return what this process measures as Prometheus reads it; None where it measures for nobody who asks."""
    return None if _scraped is None else _scraped.text(open_metrics=open_metrics)
