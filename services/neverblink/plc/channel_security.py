"""Policy, certificates and user of a session: what we show a PLC, and what we believe it by."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import asyncua.ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties

from neverblink.plant import Plc
from neverblink.plant.secret_line import first_line
from neverblink.plc.certificates import (
    WARN_BEFORE,
    CertificateError,
    Identity,
    TrustFolder,
    as_der,
    check_validity,
    first_of_chain,
    read_certificate,
    read_identity,
)
from neverblink.plc.errors import TIMEOUT_S, PlcRefusedError, not_offered, unreachable
from neverblink.service_life.time_limit import time_limit

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

_POLICIES: Mapping[str, Any] = {
    "None": security_policies.SecurityPolicyNone,
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_log = logging.getLogger("neverblink.plc")
_warned: set[tuple[Path | None, date]] = set()  # sessions come and go; a day's warning is said once


def log_in(client: Client, plc: Plc) -> None:
    """Name the plant file's user, where it has one. Raises PlcRefusedError."""
    security = plc.security
    if security.username is not None and security.password_file is not None:
        client.set_user(security.username)
        client.set_password(_first_line(security.password_file))


async def secure(client: Client, plc: Plc) -> tuple[bytes | None, Mapping[str, datetime]]:
    """Set the policy and both sides' certificates; return the PLC's, and when both expire. Policy None has neither."""
    security = plc.security
    if security.policy == "None" or security.certificate is None or security.key is None:
        return None, {}
    now = datetime.now(UTC)
    try:
        ours = read_identity(security.certificate, security.key, now)
        theirs = await _believed(plc, now)
    except CertificateError as error:
        raise PlcRefusedError(f"{plc.endpoint} is not spoken to: {error}") from error
    _warn_before_expiry(plc, ours, now)
    client.application_uri = ours.uri
    try:
        await client.set_security(
            _POLICIES[security.policy],
            CertProperties(ours.certificate, "der"),
            CertProperties(ours.key, "pem"),
            server_certificate=CertProperties(theirs, "der"),
        )
    except (ValueError, TypeError) as error:
        raise PlcRefusedError(f"the certificates for {plc.endpoint} cannot be used: {error}") from error
    return theirs, {"ours": ours.not_after, "plc": first_of_chain(theirs).not_valid_after_utc}


async def _believed(plc: Plc, now: datetime) -> bytes:
    """Return the certificate with which the PLC must prove itself. Raises CertificateError or PlcError."""
    security = plc.security
    if security.plc_certificate is not None:
        pinned = read_certificate(security.plc_certificate)
        check_validity(pinned, f"the PLC's certificate {security.plc_certificate}", now)
        return as_der(pinned)
    assert security.trusted is not None
    try:
        found = await offer(plc, TIMEOUT_S)
    except Exception as error:  # the library lets more than its own errors through
        heed_cancellation()
        raise unreachable(error, plc) from error
    if found is None:
        raise not_offered(plc)
    shown = first_of_chain(found.ServerCertificate or b"")
    TrustFolder(security.trusted).check(shown, urlparse(plc.endpoint).hostname or "", found.Server.ApplicationUri, now)
    return as_der(shown)


async def offer(plc: Plc, within_s: float) -> Any:
    """Return the PLC's endpoint with our policy and mode; None when it has none.

    GetEndpoints needs no security (OPC 10000-4, section 5.5.4): what it says is a claim, which the handshake proves.
    """
    asking = Client(plc.endpoint, timeout=within_s)
    async with time_limit(within_s):
        endpoints = await asking.connect_and_get_server_endpoints()
    insecure = plc.security.policy == "None"
    mode = ua.MessageSecurityMode.None_ if insecure else ua.MessageSecurityMode.SignAndEncrypt
    wanted = _POLICIES[plc.security.policy].URI, mode
    return next((found for found in endpoints if (found.SecurityPolicyUri, found.SecurityMode) == wanted), None)


def _warn_before_expiry(plc: Plc, ours: Identity, now: datetime) -> None:
    left, once = ours.not_after - now, (plc.security.certificate, now.date())
    if left >= WARN_BEFORE or once in _warned:
        return
    _warned.add(once)
    _log.warning(
        f"our certificate {plc.security.certificate} expires in {left.days} days, and every PLC will refuse us then: "
        "make a new one with `neverblink bridge certificate`"
    )


def _first_line(path: Path) -> str:
    try:
        return first_line(path)
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise PlcRefusedError(f"the password file {path} has no readable first line") from error


def heed_cancellation() -> None:
    """Raise the CancelledError that the library has swallowed while it connected or disconnected."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
