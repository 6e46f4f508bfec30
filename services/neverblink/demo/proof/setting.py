"""What the demonstration of proof adds to a plant: holdouts, a key, reference parts and their announcements."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from neverblink.camera.holdout_keys import write_key
from neverblink.demo.stream import Stream
from neverblink.events import Challenge
from neverblink.events.identity import challenge_id
from neverblink.kafka import EventProducer, ensure_topics
from neverblink.plant import Plant

HIDDEN_RATE = 0.2
"""Share of the defects that the model cannot see."""
HOLDOUT_SHARE = 0.4
"""A plant draws 1 % of tens of thousands of parts a day; the demonstration has two thousand in all."""

# The same key each time, so that the demonstration draws the same parts. Its parts leave this machine never.
_KEY = bytes(range(32))
_EPOCH = 1
_FIRST = 3  # the bridge and the camera are ready for the first parts, and some are good first
_NEVER = 1_000_000
_WITHIN = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Sent:
    """A reference part: the part `number` of a line, or one that never comes."""

    reference: str
    line: str
    product: str
    defect: str
    number: int | None
    note: str


def section() -> dict[str, object]:
    """Return the plant file's section `proof`."""
    return {
        "holdouts": {"share": HOLDOUT_SHARE},
        # On a machine that does everything at once, the records are seconds behind.
        "challenges": {"grace_s": 5.0},
    }


def sent_parts(streams: Iterable[Stream], parts: int) -> list[Sent]:
    """Return each line's reference parts: a defect that shows, one that does not, and one that never comes."""
    return [one for stream in streams for one in _of_line(stream, parts)]


def _of_line(stream: Stream, parts: int) -> Iterator[Sent]:
    notes = {
        False: ("seen", "its defect shows in the picture: it must be rejected"),
        True: ("hidden", "its defect shows in no picture: it will pass, which is an alarm"),
    }
    found: set[bool] = set()
    for number in range(_FIRST, parts + 1):
        defect, hides = stream.truth(number), stream.hides(number)
        if defect is None or hides in found:
            continue
        found.add(hides)
        word, note = notes[hides]
        yield Sent(f"{stream.line}-{word}", stream.line, stream.product, defect, number, note)
        if len(found) == len(notes):
            break
    defect = next(defect for number in range(1, 1000) if (defect := stream.truth(number)) is not None)
    note = "it is announced and never comes, which is an alarm"
    yield Sent(f"{stream.line}-lost", stream.line, stream.product, defect, None, note)


def write_proof(plant: Plant, sent: Iterable[Sent]) -> None:
    """Write the key and the file of reference parts where the plant file says."""
    write_key(plant.proof.holdouts.key, _KEY)
    described = [
        {"id": one.reference, "product": one.product, "answer": [one.defect], "note": one.note} for one in sent
    ]
    references: Path = plant.proof.challenges.references
    references.write_text(yaml.safe_dump({"references": described}, sort_keys=False), encoding="utf-8")


async def announce(plant: Plant, sent: Iterable[Sent], longest: timedelta) -> None:
    """Announce the reference parts, by the PLC's numbers; those that come have so long, the others seconds."""
    await ensure_topics(plant.kafka, (Challenge.TOPIC,))
    now = datetime.now(UTC)
    source = f"/{plant.site}/challenge"
    async with EventProducer(plant.kafka, source=source, client_id="demo-challenge") as producer:
        for one in sent:
            await producer.send(
                Challenge(
                    id=challenge_id(one.line, one.reference, now, "demo"),
                    line=one.line,
                    reference=one.reference,
                    by="demo",
                    at=now,
                    expires=now + (_WITHIN if one.number is None else longest),
                    epoch=_EPOCH,
                    number=_NEVER if one.number is None else one.number,
                )
            )
