"""What a GenTL buffer may be besides a fresh whole picture: bad, partial, old, delivered twice, packed."""

import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("genicam", reason="the extra neverblink[genicam] is not installed")

from neverblink.camera.live import LiveSource, Shot
from neverblink.camera.picture import SourceError
from neverblink.camera.streams.pixel_formats import KNOWN, from_pfnc, image_bytes
from neverblink.events import Reason
from neverblink.plant import LiveSettings, Payload
from rigs.gentl_buffers import Buffer, camera_of

NOISE = np.random.default_rng(3).integers(0, 256, (64, 64), dtype=np.uint8)


def read(*buffers: Buffer) -> Shot:
    shot = camera_of(buffers).read(1)
    assert shot is not None
    return shot


def test_a_buffer_of_the_size_that_it_states_is_a_picture_and_goes_back_to_the_camera() -> None:
    buffer = Buffer(NOISE, frame_id=7)
    shot = read(buffer)
    np.testing.assert_array_equal(shot.whole(), NOISE)
    assert (shot.count, buffer.put_back) == (7, 1)


def test_a_line_scan_picture_that_came_in_part_is_corrupt() -> None:
    """The lower half of the buffer is still the picture before."""
    buffer = Buffer(NOISE, frame_id=7, delivered_image_height=32)
    with pytest.raises(SourceError, match="delivered 32 of the picture's 64 lines; the rest is old") as told:
        read(buffer).whole()
    assert told.value.reason is Reason.CORRUPT_IMAGE
    assert buffer.put_back == 1


def test_a_line_scan_picture_without_a_fixed_height_has_the_lines_that_came() -> None:
    assert read(Buffer(NOISE, height=0, delivered_image_height=32)).whole().shape == (32, 64)


@pytest.mark.parametrize(
    ("buffer", "sentence"),
    [
        (Buffer(NOISE[:40]), "64 × 64 pixels of Mono8 take 4096 bytes, and the camera delivered 2560"),
        (Buffer(NOISE, size_filled=100), "take 4096 bytes, and the camera delivered 100"),
        (Buffer(NOISE, "Coord3D_A16"), "the camera sends Coord3D_A16; set the node PixelFormat"),
    ],
)
def test_a_bad_buffer_is_one_bad_picture_and_the_next_one_is_whole(buffer: Buffer, sentence: str) -> None:
    camera = camera_of([buffer, Buffer(NOISE)])
    bad, good = camera.read(1), camera.read(1)
    assert bad is not None
    with pytest.raises(SourceError, match=sentence):
        bad.whole()
    assert good is not None
    np.testing.assert_array_equal(good.whole(), NOISE)


def test_padding_at_the_end_of_rows_is_no_picture() -> None:
    padded = np.concatenate([NOISE, np.full((64, 8), 99, np.uint8)], axis=1)
    np.testing.assert_array_equal(read(Buffer(padded, padding_x=8)).whole(), NOISE)


def test_the_cameras_own_time_tells_how_old_a_picture_is() -> None:
    """Three pictures 40 ms apart, the third read 0.3 s late."""
    first, second, late = (Buffer(NOISE, timestamp_ns=5_000_000_000 + n * 40_000_000) for n in range(3))
    camera = camera_of([first, second, late], waiting=lambda: 1)
    one = camera.read(1)
    time.sleep(0.04)
    camera.read(1)
    time.sleep(0.34)
    shot = camera.read(1)
    assert one is not None
    assert shot is not None
    assert (shot.at - one.at).total_seconds() == pytest.approx(0.08, abs=0.015)
    assert shot.unsure_s == 0


def test_of_the_buffers_that_wait_the_newest_is_read_and_the_older_ones_go_back() -> None:
    buffers = [Buffer(np.full((64, 64), level, np.uint8), frame_id=level) for level in range(1, 5)]
    waiting = iter([3, 3, 2, 1, 0, 0])
    shot = camera_of(buffers, waiting=lambda: next(waiting), newest=True).read(1)
    assert shot is not None
    assert (shot.count, shot.skipped, int(shot.pixels[0, 0])) == (4, 3, 4)
    assert [buffer.put_back for buffer in buffers] == [1, 1, 1, 1]


# In the thread that takes the pictures


class Playing:
    """A stream of the shots that it was given, one every few milliseconds."""

    def __init__(self, *shots: Shot) -> None:
        self._shots = list(shots)
        self.through = threading.Event()

    def read(self, timeout_s: float) -> Shot | None:
        time.sleep(0.002)
        if not self._shots:
            self.through.set()
            return None
        return self._shots.pop(0)

    def close(self) -> None:
        pass


def parts_of(*shots: Shot) -> list[tuple[int | None, int, bool]]:
    """Return count, lost pictures before and whether it is whole, of each part of a camera that is the trigger."""
    stream, connections = Playing(*shots), []

    def connect() -> Playing:
        connections.append(1)
        return stream

    labels = {"line": "line-1", "station": "top"}
    source = LiveSource("line-1/top", connect, LiveSettings(), Payload(), every_bound=64, labels=labels)
    source.start()
    assert stream.through.wait(10)
    source.close()
    assert len(connections) == 1
    found = []
    while (arrival := source.take()) is not None:
        found.append((arrival.shot.count, arrival.lost, arrival.shot.fault is None))
    return found


def fresh(count: int | None, level: int | None = None, taken_s: float | None = None) -> Shot:
    value = (count or 0) % 256 if level is None else level
    return Shot(np.full((4, 6), value, np.uint8), datetime.now(UTC), count, taken_s=taken_s)


