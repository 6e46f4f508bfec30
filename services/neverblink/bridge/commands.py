"""What `neverblink bridge` does."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from neverblink import telemetry
from neverblink.bridge.service import lines_with_plc, serve
from neverblink.plant import Plant, PlantError
from neverblink.plc.certificates import CertificateError, application_uri, make_identity, thumbprint
from neverblink.service_life import run_service


async def run(plant: Plant, lines: Sequence[str] | None = None, faults: Sequence[str] = ()) -> None:
    """Bridge these lines, or all that have a PLC, until told to stop. Raises PlantError, KafkaError.

    `faults` are those of the plant file's other lines: they are told, and the sound lines run.
    """
    if faults and lines and not set(lines) <= {line.name for line in plant.lines}:
        raise PlantError("\n".join(faults))
    chosen = lines_with_plc(plant, lines)
    telemetry.setup("bridge", plant.site)
    for fault in faults:
        telemetry.logger("bridge").error(f"a line of the plant file is left out: {fault}")

    async def main(stop: asyncio.Event) -> None:
        await serve(plant, chosen, stop, () if lines else faults)

    await run_service("bridge", main)


def make_certificates(plant: Plant, lines: Sequence[str] | None, also: Sequence[str], days: int) -> Iterator[str]:
    """Make the application certificates and keys that the lines name; yield sentences that say what to do next.

    `also` are further host names or addresses of this machine. Raises PlantError and CertificateError; nothing is
    overwritten.
    """
    for certificate_file, key_file in _identities(plant, lines):
        now = datetime.now(UTC)
        made = make_identity(certificate_file, key_file, [socket.gethostname(), *also], days, now)
        yield f"{certificate_file}: our certificate, valid to {made.not_valid_after_utc:%Y-%m-%d}"
        yield f"  application URI {application_uri(made)}"
        yield f"  thumbprint      {thumbprint(made)}"
        for folder in _trust_folders(plant, lines, certificate_file):
            yield f"{folder}: the PLCs that we trust; their certificates belong here"
        yield f"{key_file}: its private key; let nobody but this service read it, and do not copy it"
        yield f"Next: let every PLC trust {certificate_file}. Import it in the PLC's certificate manager; or start"
        yield "the bridge once, compare the thumbprint there, and move it from rejected to trusted certificates."
        yield "Then let us trust the PLC: its certificate as plc_certificate, or in the folder trusted."


def _trust_folders(plant: Plant, lines: Sequence[str] | None, certificate: Path) -> Iterator[Path]:
    """Make the folders of trusted certificates that the lines with this certificate name. Raises CertificateError."""
    found = {
        line.plc.security.trusted: None
        for line in lines_with_plc(plant, lines)
        if line.plc is not None and line.plc.security.certificate == certificate
    }
    for folder in found:
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CertificateError(
                    f"the folder {folder} of trusted certificates cannot be made: {error}"
                ) from error
            yield folder


def _identities(plant: Plant, lines: Sequence[str] | None) -> list[tuple[Path, Path]]:
    found = {
        (line.plc.security.certificate, line.plc.security.key): None
        for line in lines_with_plc(plant, lines)
        if line.plc is not None
    }
    named = [(certificate, key) for certificate, key in found if certificate is not None and key is not None]
    if not named:
        raise PlantError(
            "these lines need no certificate: their plc.security has policy None; name certificate and key there for"
            " a signed and encrypted session"
        )
    return named
