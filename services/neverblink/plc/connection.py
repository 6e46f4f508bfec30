"""One OPC UA session with a PLC. A lost session is never revived: the owner opens a fresh one.

asyncua's own reconnecting is not used: while it reconnects, a write may wait for a minute and then still be
sent, and no verdict may wait inside a library.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse

import asyncua.ua
from asyncua.client.client import Client
from asyncua.common.subscription import DataChangeEvent, OverflowPolicy, StatusChangeEvent
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties

from neverblink.errors import NeverblinkError
from neverblink.plant import Plc
from neverblink.plc.certificates import (
    WARN_BEFORE,
    CertificateError,
    Identity,
    TrustFolder,
    as_der,
    check_validity,
    common_name,
    first_of_chain,
    read_certificate,
    read_identity,
    thumbprint,
)
from neverblink.plc.contract import PROFILES, DataType, Method, Profile, element_of, node
from neverblink.plc.session_ticket import SessionTicket, session_ticket

TIMEOUT_S = 1.0
ASK_AGAIN_S = 0.5  # after a refusal, to find out why: a PLC that answers at all does so in milliseconds
WATCHDOG_S = 0.5  # a half-open connection is found within twice this
SECURITY_RETRY_S = 10.0  # PLCs lock out clients that keep knocking with a bad certificate or password
READ_CHUNK = 100  # attributes in one Read: PLCs bound MaxNodesPerRead, and big reads take seconds on small ones

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua

_TYPES: Mapping[DataType, Any] = {
    "Boolean": ua.VariantType.Boolean,
    "UInt16": ua.VariantType.UInt16,
    "UInt32": ua.VariantType.UInt32,
}
_POLICIES: Mapping[str, Any] = {
    "None": security_policies.SecurityPolicyNone,
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes256Sha256RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_log = logging.getLogger("neverblink.plc")
_warned: set[tuple[Path | None, date]] = set()  # sessions come and go; a day's warning is said once

# asyncua reports every refused connection with a stack trace; our own sentence says the same to a person.
logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)


class PlcError(NeverblinkError, RuntimeError):
    """The PLC cannot be used now; the message says why and what to do. `retry_s` is how long to wait."""

    retry_s: float | None = None


class PlcUnreachableError(PlcError):
    """Nobody answers, or the connection broke."""


class PlcRefusedError(PlcError):
    """The PLC's server answers and does not let us in."""

    retry_s = SECURITY_RETRY_S


class PlcFullError(PlcError):
    """The PLC has no free session; `retry_s` is the time after which an abandoned one ends."""


class ContractError(PlcError):
    """The PLC's nodes are not what the contract says; each line of the message is one fault."""

    retry_s = SECURITY_RETRY_S


@dataclass(frozen=True, slots=True)
class Change:
    """A new value of a subscribed node."""

    name: str
    value: Any
    source_time: Any


@dataclass(frozen=True, slots=True)
class Attributes:
    """What the server says about one node. `status` is None when the node exists."""

    status: str | None
    type: str | None
    rank: int | None
    length: int | None
    access: int
    user_access: int


@dataclass(frozen=True, slots=True)
class MethodFound:
    """What the server says about a method and the object that has it."""

    owner_missing: str | None = None
    missing: str | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    executable: bool = False


