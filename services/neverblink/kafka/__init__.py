"""How events travel: producer, consumer, topics, dead letters, and the brokers for one machine."""

from neverblink.kafka.connection import KafkaError, RecordTooLargeError
from neverblink.kafka.consumer import EventConsumer, Partition, Record, partition_of
from neverblink.kafka.dead_letters import DeadLetters
from neverblink.kafka.latest_events import LatestEvents
from neverblink.kafka.producer import EventProducer, Place
from neverblink.kafka.topics import ensure_topics

__all__ = [
    "DeadLetters",
    "EventConsumer",
    "EventProducer",
    "KafkaError",
    "LatestEvents",
    "Partition",
    "Place",
    "Record",
    "RecordTooLargeError",
    "ensure_topics",
    "partition_of",
]
