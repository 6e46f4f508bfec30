"""How events travel: producer, consumer, topics, dead letters, and the brokers for one machine."""

from neverblink.kafka.connection import KafkaError, RecordTooLargeError
from neverblink.kafka.consumer import EventConsumer, partition_of
from neverblink.kafka.dead_letters import DeadLetters
from neverblink.kafka.latest_events import LatestEvents
from neverblink.kafka.producer import EventProducer, Place
from neverblink.kafka.record import Partition, Record
from neverblink.kafka.topics import ensure_topics
from neverblink.kafka.trouble import Trouble

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
    "Trouble",
    "ensure_topics",
    "partition_of",
]