class PlcConnection:
    """A live session. Names are contract names; values are plain Python numbers and booleans."""

    def __init__(self, client: Client, plc: Plc, namespace: int) -> None:
        self._client = client
        self._plc = plc
        self._namespace = namespace
        self._ids: dict[str, Any] = {}
        self.lost = asyncio.Event()
        self.lost_because = ""
        self.expiries: Mapping[str, datetime] = {}

    @property
    def mapped(self) -> Iterable[str]:
        """Return the contract names that the plant file maps one by one."""
        return self._plc.nodes.keys()

    def text_id(self, name: str) -> str:
        """Return a contract name's node id as the plant file writes it."""
        return node_text_id(self._plc, name)

    @property
    def method_object(self) -> str:
        """Return the node id of the object that has the method, as the plant file writes it."""
        return self._plc.method_object

    @property
    def profile(self) -> Profile:
        """Return the profile that the plant file names."""
        return PROFILES[self._plc.profile]

    def _id(self, name: str) -> Any:
        known = self._ids.get(name)
        if known is None:
            known = self._ids[name] = parse_node_id(self.text_id(name), self._namespace)
        return known

    async def read(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the values of nodes, None for one that cannot be read now. Raises PlcUnreachableError."""
        values = await self._read([(self._id(name), ua.AttributeIds.Value) for name in names])
        return {
            name: found.Value.Value if found.Value is not None and _good(found) else None
            for name, found in zip(names, values, strict=True)
        }

    async def write(self, values: Mapping[str, int | bool]) -> dict[str, str | None]:
        """Write nodes in one request; return the status name of each that was refused, None for a good one.

        Nothing is retried: after PlcUnreachableError or TimeoutError it is unknown whether the PLC has
        written, or still will.
        """
        ids = [self._id(name) for name in values]
        # Without timestamps: S7, Kepware and open62541 answer BadWriteNotSupported when one is set.
        data = [ua.DataValue(ua.Variant(value, _TYPES[node(name).type])) for name, value in values.items()]
        try:
            results = await self._client.uaclient.write_attributes(ids, data, ua.AttributeIds.Value)
        except TimeoutError:
            raise
        except (OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the write was not answered: {_words(error)}") from error
        return {name: None if status.is_good() else status.name for name, status in zip(values, results, strict=True)}

    async def register(self, names: Iterable[str]) -> None:
        """Register nodes that are used again and again; a server that cannot is used without."""
        wanted = list(names)
        try:
            aliases = await self._client.uaclient.register_nodes([self._id(name) for name in wanted])
        except (TimeoutError, OSError, ua.UaError):
            return
        self._ids.update(zip(wanted, aliases, strict=True))

    async def attributes(self, names: Sequence[str]) -> dict[str, Attributes]:
        """Return type, rank and access of nodes, for validation. Raises PlcUnreachableError."""
        kinds = (
            ua.AttributeIds.DataType,
            ua.AttributeIds.ValueRank,
            ua.AttributeIds.AccessLevel,
            ua.AttributeIds.UserAccessLevel,
            ua.AttributeIds.Value,
        )
        found = await self._read([(self._id(name), kind) for name in names for kind in kinds])
        return {name: _attributes(found[i * len(kinds) : (i + 1) * len(kinds)]) for i, name in enumerate(names)}

    async def call(self, method: Method, values: Sequence[int]) -> tuple[str | None, list[Any]]:
        """Call a method once; return the status name if the server refused it, and what it gave back.

        As with `write`, after PlcUnreachableError or TimeoutError it is unknown whether the PLC acts.
        """
        request = ua.CallMethodRequest()
        request.ObjectId, request.MethodId = self._method_ids(method)
        request.InputArguments = [
            ua.Variant(value, _TYPES[kind]) for value, (_, kind) in zip(values, method.inputs, strict=True)
        ]
        try:
            (result,) = await self._client.uaclient.call([request])
        except TimeoutError:
            raise
        except (OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the call was not answered: {_words(error)}") from error
        if not result.StatusCode.is_good():
            return result.StatusCode.name, []
        return None, [argument.Value for argument in result.OutputArguments or ()]

    async def method_found(self, method: Method) -> MethodFound:
        """Return what the server says about a method, for validation. Raises PlcUnreachableError."""
        owner, method_id = self._method_ids(method)
        asked = (
            (owner, ua.AttributeIds.NodeClass),
            (method_id, ua.AttributeIds.NodeClass),
            (method_id, ua.AttributeIds.Executable),
            (method_id, ua.AttributeIds.UserExecutable),
        )
        owner_class, method_class, executable, user_executable = await self._read(asked)
        if not _good(owner_class):
            return MethodFound(owner_missing=owner_class.StatusCode.name)
        if not _good(method_class):
            return MethodFound(missing=method_class.StatusCode.name)
        if method_class.Value.Value != ua.NodeClass.Method:
            return MethodFound(missing="it is a variable or an object")
        takes = await self._arguments(method_id, "InputArguments")
        gives = await self._arguments(method_id, "OutputArguments")
        allowed = all(_good(found) and found.Value.Value for found in (executable, user_executable))
        return MethodFound(inputs=takes, outputs=gives, executable=allowed)

    def _method_ids(self, method: Method) -> tuple[Any, Any]:
        if method.name not in self._ids:
            self._ids[method.name] = parse_node_id(self.text_id(method.name), self._namespace)
        return parse_node_id(self._plc.method_object, self._namespace), self._ids[method.name]

    async def _arguments(self, method_id: Any, which: str) -> tuple[tuple[str, str], ...]:
        try:
            found = await self._client.get_node(method_id).get_child(f"0:{which}")
            arguments = await found.read_value()
        except (TimeoutError, OSError) as error:
            raise PlcUnreachableError(f"the PLC does not tell a method's arguments: {_words(error)}") from error
        except ua.UaError:
            return ()  # a method without arguments may leave the property out
        return tuple((str(argument.Name), _type_name(argument)) for argument in arguments or ())

    async def changes(self, names: Sequence[str], every_ms: float) -> AsyncGenerator[Change, None]:
        """Yield changes of nodes, the present values first; ends when the session is lost."""
        subscription = await self._subscribe(names, every_ms)
        by_id = {self._id(name): name for name in names}
        while not self.lost.is_set():
            try:
                # Not next_event's own timeout: that is asyncio.wait_for, which before Python 3.12 swallows a
                # cancellation that meets an event, and a camera node told to stop would go on for ever.
                async with asyncio.timeout(WATCHDOG_S):
                    event = await subscription.next_event()
            except TimeoutError:
                continue
            except StopAsyncIteration:
                return
            if isinstance(event, StatusChangeEvent):
                return
            if isinstance(event, DataChangeEvent):
                value = event.data.monitored_item.Value
                yield Change(by_id[event.node.nodeid], event.value, value.SourceTimestamp)

    async def _subscribe(self, names: Sequence[str], every_ms: float) -> Any:
        try:
            subscription = await self._client.create_subscription(
                every_ms, queue_maxsize=1024, overflow=OverflowPolicy.DROP_OLDEST
            )
            nodes: Any = [self._client.get_node(self._id(name)) for name in names]
            interval = ua.Double(every_ms)
            await subscription.subscribe_data_change(nodes, queuesize=32, sampling_interval=interval)
        except (TimeoutError, OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the PLC grants no subscription: {_words(error)}") from error
        return subscription

    async def _read(self, wanted: Sequence[tuple[Any, Any]]) -> list[Any]:
        found: list[Any] = []
        try:
            for start in range(0, len(wanted), READ_CHUNK):
                parameters = ua.ReadParameters()
                parameters.NodesToRead = [
                    ua.ReadValueId(node_id, attribute) for node_id, attribute in wanted[start : start + READ_CHUNK]
                ]
                found += await self._client.uaclient.read(parameters)
        except (TimeoutError, OSError, ua.UaError) as error:
            raise PlcUnreachableError(f"the PLC does not answer a read: {_words(error)}") from error
        return found

    async def _on_lost(self, error: Exception) -> None:
        self.lost_because = _words(error)
        self.lost.set()


@contextlib.asynccontextmanager
async def connect(plc: Plc, name: str) -> AsyncIterator[PlcConnection]:
    """Open a session for `name` (`bridge line-1`) and close it at the end.

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
            _heed_cancellation()
            connection = PlcConnection(client, plc, await _namespace(client, plc))
            connection.expiries = expiries
            client.connection_lost_callback = connection._on_lost
            yield connection
        finally:
            closed = False
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2 * TIMEOUT_S):
                    await client.disconnect()
                    closed = connection is None or not connection.lost.is_set()
            if ticket is not None and closed:
                ticket.forget()
            _heed_cancellation()


