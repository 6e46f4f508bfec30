"""From the plant's Kafka section to the arguments of a client, and from a client's errors to sentences."""

import socket
import ssl
from collections.abc import Iterable
from typing import Any

from aiokafka.conn import collect_hosts
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NoBrokersAvailable,
    NodeNotReadyError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.errors import KafkaError as ClientError

from neverblink.errors import NeverblinkError
from neverblink.kafka import library
from neverblink.kafka.following_client import PasswordFile, fault_at
from neverblink.plant import Kafka, KafkaSecurity


class KafkaError(NeverblinkError, RuntimeError):
    """Kafka cannot do what was asked; the message says what, where and what to check."""


class RecordTooLargeError(KafkaError):
    """A record is larger than its topic takes: sending it again is in vain."""


def connection_settings(kafka: Kafka, client_id: str) -> dict[str, Any]:
    """Return the arguments that every aiokafka client of ours is made with. Raises KafkaError."""
    library.prepare()
    security = kafka.security
    settings: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap.split(","),
        "client_id": client_id,
        "security_protocol": security.protocol,
        # A moved leader is noticed in seconds; the library's default is five minutes.
        "metadata_max_age_ms": 30_000,
    }
    if security.protocol in {"SSL", "SASL_SSL"}:
        settings["ssl_context"] = _tls(security)
    if security.protocol.startswith("SASL"):
        assert security.password_file is not None
        settings["sasl_mechanism"] = security.mechanism
        settings["sasl_plain_username"] = security.username
        try:
            settings["sasl_plain_password"] = PasswordFile(security.password_file)
        except (OSError, ValueError) as error:
            raise KafkaError(f"the Kafka password file {security.password_file} cannot be read or is empty") from error
    return settings


def explained(error: BaseException, kafka: Kafka, doing: str, *, right: str = "") -> KafkaError:
    """Return the sentence that a person needs for a client's error.

    `right` is the operation and resource that an ACL must allow for it, such as `Write on topic neverblink.verdicts`.
    """
    if isinstance(error, _NOBODY_THERE):
        # The library tells its log alone why nobody let it in.
        error = fault_at((host, port) for host, port, _ in collect_hosts(kafka.bootstrap.split(","))) or error
    return KafkaError(f"cannot {doing} on Kafka at {kafka.bootstrap}: {_why(error, kafka.security, right)}")


def topics_of(error: ClientError) -> str:
    """Return the topics that an authorization error names, empty where it names none."""
    named = error.args[0] if error.args else ()
    return ", ".join(sorted([named] if isinstance(named, str) else map(str, named if _several(named) else ())))


_NOBODY_THERE = (KafkaConnectionError, NodeNotReadyError, NoBrokersAvailable, KafkaTimeoutError, OSError)
_DENIED = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, ClusterAuthorizationFailedError)


def _why(error: BaseException, security: KafkaSecurity, right: str) -> str:
    who = f"the user {security.username!r}" if security.username else "this client"
    match error:
        case SaslAuthenticationFailed():
            return f"the user {security.username!r} or its password was refused"
        case UnsupportedSaslMechanismError():
            return f"the broker offers no login by {security.mechanism}; see kafka.security.mechanism"
        case IllegalSaslStateError():
            return f"that listener wants no login, and kafka.security.protocol is {security.protocol}"
        case ssl.SSLCertVerificationError():
            return (
                f"the broker's certificate is not trusted ({error.verify_message}); kafka.security.ca_file must hold "
                "the authority that signed it, and the certificate must name the address in kafka.bootstrap"
            )
        case ssl.SSLError():
            return f"TLS with the broker failed ({error.reason or error}); is it a TLS listener, and is it for us?"
        case socket.gaierror():
            return f"the name cannot be resolved ({error.strerror}); is kafka.bootstrap right?"
        case _ if isinstance(error, _DENIED):
            named = topics_of(error) if isinstance(error, TopicAuthorizationFailedError) else ""
            needed = right or (f"topic {named}" if named else "")
            return f"{who} is not allowed to{f': {needed}' if needed else ''}; an ACL must grant it"
        case _ if isinstance(error, _NOBODY_THERE):
            return "no broker answers there; is Kafka running, and is kafka.bootstrap right?"
    return f"{type(error).__name__}: {error}"


def _several(named: object) -> bool:
    return isinstance(named, Iterable)


def _tls(security: KafkaSecurity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        if security.cert_file is not None:
            context.load_cert_chain(security.cert_file, security.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(file) for file in (security.ca_file, security.cert_file, security.key_file) if file)
        why = error.strerror or error
        raise KafkaError(f"the TLS files of kafka.security ({files}) cannot be used: {why}") from error
    return context
