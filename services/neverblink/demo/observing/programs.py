"""Where the programs that watch are on this machine, and how each is run with what `deploy/` says of it."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from neverblink.brokers.apache import KafkaUnavailable, find_java
from neverblink.demo.observing.outside_program import OutsideProgram
from neverblink.errors import NeverblinkError

ZIPKIN_VERSION = "3.5.1"
"""What `make observe-parts` fetches, and compose.observability.yaml runs."""

GET = "make observe-parts"
_ZIPKIN_SPANS = 100_000
"""What fits into its heap of 256 MB; the demonstration keeps some twenty spans a second."""


class ObservingError(NeverblinkError, RuntimeError):
    """What watches cannot be set up here; the message says what is missing."""


class PartMissing(NeverblinkError, LookupError):  # noqa: N818
    """A program is not on this machine; the message says how to get it."""


def deployed() -> Path:
    """Return the checkout's `deploy`: that of this source, or of the folder we are in. Raises ObservingError."""
    for root in (Path(__file__).resolve().parents[4], Path.cwd()):
        if (root / "deploy/otel/collector.yaml").is_file() and (root / "deploy/prometheus/rules").is_dir():
            return root / "deploy"
    raise ObservingError(
        "--observe runs the collector, Prometheus and their rules as deploy/ of the repository configures them, and"
        " there is no deploy/ here: an installed package does not bring it. Run it in a checkout."
    )


def cache() -> Path:
    """Return where programs lie that were built or fetched once."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neverblink"


def collector_program(deploy: Path) -> Path:
    """Return the collector that was built. Raises PartMissing."""
    version = yaml.safe_load((deploy / "otel/collector-builder.yaml").read_text(encoding="utf-8"))["dist"]["version"]
    program = cache() / f"collector-{version}" / "built" / "otelcol"
    if not program.is_file():
        raise PartMissing(f"`{GET}` builds it, with Go, in some minutes")
    return program


def zipkin_command(port: int) -> list[str | Path]:
    """Return what runs Zipkin, on this machine alone. Raises PartMissing."""
    jar = cache() / f"zipkin-{ZIPKIN_VERSION}" / f"zipkin-server-{ZIPKIN_VERSION}-exec.jar"
    if not jar.is_file():
        raise PartMissing(f"`{GET}` fetches it, with Maven, 131 MB")
    try:
        java = find_java("Zipkin")
    except KafkaUnavailable as error:
        raise PartMissing(str(error)) from error
    # A list of Spring's is given whole, or it is that of its own configuration, which listens on all networks.
    place = {"port": port, "address": "127.0.0.1", "protocols[0]": "http"}
    return [
        java, "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", jar,
        *(f"--armeria.ports[0].{name}={value}" for name, value in place.items()),
    ]  # fmt: skip


def zipkin(port: int, folder: Path) -> OutsideProgram:
    """Return Zipkin, which keeps traces in memory. Raises PartMissing."""
    memory = {"STORAGE_TYPE": "mem", "MEM_MAX_SPANS": str(_ZIPKIN_SPANS)}
    return OutsideProgram(zipkin_command(port), f"http://127.0.0.1:{port}/health", folder / "zipkin.log", memory)


def collector(
    deploy: Path, folder: Path, ports: Mapping[str, int], settings: Mapping[str, str], overlay: Path | None = None
) -> OutsideProgram:
    """Return the collector as deploy/otel configures it. Raises PartMissing.

    `ports` are its `http`, `grpc`, `metrics` and `health`; `settings` the variables that its file names; `overlay`
    another file on top.
    """
    files = [deploy / "otel/collector.yaml", *([] if overlay is None else [overlay])]
    environment = {
        "NEVERBLINK_OTLP_HTTP_PORT": str(ports["http"]),
        "NEVERBLINK_OTLP_GRPC_PORT": str(ports["grpc"]),
        "NEVERBLINK_METRICS_PORT": str(ports["metrics"]),
        "NEVERBLINK_COLLECTOR_HEALTH_PORT": str(ports["health"]),
        **settings,
    }
    command = [collector_program(deploy), *(word for file in files for word in ("--config", file))]
    return OutsideProgram(command, f"http://127.0.0.1:{ports['health']}/", folder / "collector.log", environment)


def prometheus(port: int, folder: Path) -> OutsideProgram:
    """Return Prometheus with `prometheus.yml` of the folder; its data lies there too. Raises PartMissing."""
    command = [
        _of_debian("prometheus"), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}", "--enable-feature=exemplar-storage",
    ]  # fmt: skip
    return OutsideProgram(command, f"http://127.0.0.1:{port}/-/ready", folder / "prometheus.log")


def alertmanager(port: int, folder: Path) -> OutsideProgram:
    """Return Alertmanager with `alertmanager.yml` of the folder. Raises PartMissing."""
    command = [
        _of_debian("prometheus-alertmanager"), f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/alertmanager", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    return OutsideProgram(command, f"http://127.0.0.1:{port}/-/ready", folder / "alertmanager.log")


def exporter() -> None:
    """Look for what our services export traces with. Raises PartMissing."""
    try:
        found = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise PartMissing("the services cannot export: install neverblink[otlp]")


def _of_debian(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise PartMissing(f"`{GET}` installs Debian's package {program}, as root; or put {program} into the PATH")
    return found
