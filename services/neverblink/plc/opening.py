"""Opens a session with a PLC, ends one that a process before left open, and says in words why none can be had.

asyncua's own reconnecting is not used: while it reconnects, a write may wait for a minute and then still be
sent, and no verdict may wait inside a library.
"""

import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncua.ua
from asyncua.client.client import Client

from neverblink.plant import Plc
from neverblink.plc.certificates import as_der, common_name, first_of_chain, thumbprint
from neverblink.plc.channel_security import heed_cancellation, log_in, offer, secure
from neverblink.plc.connection import WATCHDOG_S, PlcConnection
from neverblink.plc.errors import (
    TIMEOUT_S,
    ContractError,
    PlcError,
    PlcFullError,
    PlcRefusedError,
    PlcUnreachableError,
    not_offered,
    unreachable,
    words,
)
from neverblink.plc.session_ticket import SessionTicket, session_ticket
from neverblink.service_life.time_limit import time_limit

BUSY_RETRY_S = 2.0  # rarely enough for one that does not trust us, soon enough for one that stood still
ASK_AGAIN_S = 0.5  # after a refusal, to find out why: a PLC that answers at all does so in milliseconds

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

_log = logging.getLogger("neverblink.plc")

# asyncua reports every refused connection with a stack trace; our own sentence says the same to a person.
logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)


@contextlib.asynccontextmanager
async def connect(plc: Plc, name: str, *, any_namespace: bool = False) -> AsyncIterator[PlcConnection]:
    """Open a session for `name` (`bridge line-1`) and close it at the end.

    With `any_namespace` it need not have the plant file's: whoever looks for the right one cannot know it.

    Raises PlcUnreachableError, PlcRefusedError or PlcFullError, with a sentence for the person at the line.
    """
    with session_ticket(plc.session_folder, name) as ticket:
        try:
            client, expiries = await _opened(plc, name, ticket)
        except PlcFullError:
            if ticket is None or not await _end_abandoned(plc, name, ticket):
                raise
            client, expiries = await _opened(plc, name, ticket)
        connection: PlcConnection | None = None
        try:
            heed_cancellation()
            namespace = 0 if any_namespace else await _namespace(client, plc)
            connection = PlcConnection(client, plc, namespace)
            connection.expiries = expiries
            client.connection_lost_callback = connection.on_lost
            yield connection
        finally:
            closed = False
            # Whatever the library meets while it says goodbye: the session is over for us.
            with contextlib.suppress(Exception):
                async with time_limit(2 * TIMEOUT_S):
                    await client.disconnect()
                    closed = connection is None or not connection.lost.is_set()
            if ticket is not None and closed:
                ticket.forget()
            heed_cancellation()


async def _opened(plc: Plc, name: str, ticket: SessionTicket | None) -> tuple[Client, Mapping[str, datetime]]:
    """Return a client with a new session, and when the certificates of both sides expire."""
    client = _client(plc, name, Client)
    shown, expiries = await secure(client, plc)
    client.session_state_path = None if ticket is None else ticket.fresh
    try:
        await client.connect()
    # The library lets AssertionError, ValueError and more through here; each becomes a sentence.
    except Exception as error:
        heed_cancellation()
        raise await explained(error, plc, shown) from error
    if ticket is not None:
        ticket.keep()
    return client, expiries


C = TypeVar("C", bound=Client)


def _client(plc: Plc, name: str, kind: type[C]) -> C:
    client = kind(plc.endpoint, timeout=TIMEOUT_S, watchdog_intervall=WATCHDOG_S)
    client.name = client.description = f"neverblink {name}"
    client.session_timeout = int(plc.session_timeout_s * 1000)
    log_in(client, plc)
    return client


class _Heir(Client):
    """Takes a session over by its token. The library learns from CreateSession how users are named; an heir asks."""

    tokens: Sequence[Any] = ()

    def server_policy(self, token_type: Any) -> Any:
        """Return the PLC's policy for this kind of user."""
        for policy in self.tokens:
            if policy.TokenType == token_type:
                return dataclasses.replace(
                    policy, SecurityPolicyUri=policy.SecurityPolicyUri or self.security_policy.URI
                )
        return super().server_policy(token_type)


async def _end_abandoned(plc: Plc, name: str, ticket: SessionTicket) -> bool:
    """End the session that a process before this one has left open; return whether that freed one."""
    if not ticket.renew():
        return False
    heir = _client(plc, name, _Heir)
    try:
        found = await offer(plc, TIMEOUT_S)
        heir.tokens = () if found is None else found.UserIdentityTokens or ()
        await secure(heir, plc)
        heir.session_state_path = ticket.kept
        async with time_limit(4 * TIMEOUT_S):
            await heir.connect()
            await heir.disconnect()
    # Whatever goes wrong here, the PLC stays as full as it was, and that has been said.
    except Exception:  # noqa: BLE001
        heed_cancellation()
        ticket.forget()
        return False
    heed_cancellation()
    _log.warning(f"{plc.endpoint} was full, and the session that {name} had left there was ended")
    return True


