"""Certificates of both sides: who we are to a PLC, and which PLC we believe.

The rules are OPC 10000-4 section 6.1.3 (what a client checks of a server's certificate) and OPC 10000-6
section 6.2.2 (what an application certificate contains).
"""

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from neverblink.errors import NeverblinkError

KEY_BITS = 2048  # both policies allow up to 4096; small PLCs need seconds for a handshake with those
MIN_KEY_BITS, MAX_KEY_BITS = 2048, 4096  # OPC 10000-7, of both policies
WARN_BEFORE = timedelta(days=30)
REJECTED = "rejected"
MAX_REJECTED = 16  # whoever answers at the PLC's address must not fill our disk
_PEM = b"-----BEGIN"
_CLOCK_SKEW = timedelta(hours=1)  # PLC clocks are set by hand: a new certificate must not lie in their future


class CertificateError(NeverblinkError, ValueError):
    """A certificate or key that cannot be used or made; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Our application certificate (DER), its private key (PEM), and the application URI in the certificate."""

    certificate: bytes
    key: bytes
    uri: str
    not_after: datetime


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate, DER or PEM. Raises CertificateError."""
    content = _content(path)
    try:
        if content.lstrip().startswith(_PEM):
            return x509.load_pem_x509_certificate(content)
        return x509.load_der_x509_certificate(content)
    except ValueError as error:
        what = "a private key" if b"PRIVATE KEY" in content else "neither DER nor PEM"
        raise CertificateError(f"{path} holds no certificate: it is {what}; name a .der or .pem file") from error


def read_identity(certificate_file: Path, key_file: Path, now: datetime) -> Identity:
    """Read our certificate and key, and check that a PLC can accept them. Raises CertificateError."""
    if not certificate_file.exists() and not key_file.exists():
        raise CertificateError(
            f"{certificate_file} and {key_file} cannot be read: they are not there; make them with "
            "`neverblink bridge certificate`"
        )
    certificate, key = read_certificate(certificate_file), _read_key(key_file)
    if certificate.public_key() != key.public_key():
        raise CertificateError(
            f"the key {key_file} does not fit the certificate {certificate_file}: they were not made together; "
            "name the pair that belongs together"
        )
    check_validity(certificate, f"our certificate {certificate_file}", now)
    if not MIN_KEY_BITS <= key.key_size <= MAX_KEY_BITS:
        raise CertificateError(
            f"the key {key_file} has {key.key_size} bits; PLCs take {MIN_KEY_BITS} to {MAX_KEY_BITS}"
        )
    uri = application_uri(certificate)
    if uri is None:
        raise CertificateError(
            f"our certificate {certificate_file} has no application URI in its subject alternative name, so every PLC "
            "refuses it; make one with `neverblink bridge certificate`"
        )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(as_der(certificate), pem, uri, certificate.not_valid_after_utc)


def check_validity(certificate: x509.Certificate, what: str, now: datetime) -> None:
    """Raise CertificateError when a certificate has expired or is not valid yet."""
    if now > certificate.not_valid_after_utc:
        raise CertificateError(
            f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d}: make a new one, and let the other side "
            "trust it"
        )
    if now < certificate.not_valid_before_utc:
        raise CertificateError(
            f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, and here it is "
            f"{now:%Y-%m-%d %H:%M} UTC: set the clock of the machine that is wrong"
        )


def application_uri(certificate: x509.Certificate) -> str | None:
    """Return the application URI in a certificate; the session must state the same."""
    uris = _alternative_names(certificate, x509.UniformResourceIdentifier)
    return uris[0] if uris else None


def as_der(certificate: x509.Certificate) -> bytes:
    """Return a certificate as it travels."""
    return certificate.public_bytes(serialization.Encoding.DER)


def first_of_chain(der: bytes) -> x509.Certificate:
    """Return the server's own certificate from what it sent: one, or a chain with its own first.

    Raises CertificateError.
    """
    # The first DER element says its own length: 30 82 hi lo, then so many bytes.
    length = 4 + int.from_bytes(der[2:4]) if der[:2] == b"\x30\x82" else len(der)
    try:
        return x509.load_der_x509_certificate(der[:length])
    except ValueError as error:
        raise CertificateError("it is not a readable certificate") from error


def thumbprint(certificate: x509.Certificate) -> str:
    """Return the SHA-1 thumbprint, as OPC UA and the PLC's certificate manager name certificates."""
    return certificate.fingerprint(hashes.SHA1()).hex().upper()  # noqa: S303 - a name, not a proof


