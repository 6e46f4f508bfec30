"""Sets poison records aside, where people find them with place and cause."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from neverblink import telemetry
from neverblink.events import TOPICS, DeadLetter
from neverblink.events.envelope import Unreadable
from neverblink.events.identity import derived_id
from neverblink.kafka.instruments import set_aside
from neverblink.kafka.producer import EventProducer
from neverblink.kafka.record import Record

# Room for the headers that describe the record, and for the batch around it.
_MAX_BODY = TOPICS["dead-letters"].max_message_bytes - 64 * 1024
_MAX_HEADERS = 8192
_MAX_KEY = 512
_MAX_WHY = 2000


class DeadLetters:
    """Writes dead letters for one service, and counts them."""

    def __init__(self, producer: EventProducer, service: str) -> None:
        self._producer = producer
        self._service = service
        self._recurring = telemetry.Recurring(telemetry.logger(service))
        self._counter = set_aside(service)

    async def send(self, record: Record, why: str) -> None:
        """Write the record to the dead-letter topic and return when it is acknowledged."""
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        why = carried(why, _MAX_WHY)
        key = carried(record.key, _MAX_KEY)
        self._recurring.tell(
            record.topic, f"the record {place} is set aside: {why}", fields={"key": key, "place": place}
        )
        self._counter.add(1, {"topic": record.topic})
        await self._producer.send(
            DeadLetter(
                id=derived_id("dead-letter", self._service, place),
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                recordkey=key,
                recordheaders=_as_json(record.headers),
                service=self._service,
                why=why,
                truncated=len(record.value) > _MAX_BODY,
                at=datetime.now(UTC),
                body=record.value[:_MAX_BODY],
            )
        )


def carried(text: str, longest: int) -> str:
    """Return what of a text every header, log and database takes: no control character, no lone surrogate."""
    return "".join("\ufffd" if _is_not_carried(character) else character for character in text[:longest])


def _is_not_carried(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs"}


def _as_json(headers: Sequence[tuple[str, bytes]]) -> str:
    """Return a record's headers as JSON text, none of them where they are too long."""
    if sum(len(name) + len(raw) for name, raw in headers) > _MAX_HEADERS:
        return "[]"
    text = orjson.dumps(
        [
            [carried(name, _MAX_HEADERS), carried(raw.decode(errors="replace"), _MAX_HEADERS)]
            for name, raw in headers
            if not isinstance(name, Unreadable)
        ]
    ).decode()
    return text if len(text) <= _MAX_HEADERS else "[]"
