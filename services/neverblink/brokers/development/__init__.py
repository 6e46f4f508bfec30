"""A small Kafka broker for one machine and for tests: in memory, on loopback, with faults on request.

It is never for a plant. What it promises is proved by the contract tests that also run against Apache Kafka.
"""

from neverblink.brokers.development.faults import Fault, Faults
from neverblink.brokers.development.protocol import Api, ErrorCode
from neverblink.brokers.development.server import BrokerError, DevelopmentBroker, Limits

__all__ = ["Api", "BrokerError", "DevelopmentBroker", "ErrorCode", "Fault", "Faults", "Limits"]
