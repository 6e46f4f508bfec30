"""Which picture files are read, what each kind of damage and each bomb is told as, and which way pictures stand."""

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiff_files import tiff

from neverblink.vision.decode import ImageError, decode, decode_values, image_size
from rigs.pictures import encoded, refusal

RNG = np.random.default_rng(5)
SCENE = cv2.GaussianBlur(RNG.integers(0, 256, (48, 64, 3)).astype(np.uint8), (5, 5), 0)
"""(48, 64, 3) uint8 RGB."""

GREY = np.ascontiguousarray(SCENE[..., 1])


# JPEG


def test_half_a_scan_with_an_end_marker_is_refused_and_not_half_grey() -> None:
    whole = encoded(".jpg", SCENE)
    scan = whole.index(b"\xff\xda")
    cut = whole[: scan + (len(whole) - scan) // 2] + b"\xff\xd9"
    told = refusal(cut)
    assert told.reason == "corrupt-image"
    assert "the JPEG is damaged" in str(told)


def test_the_first_scans_of_a_progressive_jpeg_are_not_a_picture() -> None:
    whole = encoded(".jpg", SCENE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scans = whole[:-2].split(b"\xff\xda")
    assert len(scans) == 11
    told = refusal(b"\xff\xda".join(scans[:4]) + b"\xff\xd9")
    assert str(told) == "the JPEG ends after 3 scans, and 3 of its 3 components are incomplete"


@pytest.mark.parametrize("layout", ["4x2", "2x4", "3x1"])
def test_an_odd_layout_of_colours_is_named(layout: str) -> None:
    across, down = (int(part) for part in layout.split("x"))
    odd = bytearray(encoded(".jpg", SCENE))
    odd[odd.index(b"\xff\xc0") + 11] = across << 4 | down
    told = refusal(odd)
    assert told.reason == "wrong-type"
    assert f"samples its colours as {layout}, 1x1, 1x1" in str(told)


def test_twelve_bits_in_a_jpeg_are_named() -> None:
    deep = bytearray(encoded(".jpg", SCENE))
    deep[deep.index(b"\xff\xc0") + 4] = 12
    assert "the JPEG has 12 bits a value" in str(refusal(deep))


def test_zeros_that_an_encoder_puts_before_the_end_are_no_damage() -> None:
    whole = encoded(".jpg", SCENE)
    np.testing.assert_array_equal(decode(whole[:-2] + bytes(500) + b"\xff\xd9"), decode(whole))
    cut = whole[: len(whole) - 200]
    assert refusal(cut + bytes(198) + b"\xff\xd9").reason == "corrupt-image"


def test_a_hole_of_zeros_is_seen_where_the_tables_give_it_no_sense() -> None:
    whole = encoded(".jpg", RNG.integers(0, 256, (200, 200, 3)).astype(np.uint8))
    scan = whole.index(b"\xff\xda")
    for place in range(scan + 100, len(whole) - 100, 997):
        told = refusal(whole[:place] + bytes(64) + whole[place + 64 :])
        assert told.reason == "corrupt-image"


def test_even_surfaces_with_tables_of_their_own_have_zeros_and_no_holes() -> None:
    image = np.full((512, 512), 200, np.uint8)
    image[64:72, 64:72] = 60
    whole = encoded(".jpg", image, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
    assert bytes(32) in whole
    assert decode(whole)[300, 300, 0] == 200


@pytest.mark.parametrize("progressive", [0, 1])
@given(place=st.floats(0, 1, exclude_max=True), patch=st.binary(min_size=1, max_size=40))
def test_no_damage_to_a_jpeg_raises_anything_but_an_image_error(progressive: int, place: float, patch: bytes) -> None:
    data = bytearray(encoded(".jpg", SCENE, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive))
    start = int(place * len(data))
    data[start : start + len(patch)] = patch
    try:
        decode(data)
    except ImageError as told:
        assert told.reason in ("corrupt-image", "wrong-type", "image-too-large", "no-image")  # noqa: PT017


# PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_an_animated_png_is_refused() -> None:
    whole = encoded(".png", SCENE)
    animated = whole[:33] + chunk(b"acTL", struct.pack(">II", 3, 0)) + whole[33:]
    told = refusal(animated)
    assert told.reason == "wrong-type"
    assert "the PNG is animated" in str(told)


# BMP


def test_a_bmp_whose_header_contradicts_itself_is_refused() -> None:
    whole = encoded(".bmp", SCENE)
    assert image_size(whole) == (64, 48)
    low = whole[:22] + struct.pack("<i", 24) + whole[26:]
    assert "the BMP's header says" in str(refusal(low))
    runs = whole[:30] + struct.pack("<I", 1) + whole[34:]
    assert "compressed with run lengths" in str(refusal(runs))


# WebP


@pytest.mark.parametrize("quality", [80, 101])
def test_a_webp_that_was_cut_and_filled_up_is_refused(quality: int) -> None:
    whole = encoded(".webp", SCENE, cv2.IMWRITE_WEBP_QUALITY, quality)
    assert decode(whole).shape == (48, 64, 3)
    for kept in range(60, len(whole) - 20, max(1, len(whole) // 40)):
        assert refusal(whole[:kept] + bytes(len(whole) - kept)).reason == "corrupt-image"


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_even_pictures_are_webps_with_zeros_and_no_holes(colour: int) -> None:
    image = np.full((480, 640, 3), colour, np.uint8)
    image[200:210, 300:310] = RNG.integers(0, 256, (10, 10, 3))
    for quality in (30, 90, 101):
        assert decode(encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, quality)).shape == image.shape


def test_an_animated_webp_is_refused() -> None:
    extended = b"VP8X" + struct.pack("<IB3x", 10, 2) + struct.pack("<HB", 63, 0) + struct.pack("<HB", 47, 0)
    body = b"WEBP" + extended + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    told = refusal(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert told.reason == "wrong-type"
    assert "the WebP is animated" in str(told)


# TIFF


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("planar", [False, True])
def test_every_layout_of_a_tiff_gives_the_same_pixels(
    order: str, compression: int, tile: int | None, planar: bool
) -> None:
    how: dict[str, Any] = {"order": order, "compression": compression, "tile": tile, "planar": planar}
    np.testing.assert_array_equal(decode(tiff(SCENE, **how)), SCENE)
    twelve = GREY.astype(np.uint16) << 4
    np.testing.assert_array_equal(decode(tiff(twelve, **how), depth=12)[..., 0], GREY)
    np.testing.assert_array_equal(decode_values(tiff(twelve, **how)), twelve)


def test_what_tiffs_are_made_of_comes_back_as_colours() -> None:
    np.testing.assert_array_equal(decode(tiff(255 - GREY, photometric=0))[..., 2], GREY)
    with_alpha = np.dstack([SCENE, GREY])
    np.testing.assert_array_equal(decode(tiff(with_alpha)), SCENE)
    np.testing.assert_array_equal(decode_values(tiff(with_alpha)), with_alpha)
    palette = {320: (3, [value * 257 for channel in (2, 0, 1) for value in np.roll(np.arange(256), channel).tolist()])}
    expected = np.dstack([np.roll(np.arange(256), channel).astype(np.uint8)[GREY] for channel in (2, 0, 1)])
    np.testing.assert_array_equal(decode(tiff(GREY, photometric=3, extra=palette)), expected)


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({339: (3, [3])}, "the TIFF has floating-point values"),
        ({339: (3, [2])}, "the TIFF has signed values"),
        ({258: (3, [32])}, "the TIFF has 32 bits a value, and 8 or 16 are read"),
        ({259: (3, [7])}, "the TIFF is compressed by JPEG"),
        ({259: (3, [50000])}, "the TIFF is compressed by Zstandard"),
        ({262: (3, [5])}, "the TIFF's values are inks"),
        ({317: (3, [3])}, "the predictor 3"),
    ],
)
def test_what_a_tiff_has_that_is_not_read_is_named(extra: dict[int, tuple[int, list[int]]], sentence: str) -> None:
    told = refusal(tiff(GREY, extra=extra))
    assert told.reason == "wrong-type"
    assert sentence in str(told)


def test_a_tiff_of_several_pages_is_refused() -> None:
    one = tiff(GREY)
    told = refusal(one[:-4] + struct.pack("<I", 8))
    assert told.reason == "wrong-type"
    assert "the TIFF has several pages" in str(told)


@given(place=st.floats(0, 1, exclude_max=True), patch=st.binary(min_size=1, max_size=12))
def test_no_damage_to_a_tiff_raises_anything_but_an_image_error(place: float, patch: bytes) -> None:
    for compression in (1, 5, 32773):
        data = bytearray(encoded(".tif", GREY, cv2.IMWRITE_TIFF_COMPRESSION, compression))
        behind = len(data) - 400  # the directory, where the numbers are
        start = behind + int(place * 400)
        data[start : start + len(patch)] = patch
        try:
            decode(data, depth=12)
        except ImageError as told:
            assert told.reason  # noqa: PT017


# How pictures stand


def exif(orientation: int) -> bytes:
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def oriented(suffix: str, orientation: int) -> bytes:
    tag = exif(orientation)
    if suffix == ".tif":
        return tiff(SCENE, extra={274: (3, [orientation])})
    whole = encoded(suffix, SCENE, *((cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()))
    if suffix == ".jpg":
        body = b"Exif\0\0" + tag
        return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + whole[2:]
    if suffix == ".png":
        return whole[:33] + chunk(b"eXIf", tag) + whole[33:]
    body = whole[12:] + b"EXIF" + struct.pack("<I", len(tag)) + tag
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


TURNS = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_a_picture_stands_as_its_exif_orientation_says(suffix: str, orientation: int) -> None:
    data = oriented(suffix, orientation)
    stored = decode(oriented(suffix, 1))
    found = decode(data)
    np.testing.assert_array_equal(found, TURNS[orientation](stored))
    assert image_size(data) == (found.shape[1], found.shape[0])
    assert found.flags.c_contiguous


def test_opencv_turns_a_jpeg_in_the_same_way() -> None:
    for orientation in TURNS:
        data = oriented(".jpg", orientation)
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(decode(data), expected)


def test_damaged_metadata_turns_nothing() -> None:
    data = bytearray(oriented(".jpg", 6))
    place = data.index(b"II*\0")
    for wrong in (b"XX*\0\x08\0\0\0", b"II*\0\xff\xff\xff\x7f", b"II*\0\x08\0\0\0\xff\xff"):
        data[place : place + len(wrong)] = wrong
        assert decode(data).shape[:2] in ((48, 64), (64, 48))