def common_name(certificate: x509.Certificate) -> str:
    """Return the name in a certificate, for people."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string() or "without a name"


class TrustFolder:
    """The PLC certificates that this plant trusts, and authorities that may sign them, as files in a folder.

    A certificate that is not among them is kept in `rejected` below it, for a person to compare and move.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, certificate: x509.Certificate, host: str, server_uri: str | None, now: datetime) -> None:
        """Raise CertificateError unless the PLC at `host`, which calls itself `server_uri`, may be believed."""
        trusted = list(self._trusted())
        der = as_der(certificate)
        itself = any(as_der(known) == der for known in trusted)
        if not itself and not any(_signed_by(certificate, known, now) for known in trusted):
            raise CertificateError(self._reject(certificate, der))
        check_validity(certificate, f"the certificate of the PLC, {common_name(certificate)},", now)
        if itself:
            return
        # Trusting an authority trusts all that it signed, so name and address must be this PLC's own.
        if (uri := application_uri(certificate)) != server_uri:
            raise CertificateError(
                f"the PLC calls itself {server_uri!r} and its certificate is for {uri!r}: issue one for this PLC, or "
                f"put this very certificate into {self._folder}"
            )
        if host not in _hosts(certificate):
            raise CertificateError(
                f"the PLC's certificate is for {', '.join(_hosts(certificate)) or 'no address'}, not for {host}: "
                f"connect by a name that it has, or put this very certificate into {self._folder}"
            )

    def _trusted(self) -> Iterator[x509.Certificate]:
        try:
            files = sorted(path for path in self._folder.iterdir() if path.is_file() and not path.name.startswith("."))
        except OSError as error:
            raise CertificateError(f"the trust folder {self._folder} cannot be read: {error.strerror}") from error
        for path in files:
            yield read_certificate(path)

    def _reject(self, certificate: x509.Certificate, der: bytes) -> str:
        print_ = thumbprint(certificate)
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", common_name(certificate))[:60]
        kept = self._folder / REJECTED / f"{name}-{print_}.der"
        said = f"the PLC shows a certificate that is not trusted ({common_name(certificate)}, thumbprint {print_})"
        try:
            kept.parent.mkdir(exist_ok=True)
            if not kept.exists() and sum(1 for _ in kept.parent.iterdir()) < MAX_REJECTED:
                kept.write_bytes(der)
        except OSError:
            pass  # a read-only folder: the sentence says what can be done without
        if kept.exists():
            return f"{said}: compare the thumbprint with the PLC's own, then move {kept} to {self._folder}"
        return f"{said}: export the certificate from the PLC and put it into {self._folder}"


@dataclass(frozen=True, slots=True)
class Role:
    """What a certificate is for: the name in it, the end of its application URI, its key's use."""

    name: str
    uri: str
    use: x509.ObjectIdentifier


BRIDGE = Role("neverblink", "neverblink", ExtendedKeyUsageOID.CLIENT_AUTH)
SIMULATED_PLC = Role("simulated PLC", "neverblink:simulated-plc", ExtendedKeyUsageOID.SERVER_AUTH)


def make_identity(
    certificate_file: Path,
    key_file: Path,
    hosts: Sequence[str],
    days: int,
    now: datetime,
    *,
    role: Role = BRIDGE,
) -> x509.Certificate:
    """Make an application certificate and its key; `hosts[0]` is this machine, the others its further names.

    The certificate is PEM where its file is named so, else DER. Raises CertificateError; an existing file is never
    overwritten.
    """
    for path in (certificate_file, key_file):
        if path.exists():
            raise CertificateError(
                f"{path} is there already, and PLCs may trust it; to make a new pair, move {certificate_file} and "
                f"{key_file} away first"
            )
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    made = _self_signed(key, hosts, now - _CLOCK_SKEW, now + timedelta(days=days), role)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    encoding = serialization.Encoding.PEM if certificate_file.suffix == ".pem" else serialization.Encoding.DER
    _write_new(key_file, pem, 0o600)
    try:
        _write_new(certificate_file, made.public_bytes(encoding), 0o644)
    except CertificateError:
        with contextlib.suppress(OSError):
            key_file.unlink()
        raise
    return made


def _self_signed(
    key: rsa.RSAPrivateKey, hosts: Sequence[str], not_before: datetime, not_after: datetime, role: Role
) -> x509.Certificate:
    """Return an application instance certificate by OPC 10000-6, table 43."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"{role.name} on {hosts[0]}"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "neverblink"),
        ]
    )
    names = [x509.UniformResourceIdentifier(f"urn:{hosts[0]}:{role.uri}"), *map(_general_name, hosts)]
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_cert_sign=True,  # a self-signed certificate is its own issuer, and strict PLCs check the issuer's usage
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([role.use]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise CertificateError(f"{path} cannot be written: {error.strerror}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from error


def _read_key(path: Path) -> rsa.RSAPrivateKey:
    content = _content(path)
    pem = content.lstrip().startswith(_PEM)
    load = serialization.load_pem_private_key if pem else serialization.load_der_private_key
    try:
        key = load(content, password=None)
    except TypeError as error:
        raise CertificateError(
            f"the key {path} is locked with a password: store it without one, readable by this service alone"
        ) from error
    except ValueError as error:
        raise CertificateError(f"{path} holds no private key that can be read (PEM or DER)") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise CertificateError(f"the key {path} is no RSA key, and the policies of PLCs need RSA")
    return key


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate, now: datetime) -> bool:
    if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
        return False
    try:
        if not authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return True


def _alternative_names(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return []
    return [str(name.value) for name in names if isinstance(name, kind)]


def _hosts(certificate: x509.Certificate) -> list[str]:
    return [*_alternative_names(certificate, x509.DNSName), *_alternative_names(certificate, x509.IPAddress)]
