"""A small Kafka broker for one machine and for tests: in memory, on loopback, with faults on request.

It is never for a plant. What it promises is proved by the contract tests that also run against Apache Kafka.
"""

from neverblink.kafka.development_broker.faults import Fault, Faults
from neverblink.kafka.development_broker.program import main, run
from neverblink.kafka.development_broker.protocol import Api, ErrorCode
from neverblink.kafka.development_broker.server import BrokerError, DevelopmentBroker, Limits

__all__ = ["Api", "BrokerError", "DevelopmentBroker", "ErrorCode", "Fault", "Faults", "Limits", "main", "run"]
