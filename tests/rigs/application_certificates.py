"""Application certificates for tests: valid ones, and ones with the mistakes that people make."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Signer = tuple[x509.Certificate, rsa.RSAPrivateKey]


def certificate(
    folder: Path,
    name: str,
    *,
    valid_from: timedelta = timedelta(days=-1),
    valid_to: timedelta = timedelta(days=90),
    uri: str | None = "urn:neverblink:{name}",
    hosts: tuple[str, ...] = ("localhost",),
    authority: bool = False,
    signer: Signer | None = None,
    pem: bool = False,
) -> tuple[Path, Path]:
    """Write a certificate and its key (PEM), self-signed unless a signer is given; return both paths."""
    made, key = make(name, valid_from, valid_to, uri, hosts, authority, signer)
    encoding = serialization.Encoding.PEM if pem else serialization.Encoding.DER
    cert_file, key_file = folder / f"{name}{'-certificate.pem' if pem else '.der'}", folder / f"{name}.pem"
    cert_file.write_bytes(made.public_bytes(encoding))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def make(
    name: str,
    valid_from: timedelta = timedelta(days=-1),
    valid_to: timedelta = timedelta(days=90),
    uri: str | None = "urn:neverblink:{name}",
    hosts: tuple[str, ...] = ("localhost",),
    authority: bool = False,
    signer: Signer | None = None,
) -> Signer:
    """Return a certificate and its key."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    if uri is not None:
        names.insert(0, x509.UniformResourceIdentifier(uri.format(name=name)))
    usage = x509.KeyUsage(True, True, True, True, False, authority, authority, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0].subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid_from)
        .not_valid_after(now + valid_to)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer[1] if signer else key, hashes.SHA256()), key
