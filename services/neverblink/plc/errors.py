"""Why a PLC cannot be used now, in sentences for the person at the line."""

from typing import Any

import asyncua.ua

from neverblink.errors import NeverblinkError
from neverblink.plant import Plc

TIMEOUT_S = 1.0
SECURITY_RETRY_S = 10.0  # PLCs lock out clients that keep knocking with a bad certificate or password
CONTRACT_RETRY_S = 2.0  # while a program is being loaded its nodes are away, and are looked for again

# asyncua's type hints name NewTypes where its code takes plain values, so its protocol types are not checked.
ua: Any = asyncua.ua


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

    retry_s = CONTRACT_RETRY_S


class EpochError(PlcError):
    """The PLC counts anew in an epoch that was seen: its parts would be taken for earlier ones."""

    retry_s = CONTRACT_RETRY_S


def not_offered(plc: Plc) -> PlcError:
    """Return that a PLC has no endpoint with our policy."""
    return PlcRefusedError(
        f"{plc.endpoint} does not offer policy {plc.security.policy} with sign and encrypt: enable it on the PLC"
    )


def unreachable(error: Exception, plc: Plc) -> PlcError:
    """Return a connection that was not made in words."""
    where = plc.endpoint
    if isinstance(error, PlcError):
        return error
    if isinstance(error, ConnectionRefusedError):
        return PlcUnreachableError(f"{where} refuses the connection: is its OPC UA server switched on?")
    if isinstance(error, TimeoutError):
        return PlcUnreachableError(f"{where} does not answer within {TIMEOUT_S:g} s: is the PLC on and reachable?")
    if isinstance(error, OSError):
        return PlcUnreachableError(f"{where} cannot be reached: {error}")
    return PlcRefusedError(f"{where} refuses the session: {words(error)}")


def words(error: Exception) -> str:
    """Return what went wrong, as briefly as the library says it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ua.UaStatusCodeError):
        return type(error).__name__
    return str(error) or type(error).__name__
