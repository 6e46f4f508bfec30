"""A real OpenTelemetry collector on this machine, built by `make collector`, with the configuration that is shipped."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from neverblink.brokers.apache import free_port
from neverblink.demo.observing import programs

_WITHIN_S = 60.0


@contextlib.contextmanager
def running_collector(folder: Path, traces_to: str, settings: Mapping[str, str]) -> Iterator[str]:
    """Run the shipped configuration, its traces exported over OTLP to `traces_to`; gives where services send to.

    Skips the test where no collector was built.
    """
    taken: set[int] = set()
    ports = {name: free_port(taken) for name in ("http", "grpc", "metrics", "health")}
    overlay = folder / "overlay.yaml"
    overlay.write_text(
        yaml.safe_dump(
            {
                "exporters": {"otlphttp/test": {"endpoint": traces_to}},
                "processors": {"batch": {"timeout": "100ms"}},
                "service": {"pipelines": {"traces": {"exporters": ["otlphttp/test"]}}},
            }
        )
    )
    try:
        collector = programs.collector(programs.deployed(), folder, ports, settings, overlay)
    except programs.PartMissing as error:
        pytest.skip(f"there is no OpenTelemetry collector: {error}")
    collector.start()
    try:
        collector.until_serving(_WITHIN_S)
        yield f"http://127.0.0.1:{ports['http']}"
    finally:
        collector.stop()
