"""What a part is marked as at its camera (a holdout, a challenge) is known of it to the end."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from camera_line import Wire, frame_of, line_of
from sqlalchemy import select

from neverblink.camera.marks import Marks
from neverblink.camera.picture import Picture, SourceError, encoded
from neverblink.camera.service import CameraNode
from neverblink.camera.triggers import Trigger
from neverblink.events import Frame, Reason, Times, Verdict, decode, encode
from neverblink.ledger.writing import keep
from neverblink.plant import Payload, PlantError, Storage, parse_plant
from neverblink.records.database import Database
from neverblink.records.part_tables import CHALLENGE, HOLDOUT, PartRow
from neverblink.scorer import verdicts
from rigs.pictures import numbered

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
MARKED = Marks(holdout=True, holdout_share=0.013, challenge=True, reference="scratch 7")

PLANT = """
site: test
products:
  - {name: pcb, artifact: pcb}
  - {name: disc, artifact: disc}
lines:
  - name: line-1
    timing: {distance_to_gate_m: 2.0, speed_m_s: 1.0}
    stations:
      - {name: top, product: pcb, source: {kind: folder, path: pictures}, trigger: {kind: timer, rate_per_s: 1}}
"""


class Camera:
    """Shows a picture, then none."""

    def grab(self, number: int, at: datetime) -> Picture:
        if number > 1:
            raise SourceError(Reason.NO_IMAGE, "the lens cap is on")
        return encoded(numbered(number), Payload())

    def close(self) -> None:
        """Nothing is open."""


def unscored(frame: Frame) -> Verdict:
    return verdicts.unscored(frame, Reason.LATE, "late", Times(captured=frame.captured, emitted=NOW))


def marked(**fields: Any) -> Frame:
    return frame_of(1, **MARKED.on_frame(), **fields)


async def test_frames_and_the_nodes_own_verdicts_carry_what_the_part_is_marked_as(tmp_path: Path) -> None:
    wire = Wire()
    line = line_of({"trigger": {"kind": "timer", "rate_per_s": 100, "parts": 2}})
    settings = Storage.model_validate({"spool": tmp_path / "spool"})
    node = CameraNode(line, line.stations[0], wire, settings, source=Camera(), mark=lambda _: MARKED)  # type: ignore[arg-type]
    await node.take(Trigger("p1", 1, datetime.now(UTC)))
    await node.take(Trigger("p2", 2, datetime.now(UTC)))
    held = await node._buffer.get()
    (told,) = wire.verdicts
    assert Marks.of(held) == MARKED
    assert (told.holdout, told.holdout_share, told.challenge, told.reference) == MARKED
    await node._give_up(held, Reason.OVERLOAD, "too many")
    assert wire.verdicts[1].reference == MARKED.reference


async def test_a_part_whose_marks_cannot_be_had_is_judged_like_any_other(tmp_path: Path) -> None:
    def broken(_: Trigger) -> Marks:
        raise ZeroDivisionError

    wire, line = Wire(), line_of()
    settings = Storage.model_validate({"spool": tmp_path / "spool"})
    node = CameraNode(line, line.stations[0], wire, settings, source=Camera(), mark=broken)  # type: ignore[arg-type]
    await node.take(Trigger("p1", 1, datetime.now(UTC)))
    assert Marks.of(await node._buffer.get()) == Marks()


def test_marks_come_back_as_they_were_sent_and_a_scorer_copies_them() -> None:
    message = encode(marked(), source="/test/camera")
    frame, _ = decode(message.headers, message.value, Frame)
    assert Marks.of(frame) == MARKED
    found = unscored(frame)
    assert (found.holdout, found.holdout_share, found.challenge, found.reference) == MARKED


def test_a_record_that_is_no_frame_keeps_the_marks_that_can_be_read() -> None:
    attributes = {"line": "line-1", "holdout": "true", "holdoutshare": "0.02", "reference": "r1", "challenge": "true"}
    found = verdicts.unreadable("f-1", "line-1/top", attributes, Reason.BAD_EVENT, "no frame", NOW)
    assert found is not None
    assert (found.holdout, found.holdout_share, found.challenge, found.reference) == (True, 0.02, True, "r1")
    damaged = verdicts.unreadable("f-1", "line-1/top", attributes | {"holdoutshare": "7"}, Reason.BAD_EVENT, "no", NOW)
    assert damaged is not None
    assert not damaged.holdout


@pytest.fixture
def kept(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)


def test_a_part_has_the_first_share_and_reference_that_its_stations_said(kept: Database) -> None:
    first, later = unscored(marked()), unscored(frame_of(2))
    later = later.model_copy(
        update={
            "station": "side",
            "part": first.part,
            "times": Times(captured=first.times.captured + timedelta(milliseconds=40), emitted=NOW),
            "deadline": first.deadline,
            "tracking": first.tracking,
        }
    )
    keep(kept, [later], NOW)
    keep(kept, [first], NOW)
    with kept.session() as session:
        (part,) = session.scalars(select(PartRow)).all()
        assert (part.holdout, part.holdout_share, part.challenge, part.reference) == MARKED
    kept.close()


@pytest.mark.parametrize("which", [HOLDOUT, CHALLENGE])
def test_the_few_are_read_from_an_index_of_them_alone(kept: Database, which: str) -> None:
    with kept.session() as session:
        plan = session.connection().exec_driver_sql(
            f"EXPLAIN QUERY PLAN SELECT id FROM parts WHERE line = 'line-1' AND parts.{which}"
            " AND triggered >= '2026-01-01' ORDER BY triggered"
        )
        assert f"INDEX parts_line_{which} " in plan.all()[0][3]
    kept.close()


def test_an_old_plant_file_asks_for_nothing_and_a_product_that_is_not_there_is_told() -> None:
    plant = parse_plant(PLANT)
    assert not plant.proof.holdouts.demanded
    assert plant.proof.holdouts.share_of(("pcb",)) == 0.01
    asked = parse_plant(PLANT + "proof: {holdouts: {share: 0, products: {disc: 0.05}}}\n").proof.holdouts
    assert asked.demanded
    assert (asked.share_of(("pcb",)), asked.share_of(("disc", "pcb"))) == (0, 0.05)
    with pytest.raises(PlantError, match="'dics', which is not in products; did you mean 'disc'"):
        parse_plant(PLANT + "proof: {holdouts: {products: {dics: 0.05}}}\n")
