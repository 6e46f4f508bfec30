"""Reference parts on the running services: one that passes and one that never comes each raise an alarm in time."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from neverblink.challenges.announcing import Announced, announce, announcement
from neverblink.events import Alarm, Decision, Frame, Tracking, Verdict
from neverblink.plant import ProofSettings
from neverblink.records.questions.alarms import KnownAlarm, alarms
from neverblink.reviewing.asking import asking
from rigs.demo_line import DemoLine, demo_line

PARTS = 4
MARKED = 3
"""A part of the demonstration's drawing that is good, which the model passes."""

pytestmark = pytest.mark.plant


def proof_of(folder: Path) -> ProofSettings:
    file = folder / "references.yaml"
    file.write_text(
        "references:\n- {id: scratch-07, product: pcb, answer: scratch}\n- {id: dent-02, product: pcb, answer: dent}\n"
    )
    return ProofSettings.model_validate({"challenges": {"references": file, "grace_s": 1}})


async def kept(line: DemoLine, count: int) -> list[KnownAlarm]:
    """Return what the records have, once they have so many alarms."""
    async with asyncio.timeout(60), asking(line.plant.storage.ledger) as records:
        while True:
            found = await records.ask(alarms, [line.line.name])
            if len(found) >= count:
                return found
            await asyncio.sleep(0.1)


async def test_a_reference_part_that_passes_and_one_that_never_comes_are_alarms(tmp_path: Path) -> None:
    proof = proof_of(tmp_path)
    async with demo_line(tmp_path, proof=proof, challenges={MARKED: "scratch-07"}) as line:
        absent = Announced(
            "dent-02", line.line.name, "r.lindqvist", part=Tracking(epoch=1, number=999), within=timedelta(seconds=3)
        )
        await announce(line.plant, announcement(line.plant, absent, datetime.now(UTC)))
        await line.run(PARTS)
        frames = await line.read(Frame, lambda found: len(found) == PARTS)
        assert [frame.tracking.number for frame in frames if frame.challenge and frame.tracking] == [MARKED]
        verdicts = await line.read(Verdict, lambda found: len(found) == PARTS)
        (verdict,) = (one for one in verdicts if one.reference == "scratch-07")
        assert (verdict.challenge, verdict.decision) == (True, Decision.PASS)

        told = {alarm.kind: alarm for alarm in await line.read(Alarm, lambda found: len(found) == 2)}
        missed, absent_alarm = told["challenge-missed"], told["challenge-absent"]
        assert (missed.subject["reference"], missed.subject["part"]) == ("scratch-07", verdict.part)
        assert missed.at == verdict.deadline
        assert absent_alarm.subject["reference"] == "dent-02"
        assert {one.alarm for one in await kept(line, 2)} == {missed.alarm, absent_alarm.alarm}
