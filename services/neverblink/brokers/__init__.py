"""The brokers of one machine: a development broker of our own, and Apache Kafka on the local JVM."""

from neverblink.brokers.broker import Broker, BrokerName, open_broker

__all__ = ["Broker", "BrokerName", "open_broker"]
