"""Parts that lie anyhow, with named regions, from good pictures to the gate: what is wrong is told by name, where the
camera sees it, and what cannot be found is judged by nobody.
"""

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from bridged_cell import line_of, simulated
from following_scorer import scoring, until
from lying_parts import WIDTH, Lying, ground, laid
from lying_plates import box_of, corners_of, lying_plate, plate, regions_file, write_plates, write_regions

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.brokers.development import DevelopmentBroker
from neverblink.events import Actuation, Decision, Defect, Evidence, Frame, GateAction, Reason, Verdict
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.model_registry import registry
from neverblink.model_registry.changes import Stamp, Which
from neverblink.plant import Timing
from neverblink.plc.trigger import triggers
from neverblink.simulation.plc.simulator import PlcSimulator
from neverblink.trainer.datasets.found_parts import learnt_parts
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.alignment.aligner import Aligner
from neverblink.vision.alignment.view import Pose
from rigs.scored_line import ScoredLine, png, sent

pytestmark = [pytest.mark.plant, pytest.mark.timeout(300)]

Image = npt.NDArray[np.uint8]
UNHURRIED = Timing(distance_to_gate_m=20, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
NEAR = 0.02 * WIDTH
"""So far may a box be off, in pixels."""


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model `plate`: a plug that must be there, a label that is ignored, a face that is judged."""
    folder = tmp_path_factory.mktemp("plates")
    good = write_plates(folder / "good", range(24))
    for state in ("absent", "turned"):
        write_plates(folder / "plug" / state, range(900, 904), plug=state)
    aligner = learnt_parts("silhouette", good, None).aligner
    drawn = regions_file(
        aligner, *map(lying_plate, range(700, 703)), states={s: f"plug/{s}" for s in ("absent", "turned")}
    )
    settings: dict[str, Any] = {"product": "plate", "name": "plate", "size": 96, "ratio": 0.05, "brightness": (1.0,)}
    settings |= {"align": "silhouette", "regions": write_regions(folder / "regions.yaml", drawn), "folds": 3}
    fit(good, folder / "artifacts" / "plate", FitSettings.model_validate(settings))
    return folder / "artifacts"


def two_plates(*, apart: bool) -> Image:
    belt = ground(240, 320, np.random.default_rng(8))
    return laid(laid(belt, 85 if apart else 110, 120, 10, plate(1)), 235 if apart else 195, 120, 80, plate(2))


# What each part on the line shows, and how its verdict is to end: the region and its state, or that none is found.
PARTS: list[tuple[Lying | Image, str | None]] = [
    (lying_plate(2000), None),
    (lying_plate(2001, plug="absent"), "plug absent"),
    (lying_plate(2002, plug="turned"), "plug turned"),
    (lying_plate(2003, spoilt="face"), "face anomaly"),
    (lying_plate(2004, size=(300, 420)), None),
    (ground(240, 320, np.random.default_rng(7)), "not found"),
    (two_plates(apart=True), "not found"),
    (two_plates(apart=False), "not found"),
    (lying_plate(2005, middle=(12, 120)).picture, "not found"),
    (np.ascontiguousarray(lying_plate(2006).picture[:, ::-1]), "not found"),
    (np.asarray(cv2.resize(lying_plate(2007).picture, (640, 480)), dtype=np.uint8), "not found"),
    (lying_plate(2008), None),
]


def picture_of(number: int) -> Image:
    shown = PARTS[number - 1][0]
    return shown.picture if isinstance(shown, Lying) else shown


class Cell:
    """The line's PLC, a camera that is told its parts, the bridge's session, and what the scorer said between them."""

    def __init__(self, scored: ScoredLine, simulator: PlcSimulator) -> None:
        self._scored, self.simulator = scored, simulator
        self.line = line_of(simulator).model_copy(update={"timing": UNHURRIED})
        self.acted: list[Actuation] = []
        self.session = LineSession(self.line, lambda event, trace: self.acted.append(event), instruments())
        self.verdicts: dict[int, Verdict] = {}
        self.watching = asyncio.Event()

    def frame(self, number: int, at: datetime, epoch: int) -> Frame:
        deadline = at + timedelta(seconds=UNHURRIED.budget_s)
        return self._scored.frame(number, body=png(picture_of(number)), captured=at, deadline=deadline, epoch=epoch)

    async def photograph(self, producer: EventProducer) -> None:
        assert self.line.plc is not None
        told = lambda state, sentence: self.watching.set() if state == "connected" else None  # noqa: E731
        async for trigger in triggers(self.line.plc, name="camera", poll_ms=10, on_state=told):
            await producer.send(self.frame(trigger.number, trigger.at, trigger.epoch))

    async def hand_over(self) -> None:
        async with EventConsumer(self._scored.kafka, "verdicts", client_id="bridge") as consumer:
            while True:
                for record in await consumer.poll():
                    verdict = record.read(Verdict)[0]
                    self.verdicts[verdict.seq] = verdict
                    self.session.take(verdict, {})

    @property
    def gate(self) -> dict[int, GateAction]:
        return {event.tracking.number: event.gate for event in self.acted if event.gate is not None}


async def test_parts_that_lie_anyhow_are_told_by_region_where_the_camera_sees_it_or_not_judged_and_the_gate_acts_so(
    development: DevelopmentBroker, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = ScoredLine(development.bootstrap, artifacts, "plate", lines=("line-1",))
    await ensure_topics(scored.kafka)
    searching = set[str]()
    find = Aligner.find

    def watched(self: Aligner, image: Image) -> Pose:
        searching.add(threading.current_thread().name.rpartition("_")[0])
        return find(self, image)

    monkeypatch.setattr(Aligner, "find", watched)
    conveyor = simulated(timing=UNHURRIED, rate_per_s=4.0)
    async with PlcSimulator(conveyor) as simulator, scored.producer() as producer, scoring(scored):
        cell, stop = Cell(scored, simulator), asyncio.Event()
        bridged = asyncio.create_task(cell.session.run(stop))
        others = [asyncio.create_task(work) for work in (cell.photograph(producer), cell.hand_over())]
        await asyncio.wait_for(asyncio.gather(cell.session.ready.wait(), cell.watching.wait()), 20)
        await asyncio.sleep(0.5)  # the PLC trusts a heartbeat that it has seen move
        await simulator.run_conveyor(len(PARTS))
        await until(lambda: len(cell.gate) == len(PARTS), within_s=90)
        stop.set()
        for task in others:
            task.cancel()
        await asyncio.gather(bridged, *others, return_exceptions=True)
        evidence = await scored.read(Evidence, lambda found: {one.frame for one in found} >= rejected(cell))
    for number, (shown, truth) in enumerate(PARTS, start=1):
        verdict = cell.verdicts[number]
        assert cell.gate[number] is (GateAction.PASSED if truth is None else GateAction.REJECTED), (number, verdict)
        if truth is None:
            assert verdict.decision is Decision.PASS, verdict
            assert {one.name: one.state for one in verdict.regions} == {"plug": "present", "face": None, "rest": None}
        elif truth == "not found":
            assert (verdict.decision, verdict.reason, verdict.score) == (Decision.UNSCORED, Reason.NOT_FOUND, None)
            assert verdict.detail
        else:
            assert isinstance(shown, Lying)
            check(verdict, shown, *truth.split())
    assert evidence
    # Looking for a part costs tens of milliseconds: as much as a batch of eight takes the compute thread.
    assert searching == {"decode"}


def rejected(cell: Cell) -> set[str]:
    return {one.frame_id for one in cell.verdicts.values() if one.decision is Decision.REJECT}


def check(verdict: Verdict, part: Lying, name: str, what: str) -> None:
    """Hold a rejected part's verdict against where its fault lies by truth."""
    assert (verdict.decision, verdict.reason) == (Decision.REJECT, Reason.ANOMALY), verdict
    worst = max(verdict.regions, key=lambda one: one.ratio)
    assert (worst.name, worst.ratio) == (name, pytest.approx(verdict.ratio))
    told = verdict.defects[0]
    assert (told.region, told.type) == (name, what)
    truth = box_of(corners_of(name, part))
    if what == "anomaly":
        # A blot in the middle of the face; the network's patches are coarser than the blot.
        middle = (truth[:2] + truth[2:]) / 2
        assert np.abs(box(told).reshape(2, 2).mean(axis=0) - middle).max() <= 2 * NEAR
    else:
        assert told.taxonomy == "assembly"
        assert np.abs(box(told) - truth).max() <= NEAR


def box(defect: Defect) -> npt.NDArray[np.float64]:
    found = defect.bbox
    return np.array([found.x, found.y, found.x + found.width, found.y + found.height], dtype=np.float64)


async def test_a_threshold_that_is_edited_in_the_registry_scales_all_regions_alike(
    development: DevelopmentBroker, artifacts: Path
) -> None:
    scored = ScoredLine(development.bootstrap, artifacts, "plate", lines=("line-1",))
    await ensure_topics(scored.kafka)
    absent = png(picture_of(2))
    async with scored.producer() as producer, scoring(scored) as models:
        await sent(producer, scored.frame(1, body=absent))
        (before,) = await scored.read(Verdict, lambda found: len(found) >= 1)
        assert before.threshold is not None
        assert before.ratio is not None
        edited = 1.5 * before.threshold * before.ratio
        stamp = Stamp("r.lindqvist", "a trial", datetime.now(UTC))
        await registry.edit_threshold(scored.plant, Which(stations=("line-1/top",)), edited, stamp)
        await until(lambda: (model := models.active("line-1", "top", "plate")) is not None and model.edited == edited)
        await sent(producer, scored.frame(2, body=absent))
        _, after = await scored.read(Verdict, lambda found: len(found) >= 2)
    assert after.decision is Decision.PASS
    assert [one for one in after.defects if one.source == "presence"] == []
    assert {one.threshold for one in after.regions} == {edited}
    for one, other in zip(before.regions, after.regions, strict=True):
        assert other.score == pytest.approx(one.score, rel=1e-4)
        assert other.ratio == pytest.approx(one.ratio * before.threshold / edited, rel=1e-4)
