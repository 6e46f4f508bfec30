"""Small files that would take seconds or gigabytes to decode are refused, whatever they are made large by."""

import struct
import time
import zlib
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import pytest
from tiff_files import tiff

from neverblink.vision.decode import decode
from rigs.pictures import encoded, refusal

RNG = np.random.default_rng(5)
SCENE = cv2.GaussianBlur(RNG.integers(0, 256, (48, 64, 3)).astype(np.uint8), (5, 5), 0)
"""(48, 64, 3) uint8 RGB."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def scan_bomb(side: int, copies: int) -> bytes:
    whole = encoded(".jpg", np.full((side, side), 128, np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    end = whole.rindex(b"\xff\xd9")
    return whole[:end] + whole[whole.rindex(b"\xff\xda") : end] * copies + b"\xff\xd9"


def seconds(work: Callable[[], object]) -> float:
    """Return the least CPU time of this thread that some work takes: the second time nothing is loaded any more."""
    taken = []
    for _ in range(3):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return min(taken)


def unpacked(packed: bytes) -> float:
    """Return how long it takes to unpack all of a bomb: what a ratio to it says, it says on any machine."""
    return seconds(lambda: zlib.decompress(packed))


def test_600_scans_are_refused_in_the_time_of_reading_them() -> None:
    bomb = scan_bomb(4000, 600)
    assert "a scan of the JPEG repeats another" in str(refusal(bomb))
    few = scan_bomb(4000, 30)
    assert seconds(lambda: refusal(bomb)) < seconds(lambda: cv2.imdecode(np.frombuffer(few, np.uint8), 0))


def test_more_scans_than_any_progression_has_are_too_much_work() -> None:
    """Scans that are all different: each adds one bit of one coefficient, over a picture of 64 megapixels."""
    whole = encoded(".jpg", np.full((16, 16), 128, np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    frame = whole.index(b"\xff\xc2")
    start = whole[: whole.index(b"\xff\xda")]
    start = start[: frame + 5] + struct.pack(">HH", 8000, 8000) + start[frame + 9 :]
    scans = b"".join(
        struct.pack(">BBHBBBBBB", 0xFF, 0xDA, 8, 1, start[frame + 10], 0, first, first, 0) + b"\x12" * 4
        for first in range(64)
    )
    told = refusal(start + scans + b"\xff\xd9")
    assert told.reason == "image-too-large"
    assert "the JPEG has more than 25 scans over 8000 × 8000 pixels" in str(told)


def test_a_million_segments_are_refused() -> None:
    whole = encoded(".jpg", SCENE)
    np.testing.assert_array_equal(decode(whole[:2] + b"\xff" * 4_000_000 + whole[2:]), decode(whole))  # fill bytes
    for filler in (b"\xff\xfe\x00\x02", b"\xff\xff\xfe\x00\x02"):
        fewer, more = (whole[:2] + filler * count + whole[2:] for count in (200_000, 1_000_000))
        assert refusal(more).reason == refusal(fewer).reason == "image-too-large"
        assert seconds(partial(refusal, more)) < 3 * seconds(partial(refusal, fewer))  # it stops in the midst of them


def test_a_png_of_a_million_empty_chunks_is_refused() -> None:
    whole = encoded(".png", SCENE)
    assert refusal(whole[:33] + chunk(b"noTE", b"") * 1_000_000 + whole[33:]).reason == "image-too-large"


def packed_zeros(size: int) -> bytes:
    packing = zlib.compressobj(9)
    return b"".join(packing.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)) + packing.flush()


def test_a_png_whose_pixels_unpack_to_far_too_much_is_refused_before_that() -> None:
    whole = encoded(".png", SCENE)
    packed = packed_zeros(150_000_000)
    bomb = whole[:33] + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    assert refusal(bomb).reason == "image-too-large"
    assert seconds(lambda: refusal(bomb)) < unpacked(packed) / 2


def test_a_bomb_behind_the_pixels_of_a_large_png_is_refused() -> None:
    image = RNG.integers(0, 256, (700, 1000), dtype=np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in image)
    packing = zlib.compressobj(6)
    body = packing.compress(raw)
    body += b"".join(packing.compress(bytes(1_000_000)) for _ in range(150)) + packing.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1000, 700, 8, 0, 0, 0, 0))
    pieces = b"".join(chunk(b"IDAT", body[start : start + 8192]) for start in range(0, len(body), 8192))
    told = refusal(b"\x89PNG\r\n\x1a\n" + header + pieces + chunk(b"IEND", b""))
    assert str(told) == "the PNG's data unpack to more than the 700700 bytes that its pixels take"
    whole = chunk(b"IDAT", zlib.compress(raw))
    found = decode(b"\x89PNG\r\n\x1a\n" + header + whole + chunk(b"IEND", b""))
    np.testing.assert_array_equal(found[..., 0], image)


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("colour", [0, 200])
def test_even_pngs_that_could_be_packed_further_are_no_bombs(level: int, colour: int) -> None:
    image = np.full((600, 800, 3), colour, np.uint8)
    image[300:310, 300:310] = 90
    np.testing.assert_array_equal(decode(encoded(".png", image, cv2.IMWRITE_PNG_COMPRESSION, level)), image)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_packed_notes_of_a_png_are_not_unpacked(kind: bytes) -> None:
    whole = encoded(".png", SCENE)
    start = {b"zTXt": b"note\0\0", b"iTXt": b"note\0\1\0\0\0", b"iCCP": b"profile\0\0"}[kind]
    packed = packed_zeros(5_000_000)
    bomb = whole[:33] + chunk(kind, start + packed) * 2000 + whole[33:]
    np.testing.assert_array_equal(decode(bomb), SCENE)
    assert seconds(lambda: decode(bomb)) < 2000 * unpacked(packed) / 4


def interlaced(image: np.ndarray) -> bytes:
    """Write (H, W, 3) uint8 RGB by Adam7."""
    height, width = image.shape[:2]
    raw = b""
    for left, top, across, down in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        for row in image[top::down, left::across]:
            raw += b"\0" + row.tobytes() if len(row) else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(raw, 0)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 5), (240, 321)])
def test_an_interlaced_png_has_the_room_of_its_seven_passes(size: tuple[int, int]) -> None:
    even = np.full((*size, 3), 7, np.uint8)  # packed data with few values: all of it is unpacked and counted
    np.testing.assert_array_equal(decode(interlaced(even)), even)


def test_strips_that_lie_over_one_another_are_no_way_to_much_work() -> None:
    large = np.zeros((48, 64), np.uint8)
    data = tiff(large, compression=8, rows=1)
    assert refusal(data[:4] + data[4:], max_pixels=100).reason == "image-too-large"
    count = 48
    stretched = tiff(large, compression=8, rows=1, extra={279: (4, [len(data) - 100] * count)})
    assert "lie" in str(refusal(stretched))


def test_a_tiff_of_a_strip_a_pixel_is_refused() -> None:
    tall = np.zeros((70_000, 1), np.uint8)
    told = refusal(tiff(tall, rows=1))
    assert told.reason == "image-too-large"
    assert "lie in 70000 blocks" in str(told)


def test_a_deflate_bomb_in_a_tiff_is_stopped_at_the_size_of_its_rows() -> None:
    bomb = zlib.compress(bytes(100_000_000), 9)
    data = bytearray(tiff(np.zeros((8, 8), np.uint8), rows=8))
    start = len(data)
    whole = tiff(
        np.zeros((8, 8), np.uint8), rows=8, extra={259: (3, [8]), 273: (4, [start]), 279: (4, [len(bomb)])}
    ).ljust(start, b"\0")
    assert refusal(whole[:start] + bomb).reason == "corrupt-image"
    assert seconds(lambda: refusal(whole[:start] + bomb)) < unpacked(bomb)
