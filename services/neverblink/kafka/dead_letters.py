"""Sets poison records aside, where people find them with place and cause."""

from datetime import UTC, datetime

import orjson

from neverblink import telemetry
from neverblink.events import TOPICS, DeadLetter
from neverblink.events.identity import derived_id
from neverblink.kafka.consumer import Record
from neverblink.kafka.instruments import set_aside
from neverblink.kafka.producer import EventProducer

# Room for the headers that describe the record.
_MAX_BODY = TOPICS["dead-letters"].max_message_bytes - 64 * 1024
_MAX_HEADERS = 8192


class DeadLetters:
    """Writes dead letters for one service, and counts them."""

    def __init__(self, producer: EventProducer, service: str) -> None:
        self._producer = producer
        self._service = service
        self._log = telemetry.logger(service)
        self._counter = set_aside(service)

    async def send(self, record: Record, why: str) -> None:
        """Write the record to the dead-letter topic and return when it is acknowledged."""
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        self._log.warning(
            f"the record {place} is set aside: {why}", extra={"fields": {"key": record.key, "place": place}}
        )
        self._counter.add(1, {"topic": record.topic})
        headers = orjson.dumps([[name, raw.decode(errors="replace")] for name, raw in record.headers]).decode()
        await self._producer.send(
            DeadLetter(
                id=derived_id("dead-letter", self._service, place),
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                recordkey=record.key[:512],
                recordheaders=headers if len(headers) <= _MAX_HEADERS else "[]",
                service=self._service,
                why=why[:2000],
                truncated=len(record.value) > _MAX_BODY,
                at=datetime.now(UTC),
                body=record.value[:_MAX_BODY],
            )
        )
