"""The simulated PLCs of a plant file: its lines' endpoints, profiles, users and certificates."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import orjson

from neverblink.plant import Line, OpcUaSecurity, Plant, PlantError
from neverblink.plant.secret_line import first_line
from neverblink.plc.certificates import SIMULATED_PLC, CertificateError, as_der, make_identity, read_certificate
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.retained import next_epoch
from neverblink.simulation.plc.simulator import PlcSimulator

DAYS = 365

_log = logging.getLogger("neverblink.plc-sim")


def simulated_lines(
    plant: Plant,
    names: Sequence[str] | None = None,
    *,
    rate_per_s: float = 2.0,
    parts: int = 0,
    running: bool = True,
    jitter: float = 0.1,
    seed: int = 1,
    certificates: Path = Path("simulated-plcs"),
    remember: bool = False,
    reset_after_s: float | None = None,
) -> list[SimulatedLine]:
    """Return the plant's lines that have a PLC, simulated at the endpoints that the plant file gives.

    Secure lines get a certificate and key of their own in `certificates`, made when they are not there. Those that
    `remember` begin with the epoch after that of their last run, which they keep in the same folder. `reset_after_s`
    is after how long somebody releases a stop that the bridge permits; None: nobody. Raises PlantError.
    """
    wanted = [plant.line(name) for name in names] if names else list(plant.lines)
    found = [
        _simulated(line, rate_per_s, parts, running, jitter, seed + index, certificates)
        for index, line in enumerate(wanted)
        if line.plc is not None
    ]
    if not found:
        raise PlantError("no line of this plant file has a plc section, so there is no PLC to simulate")
    found = [replace(line, reset_after_s=reset_after_s) for line in found]
    ports = [line.port for line in found]
    if remember:
        files = [certificates / f"{line.name}.epoch" for line in found]
        found = [replace(line, epoch=next_epoch(file), retained=file) for line, file in zip(found, files, strict=True)]
    for line in found:
        if ports.count(line.port) > 1:
            raise PlantError(f"two lines share port {line.port}: each simulated PLC needs a port of its own")
    return found


def _simulated(
    line: Line, rate_per_s: float, parts: int, running: bool, jitter: float, seed: int, certificates: Path
) -> SimulatedLine:
    assert line.plc is not None
    plc, place = line.plc, urlparse(line.plc.endpoint)
    host = place.hostname or "127.0.0.1"
    identity = None if plc.security.policy == "None" else _identity(line.name, plc.security, host, certificates)
    password = plc.security.password_file
    return SimulatedLine(
        name=line.name,
        timing=line.timing,
        rate_per_s=rate_per_s,
        parts=parts,
        running=running,
        jitter=jitter,
        host=host,
        port=place.port or 0,
        namespace_uri=plc.namespace_uri,
        node=plc.node,
        slot_node=plc.slot_node,
        lane_node=plc.lane_node,
        nodes=dict(plc.nodes),
        identity=plc.identity,
        profile=plc.profile,
        method_object=plc.method_object,
        certificate=identity[0] if identity else None,
        key=identity[1] if identity else None,
        client_certificate=plc.security.certificate if identity else None,
        # Three heartbeats of the bridge; more where the belt leaves time for it, because a desktop stalls.
        watchdog_ms=max(3 * plc.heartbeat_ms, min(2000.0, line.timing.lead_s * 500)),
        seed=seed,
        username=plc.security.username,
        password=first_line(password) if password else None,
    )


def _identity(name: str, security: OpcUaSecurity, host: str, certificates: Path) -> tuple[Path, Path]:
    """Return certificate and key of a simulated PLC, and let a plant file that pins one find it.

    It is never put into a folder of trusted certificates: a plant must not come to trust a simulation by itself.
    """
    certificate, key = certificates / f"{name}.der", certificates / f"{name}-key.pem"
    try:
        if not certificate.exists():
            make_identity(certificate, key, [host], DAYS, datetime.now(UTC), role=SIMULATED_PLC)
        pinned = security.plc_certificate
        if pinned is None:
            _log.warning(f"the simulated PLC of {name} shows {certificate}: trust it by a copy in {security.trusted}")
        elif not pinned.exists():
            pinned.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(certificate, pinned)
        elif as_der(read_certificate(pinned)) != as_der(read_certificate(certificate)):
            raise PlantError(
                f"line {name}: {pinned} is the certificate of another PLC, whose key the simulation does not have; in a"
                f" plant file for the simulation, write plc_certificate: {certificate}"
            )
    except (CertificateError, OSError) as error:
        raise PlantError(f"line {name}: the simulated PLC cannot have its certificate: {error}") from error
    return certificate, key


async def run(
    lines: Sequence[SimulatedLine],
    stop: asyncio.Event,
    *,
    truth: Path | None = None,
    ready: Callable[[list[PlcSimulator]], None] | None = None,
) -> None:
    """Serve all lines until `stop` is set; `truth` gets one line of JSON per part at a gate.

    Raises PlantError when a port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        sink = stack.enter_context(_truth_log(truth)) if truth is not None else None
        simulators = [PlcSimulator(line, truth=sink) for line in lines]
        for simulator in simulators:
            try:
                await stack.enter_async_context(simulator)
            except OSError as error:
                raise PlantError(
                    f"the simulated PLC of {simulator.line.name} cannot listen on {simulator.endpoint}: "
                    f"{error.strerror or error}; is another one running there?"
                ) from error
            _log.info(
                f"the PLC of {simulator.line.name} listens",
                extra={"fields": {"line": simulator.line.name, "endpoint": simulator.endpoint}},
            )
        if ready is not None:
            ready(simulators)
        stopped = stack.enter_context(_waiting(stop))
        await asyncio.wait(
            {stopped, *(simulator.program for simulator in simulators)}, return_when=asyncio.FIRST_COMPLETED
        )
        for simulator in simulators:
            if simulator.program.done():
                simulator.program.result()


@contextlib.contextmanager
def _waiting(stop: asyncio.Event) -> Iterator[asyncio.Task[bool]]:
    task = asyncio.ensure_future(stop.wait())
    try:
        yield task
    finally:
        task.cancel()


@contextlib.contextmanager
def _truth_log(path: Path) -> Iterator[Callable[[dict[str, Any]], object]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        yield lambda entry: file.write(orjson.dumps(entry) + b"\n")
