"""From the plant's Kafka section to the arguments of a client, and from a client's errors to sentences."""

import ssl
from pathlib import Path
from typing import Any

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    NoBrokersAvailable,
    NodeNotReadyError,
    SaslAuthenticationFailed,
)
from aiokafka.errors import KafkaError as ClientError

from neverblink.errors import NeverblinkError
from neverblink.plant import Kafka, KafkaSecurity


class KafkaError(NeverblinkError, RuntimeError):
    """Kafka cannot do what was asked; the message says what, where and what to check."""


class RecordTooLargeError(KafkaError):
    """A record is larger than its topic takes: sending it again is in vain."""


def connection_settings(kafka: Kafka, client_id: str) -> dict[str, Any]:
    """Return the arguments that every aiokafka client of ours is made with. Raises KafkaError."""
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
        settings["sasl_plain_password"] = _secret(security.password_file)
    return settings


def explained(error: Exception, kafka: Kafka, doing: str) -> KafkaError:
    """Return the sentence that a person needs for a client's error."""
    if isinstance(error, SaslAuthenticationFailed):
        why = f"the user {kafka.security.username!r} or its password was refused"
    elif isinstance(error, (KafkaConnectionError, NodeNotReadyError, NoBrokersAvailable, KafkaTimeoutError, OSError)):
        why = "no broker answers there; is Kafka running, and is kafka.bootstrap right?"
    else:
        why = f"{type(error).__name__}: {error}"
    return KafkaError(f"cannot {doing} on Kafka at {kafka.bootstrap}: {why}")


CLIENT_FAULTS = (ClientError, OSError, TimeoutError)
"""What an aiokafka client raises when the cluster, not the caller, is at fault."""


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


def _secret(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError) as error:
        raise KafkaError(f"the Kafka password file {file} cannot be read or is empty") from error