async def _namespace(client: Client, plc: Plc) -> int:
    try:
        known: list[str] = await client.get_namespace_array()
    except (TimeoutError, OSError, ua.UaError) as error:
        raise PlcUnreachableError(f"{plc.endpoint} does not tell its namespaces: {words(error)}") from error
    if plc.namespace_uri not in known:
        raise ContractError(
            f"{plc.endpoint} has no namespace {plc.namespace_uri!r}; it has {', '.join(known)}; "
            "set namespace_uri to the one of the PLC program"
        )
    return known.index(plc.namespace_uri)


_SLOW = (
    TimeoutError,
    ua.uaerrors.BadTimeout,
    ua.uaerrors.BadRequestTimeout,
    ua.uaerrors.BadTcpServerTooBusy,
    ua.uaerrors.BadServerTooBusy,
)
# How a server ends the opening of a secure channel without saying of whom it takes offence.
_CLOSED = (
    AssertionError,
    ConnectionError,
    ua.uaerrors.BadSecurityChecksFailed,
    ua.uaerrors.BadConnectionClosed,
    ua.uaerrors.BadSecureChannelClosed,
    ua.uaerrors.BadTcpSecureChannelUnknown,
    ua.uaerrors.BadCommunicationError,
)


async def explained(error: Exception, plc: Plc, shown: bytes | None) -> PlcError:
    """Return a refused connection in words; `shown` is the certificate by which we took the PLC for itself."""
    where, user = plc.endpoint, plc.security.username
    codes = ua.uaerrors
    if isinstance(error, (codes.BadUserAccessDenied, codes.BadIdentityTokenRejected, codes.BadIdentityTokenInvalid)):
        who = f"user {user!r}: check username and the password file" if user else "an anonymous user: set username"
        return PlcRefusedError(f"{where} does not let in {who}")
    if isinstance(error, (codes.BadTooManySessions, codes.BadMaxConnectionsReached, codes.BadTcpNotEnoughResources)):
        full = PlcFullError(
            f"{where} has no free session: end one, raise the PLC's limit, or wait "
            f"{plc.session_timeout_s:g} s until an abandoned one ends"
        )
        full.retry_s = plc.session_timeout_s
        return full
    if (said := _OF_OUR_CERTIFICATE.get(type(error).__name__)) is not None:
        return PlcRefusedError(f"{where} refuses our certificate {plc.security.certificate}: {said}")
    channel = (*_SLOW, *_CLOSED, ua.UaError)
    if shown is not None and isinstance(error, channel) and not isinstance(error, ConnectionRefusedError):
        # OPC 10000-4, section 6.1.3: a server says no more than that the check failed, if that; so we ask around. One
        # that cannot read what was meant for another's key says whatever its stack does: BadTcpInternalError is seen.
        return await _channel_refusal(error, plc, shown)
    return unreachable(error, plc)


_OF_OUR_CERTIFICATE: Mapping[str, str] = {
    "BadCertificateUntrusted": "it does not trust it; trust it on the PLC",
    "BadCertificateUriInvalid": "the application URI in it is not the one that the PLC expects; make one with "
    "`neverblink bridge certificate`, and trust that on the PLC",
    "BadCertificateTimeInvalid": "by the PLC's clock it has expired or is not valid yet; set the PLC's clock",
    "BadCertificateHostNameInvalid": "this machine's name is not in it; make one with `neverblink bridge certificate`",
    "BadCertificateUseNotAllowed": "its key usage is not that of an application; make one with "
    "`neverblink bridge certificate`",
    "BadCertificateInvalid": "it cannot be read there; make one with `neverblink bridge certificate`",
    "BadCertificateRevoked": "it has been revoked; make a new one with `neverblink bridge certificate`",
}


async def _channel_refusal(error: Exception, plc: Plc, shown: bytes) -> PlcError:
    try:
        found = await offer(plc, ASK_AGAIN_S)
        certificate = None if found is None else first_of_chain(found.ServerCertificate or b"")
    # Whatever goes wrong with the question, the first answer stands.
    except Exception:  # noqa: BLE001
        heed_cancellation()
        return unreachable(error, plc)
    if certificate is None:
        return not_offered(plc)
    if as_der(certificate) != shown:
        return PlcRefusedError(
            f"{plc.endpoint} shows another certificate ({common_name(certificate)}, thumbprint "
            f"{thumbprint(certificate)}) than {plc.security.plc_certificate or 'a moment ago'}: if the PLC was "
            "exchanged, export its new certificate; if not, find out who answers at this address"
        )
    if isinstance(error, _SLOW):
        # A PLC that stood still looks like one that ignores us: its line must not wait as long as a refused one's.
        busy = PlcUnreachableError(
            f"{plc.endpoint} answers, and not in time on the secure channel: it was busy, and is tried again in "
            f"{BUSY_RETRY_S:g} s; should this go on, look for {plc.security.certificate} among the certificates "
            "that it has rejected"
        )
        busy.retry_s = BUSY_RETRY_S
        return busy
    if not isinstance(error, _CLOSED):
        return unreachable(error, plc)
    return PlcRefusedError(
        f"{plc.endpoint} closes the secure channel ({words(error)}): most likely it does not trust "
        f"{plc.security.certificate}; trust that on the PLC, or move it there from rejected to trusted"
    )