def bad(count: int | None) -> Shot:
    return Shot.damaged(datetime.now(UTC), "packets are missing", count=count)


def test_one_bad_buffer_costs_one_part_and_the_camera_stays_open() -> None:
    assert parts_of(fresh(1), bad(2), fresh(3)) == [(1, 0, True), (2, 0, False), (3, 0, True)]


def test_a_bad_buffer_without_a_count_is_not_told_as_lost_besides() -> None:
    assert parts_of(fresh(1), bad(None), fresh(4)) == [(1, 0, True), (None, 0, False), (4, 1, True)]


def test_a_buffer_delivered_twice_with_one_count_is_no_second_part() -> None:
    counts = [count for count, _, _ in parts_of(*(fresh(count) for count in (1, 2, 2, 3, 4, 4, 5)))]
    assert counts == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("has_clock", [True, False])
def test_an_old_buffer_that_comes_again_later_is_no_part(has_clock: bool) -> None:
    again = [fresh(count, taken_s=count / 25 if has_clock else None) for count in (1, 2, 3, 2, 4)]
    assert [count for count, _, _ in parts_of(*again)] == [1, 2, 3, 4]
    # Nor one that was held back and told as lost meanwhile; nor one from before the wrap of a 16-bit counter.
    late = [fresh(count, taken_s=count / 25 if has_clock else None) for count in (5, 8, 6, 9)]
    assert [(count, lost) for count, lost, _ in parts_of(*late)] == [(5, 0), (8, 2), (9, 0)]
    wrapped = [fresh(count, place, place / 25 if has_clock else None) for place, count in enumerate((65535, 1, 2))]
    assert len(parts_of(*wrapped)) == 3
    held_back = [*wrapped, fresh(65534, taken_s=-1.0 if has_clock else None)]
    assert len(parts_of(*held_back)) == 3


def test_a_camera_that_began_to_count_anew_has_not_delivered_twice() -> None:
    anew = [fresh(count, level, number) for number, (count, level) in enumerate([(1, 5), (2, 6), (1, 7), (2, 8)])]
    assert len(parts_of(*anew)) == 4


def test_a_camera_whose_count_never_moves_does_not_count() -> None:
    assert len(parts_of(*(fresh(0, level) for level in (5, 6, 7)))) == 3
    assert len(parts_of(*(fresh(0, level) for level in (5, 5, 7)))) == 2  # the same bits: an old buffer


# Packed formats


def packed(values: list[int], packing: str) -> np.ndarray:
    """Pack values bit by bit as PFNC and GigE Vision draw them."""
    bits = int(packing.rstrip("pPacked"))
    if packing.endswith("p"):
        stream = [value >> bit & 1 for value in values for bit in range(bits)]
        stream += [0] * (-len(stream) % 8)
        return np.packbits(np.array(stream, np.uint8), bitorder="little")
    out, low = [], bits - 8
    for at in range(0, len(values), 2):
        pair = values[at : at + 2]
        middle = sum((value & (1 << low) - 1) << 4 * place for place, value in enumerate(pair))
        out += [pair[0] >> low, middle, *(value >> low for value in pair[1:])]
    return np.array(out, np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    packing=st.sampled_from(["10p", "12p", "10Packed", "12Packed"]),
    width=st.integers(1, 9),
    height=st.integers(1, 5),
    data=st.data(),
)
def test_packed_pixels_are_those_of_the_open_format(packing: str, width: int, height: int, data: st.DataObject) -> None:
    bits = int(packing.rstrip("pPacked"))
    size = width * height
    values = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=size, max_size=size))
    sent = packed(values, packing)
    assert sent.size == image_bytes(f"Mono{packing}", width, height)
    found = from_pfnc(sent, f"Mono{packing}", width, height)
    np.testing.assert_array_equal(found.ravel(), np.array(values) >> (bits - 8))


@pytest.mark.parametrize("kind", ["BayerRG", "BayerGR", "BayerGB", "BayerBG"])
@pytest.mark.parametrize("packing", ["10p", "12p", "12Packed"])
def test_a_packed_mosaic_has_the_colours_of_the_open_one(kind: str, packing: str) -> None:
    bits = int(packing.rstrip("pPacked"))
    values = np.random.default_rng(1).integers(0, 1 << bits, (16, 24)).astype(np.uint16)
    found = from_pfnc(packed(values.ravel().tolist(), packing), f"{kind}{packing}", 24, 16)
    np.testing.assert_array_equal(found, from_pfnc(values.ravel(), f"{kind}{bits}", 24, 16))


def test_deep_pixels_come_as_bytes_too() -> None:
    values = np.arange(0, 4096, 64, dtype="<u2")
    np.testing.assert_array_equal(from_pfnc(values.view(np.uint8), "Mono12", 8, 8).ravel(), values >> 4)


def test_values_beyond_the_stated_bits_are_refused() -> None:
    left_aligned = np.arange(0, 4096, 64, dtype=np.uint16) << 4
    with pytest.raises(SourceError, match="states Mono12 and sends values up to 64512, more than 12 bits hold") as told:
        from_pfnc(left_aligned, "Mono12", 8, 8)
    assert told.value.reason is Reason.WRONG_TYPE


@pytest.mark.parametrize("name", [name for name in KNOWN if name.endswith(("p", "Packed"))])
def test_fewer_bytes_than_a_packed_picture_takes_are_corrupt(name: str) -> None:
    with pytest.raises(SourceError, match="states 64 × 64 pixels"):
        from_pfnc(np.zeros(image_bytes(name, 64, 64) - 1, np.uint8), name, 64, 64)
