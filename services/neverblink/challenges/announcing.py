"""Says on the topic that a reference part comes to a line."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from neverblink.errors import NeverblinkError
from neverblink.events import Challenge, Tracking
from neverblink.events.identity import challenge_id
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.plant import Plant
from neverblink.plant.references import load_references


class AnnouncementError(NeverblinkError, ValueError):
    """An announcement that cannot be; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What a person announces. `part` is the PLC's number; without one it is the next part after `lead`."""

    reference: str
    line: str
    by: str
    station: str | None = None
    part: Tracking | None = None
    lead: timedelta = timedelta(seconds=5)
    within: timedelta = timedelta(minutes=10)


def announcement(plant: Plant, wanted: Announced, now: datetime) -> Challenge:
    """Return the event. Raises PlantError for names that the plant does not have, AnnouncementError."""
    line = plant.line(wanted.line)
    stations = line.stations if wanted.station is None else (line.station(wanted.station),)
    known = load_references(plant.proof.challenges.references).named(wanted.reference)
    products = sorted({station.product for station in stations})
    if known.product not in products:
        raise AnnouncementError(
            f"reference part {known.id} is a {known.product}, and {line.name} inspects {', '.join(products)}: it would"
            " be judged by another product's model"
        )
    if wanted.part is not None and line.plc is None:
        raise AnnouncementError(f"{line.name} has no PLC that counts its parts: announce the next part instead")
    at = now if wanted.part is not None else now + wanted.lead
    return Challenge(
        id=challenge_id(line.name, known.id, at, wanted.by),
        line=line.name,
        station=wanted.station,
        reference=known.id,
        by=wanted.by,
        at=at,
        expires=at + wanted.within,
        epoch=None if wanted.part is None else wanted.part.epoch,
        number=None if wanted.part is None else wanted.part.number,
    )


async def announce(plant: Plant, challenge: Challenge) -> None:
    """Put an announcement onto the topic. Raises KafkaError."""
    await ensure_topics(plant.kafka, (Challenge.TOPIC,))
    producer = EventProducer(
        plant.kafka, source=f"/{plant.site}/challenge", client_id="neverblink-challenge", writes=(Challenge.TOPIC,)
    )
    async with producer:
        await producer.send(challenge)