async def _opened(plc: Plc, name: str, ticket: SessionTicket | None) -> tuple[Client, Mapping[str, datetime]]:
    """Return a client with a new session, and when the certificates of both sides expire."""
    client = _client(plc, name, Client)
    shown, expiries = await _secure(client, plc)
    client.session_state_path = None if ticket is None else ticket.fresh
    try:
        await client.connect()
    # The library lets AssertionError, ValueError and more through here; each becomes a sentence.
    except Exception as error:
        _heed_cancellation()
        raise await _explained(error, plc, shown) from error
    if ticket is not None:
        ticket.keep()
    return client, expiries


C = TypeVar("C", bound=Client)


def _client(plc: Plc, name: str, kind: type[C]) -> C:
    client = kind(plc.endpoint, timeout=TIMEOUT_S, watchdog_intervall=WATCHDOG_S)
    client.name = client.description = f"neverblink {name}"
    client.session_timeout = int(plc.session_timeout_s * 1000)
    _log_in(client, plc)
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
        offer = await _offer(plc, TIMEOUT_S)
        heir.tokens = () if offer is None else offer.UserIdentityTokens or ()
        await _secure(heir, plc)
        heir.session_state_path = ticket.kept
        async with asyncio.timeout(4 * TIMEOUT_S):
            await heir.connect()
            await heir.disconnect()
    # Whatever goes wrong here, the PLC stays as full as it was, and that has been said.
    except Exception:  # noqa: BLE001
        _heed_cancellation()
        ticket.forget()
        return False
    _heed_cancellation()
    _log.warning(f"{plc.endpoint} was full, and the session that {name} had left there was ended")
    return True


