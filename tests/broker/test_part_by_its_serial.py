"""A part of the demonstration, followed by its serial number from the PLC's node through every topic to the records."""

import asyncio
from pathlib import Path

import pytest

from neverblink.events import Actuation, Evidence, Frame, Identity, Judgement, Review, Verdict
from neverblink.events.context_schedule import Wish
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.part_story import PartStory, story_of
from neverblink.records.questions.parts import parts
from neverblink.reviewing.answers import Answer
from neverblink.reviewing.asking import asking
from neverblink.reviewing.desk import Desk
from rigs.demo_line import DemoLine, demo_line

PARTS = 6


async def story(line: DemoLine, serial: str, reviews: int) -> PartStory:
    """Return all that the records have of a serial number, once it has so many reviews and went through the gate."""
    async with asyncio.timeout(60), asking(line.plant.storage.ledger) as records:
        while True:
            page = await records.ask(parts, PartFilter(serial=serial))
            if len(page.parts) == 1:
                found = await records.ask(story_of, page.parts[0].id)
                if found is not None and len(found.actuations) == 2 and len(found.reviews) == reviews:
                    return found
            await asyncio.sleep(0.1)


@pytest.mark.plant
async def test_a_part_is_followed_by_its_serial_number_from_the_plcs_node_to_its_review(tmp_path: Path) -> None:
    async with demo_line(tmp_path) as line:
        await line.put(Wish({"recipe": "fine", "lot": "what the PLC says wins"}, {"crew": "2"}))
        await line.run(PARTS)
        number, serial = 3, line.serial(3)
        identity = Identity(
            order="4711",
            lot="L0001",
            serial=serial,
            recipe="fine",
            carrier="C4",
            attributes={"press": "1", "crew": "2"},
        )

        frames = await line.read(Frame, lambda found: len(found) == PARTS)
        assert [frame.identity.serial for frame in frames if frame.identity] == [
            line.serial(n) for n in range(1, PARTS + 1)
        ]
        (frame,) = (one for one in frames if one.identity == identity)
        assert frame.tracking is not None
        assert frame.tracking.number == number

        verdicts = await line.read(Verdict, lambda found: len(found) == PARTS)
        (verdict,) = (one for one in verdicts if one.identity == identity)
        assert (verdict.frame_id, verdict.part) == (frame.id, frame.part)
        assert verdict.artifact is not None
        places = {(one.frame_partition, one.frame_offset) for one in verdicts}
        assert len(places) == PARTS
        assert None not in {part for place in places for part in place}

        pictures = await line.read(Evidence, lambda found: any(one.verdict == verdict.id for one in found))
        assert {one.identity for one in pictures if one.verdict == verdict.id} == {identity}

        told = await line.read(Actuation, lambda found: len(found) == 2 * PARTS)
        assert {one.stage for one in told if one.identity == identity} == {"told", "gate"}
        assert all(verdict.id in one.verdicts for one in told if one.identity == identity)

        await story(line, serial, reviews=0)
        await Desk(line.plant, "m.okafor").answer([Answer(serial, Judgement.NORMAL)])
        (review,) = await line.read(Review, lambda found: len(found) == 1)
        assert (review.verdict, review.identity) == (verdict.id, identity)

        kept = await story(line, serial, reviews=1)
        assert (kept.part.order, kept.part.lot, kept.part.recipe, kept.part.carrier) == ("4711", "L0001", "fine", "C4")
        assert kept.part.attributes == identity.attributes
        assert [one.id for one in kept.verdicts] == [verdict.id]
        assert {one.id for one in kept.actuations} == {one.id for one in told if one.identity == identity}
        assert [one.id for one in kept.reviews] == [review.id]
