"""What a service of this plant writes to, and which certificates it shows: what will run out one day.

Pure but for reading sizes of disks and the dates of certificate files.
"""

import base64
import binascii
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from neverblink.errors import NeverblinkError
from neverblink.plant.whole import Plant

_MOST_BYTES = 64 * 1024
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0


class NotACertificateError(NeverblinkError, ValueError):
    """A file that is no certificate, or a damaged one; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Space:
    """A disk, by a folder on it."""

    folder: Path
    free_bytes: int
    total_bytes: int


def spaces_of(plant: Plant, service: str) -> list[Space]:
    """Return the disks that a service writes to, each once; it blocks. What cannot be asked is left out."""
    found: dict[int, Space] = {}
    for folder in _folders(plant, service):
        there = next((one for one in (folder, *folder.parents) if one.exists()), None)
        try:
            if there is not None:
                usage, device = shutil.disk_usage(there), there.stat().st_dev
                found.setdefault(device, Space(folder, usage.free, usage.total))
        except OSError:
            continue
    return list(found.values())


def certificates_of(plant: Plant, service: str) -> Mapping[str, datetime]:
    """Return until when the certificates of a service are valid, by whose they are; it blocks.

    One that cannot be read is left out: whoever uses it tells.
    """
    found: dict[str, datetime] = {}
    for what, file in _certificate_files(plant, service):
        try:
            content = file.read_bytes() if file.stat().st_size <= _MOST_BYTES else b""
            found[what] = end_of(content)
        except (OSError, ValueError):
            continue
    return found


def end_of(content: bytes) -> datetime:
    """Return until when the first certificate of a PEM or DER file is valid. Raises NotACertificateError.

    Source: RFC 5280, section 4.1: the end is the second instant of `validity`, the fourth field that has no tag of
    its own.
    """
    if _BEGIN in content:
        body = content.partition(_BEGIN)[2].partition(_END)[0]
        try:
            content = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error as error:
            raise NotACertificateError("the PEM text is damaged") from error
    _, certificate, _ = _element(content)
    _, signed, _ = _element(certificate)
    rest, tag = signed, _VERSION
    tag, value, after = _element(rest)
    rest = after if tag == _VERSION else rest
    for _ in range(3):  # serial number, algorithm, issuer
        _, _, rest = _element(rest)
    tag, validity, _ = _element(rest)
    if tag != _SEQUENCE:
        raise NotACertificateError("this is no certificate")
    _, _, rest = _element(validity)
    tag, value, _ = _element(rest)
    return _instant(tag, value)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Return tag, value and rest of the first DER element. Raises NotACertificateError."""
    if len(data) < 2:
        raise NotACertificateError("the certificate is cut off")
    length, begin = data[1], 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= 4 or len(data) < 2 + size:
            raise NotACertificateError("the certificate is damaged")
        length, begin = int.from_bytes(data[2 : 2 + size], "big"), 2 + size
    if len(data) < begin + length:
        raise NotACertificateError("the certificate is cut off")
    return data[0], data[begin : begin + length], data[begin + length :]


def _instant(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii", "replace")
    if tag == _UTC_TIME:
        # RFC 5280, section 4.1.2.5.1: two digits are of 1950 to 2049.
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise NotACertificateError("the certificate has no end")
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise NotACertificateError("the certificate's end is no instant") from error


def _folders(plant: Plant, service: str) -> Iterator[Path]:
    storage = plant.storage
    if service == "camera":
        yield storage.spool
        yield from _local(storage.objects)
    elif service == "scorer":
        yield storage.model_cache
        yield storage.artifacts
    elif service == "ledger":
        yield from _local(storage.ledger)
        yield from _local(plant.records.evidence.store)
    elif service == "console":
        yield from _local(plant.console.database)
        yield plant.console.work


def _local(place: object) -> Iterator[Path]:
    """Yield the folder of a place that is on this machine: a folder, a file: or a sqlite: URL."""
    if isinstance(place, Path):
        yield place
    elif isinstance(place, str):
        scheme, mark, rest = place.partition("://")
        if not mark:
            yield Path(place)
        elif scheme == "file":
            yield Path(rest)
        elif scheme.startswith("sqlite") and len(rest) > 1:
            yield Path(rest[1:]).parent


def _certificate_files(plant: Plant, service: str) -> Iterator[tuple[str, Path]]:
    security = plant.kafka.security
    if security.cert_file is not None:
        yield "Kafka client", security.cert_file
    if security.ca_file is not None:
        yield "Kafka authority", security.ca_file
    if service == "console" and plant.console.cert_file is not None:
        yield "console", plant.console.cert_file
    if service == "ledger" and plant.records.api.cert_file is not None:
        yield "ledger API", plant.records.api.cert_file
    if service == "bridge":
        for line in plant.lines:
            if line.plc is not None and line.plc.security.certificate is not None:
                yield f"{line.name} to its PLC", line.plc.security.certificate
            if line.plc is not None and line.plc.security.plc_certificate is not None:
                yield f"PLC of {line.name}", line.plc.security.plc_certificate