def _heed_cancellation() -> None:
    """Raise the CancelledError that the library has swallowed while it connected or disconnected."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def node_text_id(plc: Plc, name: str) -> str:
    """Return a contract name's node id as the plant file writes it."""
    element = element_of(name)
    return plc.node_id(name) if element is None else plc.slot_id(element[1], element[0])


def parse_node_id(text: str, namespace: int) -> Any:
    """Return the node id that `s=…` or `i=…` means in a namespace. Raises ContractError."""
    kind, _, identifier = text.partition("=")
    if kind == "i" and identifier.isdecimal():
        return ua.NodeId(int(identifier), namespace)
    if kind == "s" and identifier:
        return ua.NodeId(identifier, namespace)
    raise ContractError(f"the node id {text!r} is neither s=NAME nor i=NUMBER; correct it in the plant file")


async def _namespace(client: Client, plc: Plc) -> int:
    try:
        known: list[str] = await client.get_namespace_array()
    except (TimeoutError, OSError, ua.UaError) as error:
        raise PlcUnreachableError(f"{plc.endpoint} does not tell its namespaces: {_words(error)}") from error
    if plc.namespace_uri not in known:
        raise ContractError(
            f"{plc.endpoint} has no namespace {plc.namespace_uri!r}; it has {', '.join(known)}; "
            "set namespace_uri to the one of the PLC program"
        )
    return known.index(plc.namespace_uri)


def _log_in(client: Client, plc: Plc) -> None:
    security = plc.security
    if security.username is not None and security.password_file is not None:
        client.set_user(security.username)
        client.set_password(_first_line(security.password_file))


async def _secure(client: Client, plc: Plc) -> tuple[bytes | None, Mapping[str, datetime]]:
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
        offer = await _offer(plc, TIMEOUT_S)
    except Exception as error:
        _heed_cancellation()
        raise _unreachable(error, plc) from error
    if offer is None:
        raise _not_offered(plc)
    shown = first_of_chain(offer.ServerCertificate or b"")
    TrustFolder(security.trusted).check(shown, urlparse(plc.endpoint).hostname or "", offer.Server.ApplicationUri, now)
    return as_der(shown)


