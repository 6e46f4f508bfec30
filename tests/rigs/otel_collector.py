"""A real OpenTelemetry collector on this machine, built by `make collector`, with the configuration that is shipped."""

import contextlib
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from neverblink.brokers.apache import free_port

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "otel"
_WITHIN_S = 60.0


def collector_program() -> Path:
    """Return the collector that was built; skip the test where there is none."""
    version = yaml.safe_load((DEPLOY / "collector-builder.yaml").read_text())["dist"]["version"]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    program = cache / "neverblink" / f"collector-{version}" / "built" / "otelcol"
    if not program.is_file():
        pytest.skip(f"there is no OpenTelemetry collector at {program}: `make collector` builds it, with Go")
    return program


@contextlib.contextmanager
def running_collector(folder: Path, traces_to: str, settings: Mapping[str, str]) -> Iterator[str]:
    """Run the shipped configuration, its traces exported over OTLP to `traces_to`; gives where services send to."""
    taken: set[int] = set()
    http, grpc, metrics, health = (str(free_port(taken)) for _ in range(4))
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
    environment = {
        **os.environ,
        "NEVERBLINK_OTLP_HTTP_PORT": http,
        "NEVERBLINK_OTLP_GRPC_PORT": grpc,
        "NEVERBLINK_METRICS_PORT": metrics,
        "NEVERBLINK_COLLECTOR_HEALTH_PORT": health,
        **settings,
    }
    log = folder / "collector.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [collector_program(), "--config", DEPLOY / "collector.yaml", "--config", overlay],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        _until_healthy(process, f"http://127.0.0.1:{health}/", log)
        yield f"http://127.0.0.1:{http}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _until_healthy(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    give_up = time.monotonic() + _WITHIN_S
    while process.poll() is None and time.monotonic() < give_up:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"the collector is not healthy:\n{log.read_text()[-3000:]}")
