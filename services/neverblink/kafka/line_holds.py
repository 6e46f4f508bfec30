"""Puts lines on hold and back, and says which are: what people say of a line, beside what its PLC says."""

from datetime import datetime
from typing import NamedTuple

from neverblink.events import Hold
from neverblink.events.hold import PEOPLE
from neverblink.events.identity import hold_id
from neverblink.kafka.latest_events import LatestEvents
from neverblink.kafka.producer import EventProducer
from neverblink.kafka.topics import ensure_topics
from neverblink.plant import Kafka

_CLIENT = "neverblink-holds"
_READ_WITHIN_S = 30.0


class Said(NamedTuple):
    """What is said of a line from now on, and what was said by the same side before."""

    now: Hold
    before: Hold | None


async def holds_of(kafka: Kafka) -> dict[str, dict[str, Hold]]:
    """Return what each side says of each line that anything is said of, by line and source. Raises KafkaError."""
    await ensure_topics(kafka, (Hold.TOPIC,))
    found: dict[str, dict[str, Hold]] = {}
    async with LatestEvents(kafka, Hold, client_id=_CLIENT) as events:
        for _, hold in await events.to_the_end(_READ_WITHIN_S):
            if hold is not None:
                found.setdefault(hold.line, {})[hold.source] = hold
    return found


async def say_hold(kafka: Kafka, site: str, line: str, state: str, at: datetime, by: str, why: str) -> Said:
    """Say of a line, in the name of people, that it is on hold or released. Raises KafkaError."""
    before = (await holds_of(kafka)).get(line, {}).get(PEOPLE)
    said = Hold(id=hold_id(line, PEOPLE, state, at), line=line, source=PEOPLE, state=state, at=at, by=by, why=why)
    async with EventProducer(kafka, source=f"/{site}/hold", client_id=_CLIENT, writes=(Hold.TOPIC,)) as producer:
        await producer.send(said)
    return Said(said, before)
