"""A reference part is marked as what it is, by its number, as the next part, by its serial number or the PLC's word."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from camera_line import START, Wire, line_of
from hypothesis import given
from hypothesis import strategies as st

from neverblink.camera.announced import MOST, Announced
from neverblink.camera.known_parts import KnownParts
from neverblink.camera.marks import Marks
from neverblink.camera.picture import Picture, encoded
from neverblink.camera.service import CameraNode
from neverblink.camera.triggers import Trigger
from neverblink.events import Challenge, Frame, Identity, Tracking
from neverblink.plant import Kafka, Payload, Storage
from neverblink.plant.references import ReferenceFile
from neverblink.plc.identity_reading import IdentityRead
from rigs.pictures import numbered


def announced(reference: str = "scratch-07", at_s: float = 10, number: int | None = None, **more: Any) -> Challenge:
    at = START + timedelta(seconds=at_s)
    fields: dict[str, Any] = {
        "id": f"{reference}-{at_s}-{number}",
        "line": "line-1",
        "reference": reference,
        "by": "r.lindqvist",
        "at": at,
        "expires": at + timedelta(minutes=10),
        "epoch": None if number is None else 3,
        "number": number,
    }
    return Challenge(**{**fields, **more})


def part(station: Announced, at_s: float, number: int | None = None) -> str | None:
    tracking = None if number is None else Tracking(epoch=3, number=number)
    return station.of(START + timedelta(seconds=at_s), tracking)


def test_the_part_of_the_announced_number_is_the_reference_part_and_no_other() -> None:
    top = Announced("top", START)
    assert top.take(announced(number=7)) is None
    assert [part(top, 20 + number, number) for number in (6, 7, 7, 8)] == [None, "scratch-07", None, None]
    assert top.take(announced(at_s=30, number=9)) is None
    assert top.of(START + timedelta(seconds=40), Tracking(epoch=4, number=9)) is None


def test_the_next_part_is_the_first_that_is_triggered_from_the_announced_instant_on() -> None:
    top = Announced("top", START)
    top.take(announced(at_s=10))
    top.take(announced("dent-02", at_s=11))
    assert [part(top, second) for second in (8, 9.9, 10, 12, 13)] == [None, None, "scratch-07", "dent-02", None]


def test_an_announcement_that_is_heard_after_its_part_marks_no_other_part() -> None:
    top = Announced("top", START)
    assert part(top, 10.5) is None
    why = top.take(announced(at_s=10))
    assert why is not None
    assert "that part has gone by before this node heard of it" in why
    assert part(top, 11) is None


def test_a_node_that_was_started_anew_takes_no_part_for_one_that_came_before() -> None:
    assert Announced("top", START + timedelta(seconds=60)).take(announced(at_s=10)) is not None


def test_what_has_expired_or_is_for_another_station_marks_nothing() -> None:
    top = Announced("top", START)
    top.take(announced(at_s=10, station="bottom"))
    assert part(top, 11) is None
    top.take(announced(at_s=20))
    assert part(top, 20 + 601) is None


def test_announcements_without_end_take_no_memory_without_end() -> None:
    top = Announced("top", START)
    for number in range(MOST + 50):
        top.take(announced(at_s=10 + number, number=number))
    assert [part(top, 900, number) for number in (49, 50)] == [None, "scratch-07"]


ANNOUNCEMENTS = st.lists(
    st.builds(
        announced,
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 40),
        st.none() | st.integers(1, 30),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)


@given(ANNOUNCEMENTS, st.lists(st.integers(0, 60), max_size=30).map(sorted))
def test_each_announcement_names_one_part_at_most_and_all_stations_of_a_line_agree(
    said: list[Challenge], seconds: list[int]
) -> None:
    stations = [Announced("top", START), Announced("bottom", START)]
    for station, order in zip(stations, (said, said[::-1]), strict=True):
        for one in order:
            station.take(one)
    found = [[part(station, second, number) for number, second in enumerate(seconds, 1)] for station in stations]
    assert found[0] == found[1]
    marked = [reference for reference in found[0] if reference is not None]
    assert all(marked.count(name) <= sum(one.reference == name for one in said) for name in marked)


# The node


class OnePicture:
    """A source with one picture, shown again and again."""

    def grab(self, number: int, at: object) -> Picture:
        return encoded(numbered(1), Payload())

    def close(self) -> None:
        """Nothing is held."""


class Said:
    """What a PLC has said of a part."""

    def __init__(self, challenge: str | None, serial: str | None = None) -> None:
        self._read = IdentityRead(Identity(serial=serial), challenge=challenge)

    async def result(self, within_s: float) -> IdentityRead:
        return self._read


def node_of(wire: Wire, tmp_path: Path, known: KnownParts, **more: Any) -> CameraNode:
    line = line_of()
    return CameraNode(
        line,
        line.stations[0],
        cast(Any, wire),
        Storage(spool=tmp_path / "spool"),
        source=OnePicture(),
        known=known.of("line-1", "top"),
        clock=lambda: START + timedelta(seconds=20),
        **more,
    )


def known_parts(references: Path | None = None) -> KnownParts:
    return KnownParts(Kafka(), [("line-1", "top")], references, client_id="test", clock=lambda: START)


def trigger(number: int, **more: Any) -> Trigger:
    at = START + timedelta(seconds=20)
    return Trigger(f"line-1/3/{number}", number, at, Tracking(epoch=3, number=number), **more)


async def frame_of(node: CameraNode, one: Trigger) -> Frame:
    await node.take(one)
    return await node._buffer.get()


async def test_the_frame_of_a_reference_part_says_so_and_is_no_holdout(tmp_path: Path) -> None:
    known = known_parts()
    node = node_of(Wire(), tmp_path, known, mark=lambda _: Marks(holdout=True, holdout_share=0.01))
    known._take([("line-1", announced(number=7)), ("line-2", announced("dent-02", number=8, line="line-2"))])
    seven, eight = await frame_of(node, trigger(7)), await frame_of(node, trigger(8))
    assert (seven.challenge, seven.reference, seven.holdout, seven.holdoutshare) == (True, "scratch-07", False, None)
    assert (eight.challenge, eight.reference, eight.holdout, eight.holdoutshare) == (False, None, True, 0.01)


async def test_the_plc_says_which_part_is_a_reference_part(tmp_path: Path) -> None:
    node = node_of(Wire(), tmp_path, known_parts())
    frames = [await frame_of(node, trigger(n, reading=Said("17" if n == 7 else None))) for n in (6, 7)]
    assert [(frame.challenge, frame.reference) for frame in frames] == [(False, None), (True, "17")]


async def test_a_reference_part_that_cannot_be_photographed_is_told_as_one(tmp_path: Path) -> None:
    wire, known = Wire(), known_parts()
    known._take([("line-1", announced(number=7))])
    await node_of(wire, tmp_path, known).take(trigger(7, missed="nobody looked"))
    (verdict,) = wire.verdicts
    assert (verdict.challenge, verdict.reference) == (True, "scratch-07")


async def test_a_reference_part_with_a_serial_number_needs_no_announcement(tmp_path: Path) -> None:
    file = tmp_path / "references.yaml"
    file.write_text("references:\n- {id: scratch-07, product: pcb, answer: scratch, serial: REF-7}\n")
    known = known_parts(file)
    known._by_serial = {"REF-7": "scratch-07"}
    node = node_of(Wire(), tmp_path, known)
    frames = [await frame_of(node, trigger(n, reading=Said(None, serial))) for n, serial in ((6, "SN-6"), (7, "REF-7"))]
    assert [frame.reference for frame in frames] == [None, "scratch-07"]


def test_a_file_of_reference_parts_is_read_again_when_it_changes_and_kept_while_it_has_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "references.yaml"
    file = ReferenceFile(path)
    assert file.read().references == ()
    for second, (text, ids) in enumerate(
        (
            ("references:\n- {id: a, product: pcb, answer: good}\n", ["a"]),
            ("references:\n- {id: b, product: pcb, anser: good}\n", ["a"]),
            ("references:\n- {id: b, product: pcb, answer: [dent, scratch]}\n", ["b"]),
        ),
        start=1,
    ):
        path.write_text(text)
        os.utime(path, (second, second))
        assert [one.id for one in file.read().references] == ids
        assert (file.fault is None) == ("anser" not in text)
        if file.fault is not None:
            assert f"{path}:2:25: 'anser' is not a setting of references[0]; did you mean 'answer'?" in file.fault
