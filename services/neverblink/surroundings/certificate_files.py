"""Certificates and their keys: whether they can be read, fit each other, and until when they hold."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from neverblink.plant import OpcUaSecurity
from neverblink.plc.certificates import (
    REJECTED,
    WARN_BEFORE,
    CertificateError,
    check_validity,
    read_certificate,
    read_identity,
)
from neverblink.surroundings.finding import At, Finding
from neverblink.surroundings.secret_files import look_at_file, look_at_folder, look_at_mode

_MOST_BYTES = 1024 * 1024


def look_at_certificate(at: At, path: Path, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with a certificate file, PEM or DER, and when its end is near."""
    yield from look_at_file(at, path)
    if not path.is_file():
        return
    try:
        yield from _validity(at, read_certificate(path), f"the certificate {path}", now)
    except CertificateError as error:
        yield Finding(at, str(error))


def look_at_pair(at: At, cert_name: str, cert: Path, key_name: str, key: Path, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with a TLS certificate and its key, which stand in two settings of the section at `at`."""
    yield from look_at_certificate((*at, cert_name), cert, now)
    yield from look_at_file((*at, key_name), key)
    if not key.is_file():
        return
    yield from look_at_mode((*at, key_name), key)
    try:
        private = serialization.load_pem_private_key(key.read_bytes()[:_MOST_BYTES], password=None)
    except TypeError:
        yield Finding((*at, key_name), f"the key {key} is locked with a password: store it without one")
        return
    except (OSError, ValueError, UnsupportedAlgorithm):
        yield Finding((*at, key_name), f"{key} holds no private key that can be read (PEM)")
        return
    try:
        fits = read_certificate(cert).public_key() == private.public_key()
    except CertificateError:
        return  # told above
    if not fits:
        yield Finding((*at, key_name), f"the key {key} does not fit the certificate {cert}: name the pair that belongs")


def look_at_plc_security(at: At, security: OpcUaSecurity, now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with what a line has to be known by its PLC, and to know it."""
    if security.certificate is not None and security.key is not None:
        try:
            read_identity(security.certificate, security.key, now)
            yield from _validity((*at, "certificate"), read_certificate(security.certificate), "our certificate", now)
        except CertificateError as error:
            yield Finding(
                (*at, "key" if str(security.key) in str(error).split(" ", 4)[:4] else "certificate"), str(error)
            )
        if security.key.is_file():
            yield from look_at_mode((*at, "key"), security.key)
    if security.plc_certificate is not None:
        yield from look_at_certificate((*at, "plc_certificate"), security.plc_certificate, now)
    if security.trusted is not None:
        yield from _look_at_trusted((*at, "trusted"), security.trusted, now)


def _look_at_trusted(at: At, folder: Path, now: datetime) -> Iterator[Finding]:
    yield from look_at_folder(at, folder, ": `neverblink bridge certificate` makes it")
    if not folder.is_dir():
        return
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    for path in files:
        yield from look_at_certificate(at, path, now)
    waiting = sorted(folder.glob(f"{REJECTED}/*.der"))
    if not files:
        seen = f"; {len(waiting)} that showed themselves wait in {folder / REJECTED}" if waiting else ""
        yield Finding(at, f"the folder {folder} trusts no PLC: compare a certificate and put it there{seen}")
    elif waiting:
        yield Finding(
            at, f"{len(waiting)} certificates wait in {folder / REJECTED}: compare, move or delete them", False
        )


def _validity(at: At, certificate: x509.Certificate, what: str, now: datetime) -> Iterator[Finding]:
    check_validity(certificate, what, now)
    left = certificate.not_valid_after_utc - now
    if left < WARN_BEFORE:
        ends = certificate.not_valid_after_utc
        yield Finding(at, f"{what} ends on {ends:%Y-%m-%d}, in {left.days} days: renew it in a planned stop", False)