async def _offer(plc: Plc, within_s: float) -> Any:
    """Return the PLC's endpoint with our policy and mode; None when it has none.

    GetEndpoints needs no security (OPC 10000-4, section 5.5.4): what it says is a claim, which the handshake proves.
    """
    asking = Client(plc.endpoint, timeout=within_s)
    async with asyncio.timeout(within_s):
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
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError, UnicodeDecodeError) as error:
        raise PlcRefusedError(f"the password file {path} has no readable first line") from error


async def _explained(error: Exception, plc: Plc, shown: bytes | None) -> PlcError:
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
    channel = (AssertionError, TimeoutError, ConnectionError, codes.BadSecurityChecksFailed, ua.UaError)
    if shown is not None and isinstance(error, channel) and not isinstance(error, ConnectionRefusedError):
        # OPC 10000-4, section 6.1.3: a server says no more than that the check failed, if that; so we ask around.
        return await _channel_refusal(error, plc, shown)
    return _unreachable(error, plc)


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
        offer = await _offer(plc, ASK_AGAIN_S)
        certificate = None if offer is None else first_of_chain(offer.ServerCertificate or b"")
    # Whatever goes wrong with the question, the first answer stands.
    except Exception:  # noqa: BLE001
        _heed_cancellation()
        return _unreachable(error, plc)
    if certificate is None:
        return _not_offered(plc)
    if as_der(certificate) != shown:
        return PlcRefusedError(
            f"{plc.endpoint} shows another certificate ({common_name(certificate)}, thumbprint "
            f"{thumbprint(certificate)}) than {plc.security.plc_certificate or 'a moment ago'}: if the PLC was "
            "exchanged, export its new certificate; if not, find out who answers at this address"
        )
    return PlcRefusedError(
        f"{plc.endpoint} closes the secure channel ({_words(error)}): most likely it does not trust "
        f"{plc.security.certificate}; trust that on the PLC, or move it there from rejected to trusted"
    )


def _not_offered(plc: Plc) -> PlcError:
    return PlcRefusedError(
        f"{plc.endpoint} does not offer policy {plc.security.policy} with sign and encrypt: enable it on the PLC"
    )


def _unreachable(error: Exception, plc: Plc) -> PlcError:
    where = plc.endpoint
    if isinstance(error, PlcError):
        return error
    if isinstance(error, ConnectionRefusedError):
        return PlcUnreachableError(f"{where} refuses the connection: is its OPC UA server switched on?")
    if isinstance(error, TimeoutError):
        return PlcUnreachableError(f"{where} does not answer within {TIMEOUT_S:g} s: is the PLC on and reachable?")
    if isinstance(error, OSError):
        return PlcUnreachableError(f"{where} cannot be reached: {error}")
    return PlcRefusedError(f"{where} refuses the session: {_words(error)}")


def _good(found: Any) -> bool:
    return found.StatusCode is None or bool(found.StatusCode.is_good())


def _attributes(found: Sequence[Any]) -> Attributes:
    data_type, rank, access, user_access, value = found
    if not _good(data_type):
        return Attributes(data_type.StatusCode.name, None, None, None, 0, 0)
    variant = value.Value if _good(value) else None
    if variant is not None and variant.VariantType is not ua.VariantType.Null:
        # The value's own type is what a write must have; S7's DWORD is a vendor type derived from UInt32.
        name = variant.VariantType.name
    else:
        name = ua.ObjectIdNames.get(data_type.Value.Value.Identifier, str(data_type.Value.Value))
    length = len(variant.Value) if variant is not None and isinstance(variant.Value, list) else None
    return Attributes(None, name, _number(rank), length, _number(access) or 0, _number(user_access) or 0)


def _type_name(argument: Any) -> str:
    number = argument.DataType.Identifier if argument.DataType.NamespaceIndex == 0 else None
    name = ua.ObjectIdNames.get(number, str(argument.DataType))
    return str(name) if argument.ValueRank in (-1, -2, -3) else f"array of {name}"


def _number(found: Any) -> int | None:
    return int(found.Value.Value) if _good(found) and found.Value is not None else None


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ua.UaStatusCodeError):
        return type(error).__name__
    return str(error) or type(error).__name__
