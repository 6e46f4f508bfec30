"""What all answers of the broker share: who it is, the fields of a good answer, the one refusal of transactions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neverblink import telemetry
from neverblink.brokers.development.protocol import Call, ErrorCode

NODE_ID = 1
NO_OFFSET = -1

Answer = Mapping[str, Any]
OK: Answer = {"throttle_time_ms": 0, "error_code": ErrorCode.NONE, "error_message": None}


@dataclass(frozen=True, slots=True)
class Address:
    """Where clients reach the broker."""

    host: str
    port: int


def no_transactions(call: Call) -> ErrorCode:
    """Refuse what belongs to a transaction."""
    telemetry.logger("broker").warning(
        f"the client {call.client_id!r} asks for transactions, which the development broker does not have: "
        "use Apache Kafka"
    )
    # The one error that every client takes as final; others make it ask again for ever.
    return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
