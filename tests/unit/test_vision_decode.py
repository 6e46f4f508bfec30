"""Bytes from a camera or a stranger become pixels, or one sentence; never a crash, never gigabytes."""

import contextlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.vision.decode import ImageError, decode, image_size, raw_content_type, read_image

PNG = b"\x89PNG\r\n\x1a\n"


def picture(height: int = 24, width: int = 40) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 5, columns * 3, 255 - rows * 5], axis=2).astype(np.uint8)


def encoded(suffix: str, rgb: np.ndarray) -> bytes:
    _, body = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return body.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def jpeg_bomb(width: int, height: int) -> bytes:
    frame = struct.pack(">BHHB", 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def bmp_bomb(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHI", 40, width, height, 1, 24, 0) + bytes(24)


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_lossless_images_come_back_in_rgb_order(suffix: str) -> None:
    np.testing.assert_array_equal(decode(encoded(suffix, picture())), picture())


def test_a_jpeg_comes_back_in_rgb_order() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 220
    assert np.abs(decode(encoded(".jpg", red)).astype(int) - red).max() < 8


def test_a_grey_image_becomes_three_equal_channels() -> None:
    grey = picture()[..., 0]
    _, body = cv2.imencode(".png", grey)
    decoded = decode(body.tobytes())
    assert decoded.shape == (24, 40, 3)
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("bomb", [png_bomb, jpeg_bomb, bmp_bomb])
def test_a_60000_pixel_header_is_refused_before_anything_is_decoded(bomb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the decoder was asked"))
    with pytest.raises(ImageError, match="60000 × 60000") as refused:
        decode(bomb(60_000, 60_000))
    assert refused.value.reason == "image-too-large"


def test_an_image_of_exactly_the_limit_is_decoded() -> None:
    assert decode(encoded(".png", picture(10, 20)), max_pixels=200).shape == (10, 20, 3)
    with pytest.raises(ImageError):
        decode(encoded(".png", picture(10, 20)), max_pixels=199)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no-image"),
        (b"hello, I am a text file", "wrong-type"),
        (b"GIF89a" + bytes(100), "wrong-type"),
        (PNG, "corrupt-image"),
        (b"\xff\xd8\xff", "corrupt-image"),
        (b"BM", "corrupt-image"),
        (png_bomb(0, 10), "corrupt-image"),
        (png_bomb(500, 500), "corrupt-image"),  # far less data than the header promises
    ],
)
def test_every_fault_has_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as refused:
        decode(data)
    assert refused.value.reason == reason


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_off_file_is_refused_and_not_filled_with_grey(suffix: str, share: float) -> None:
    whole = encoded(suffix, picture())
    with pytest.raises(ImageError):
        decode(whole[: int(share * len(whole))])


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_png_with_one_changed_byte_is_refused(place: float, flip: int) -> None:
    damaged = bytearray(encoded(".png", picture()))
    damaged[int(place * len(damaged))] ^= flip
    with pytest.raises(ImageError):
        decode(damaged)


@given(start=st.sampled_from([b"", PNG, b"\xff\xd8\xff", b"BM"]), rest=st.binary(max_size=200))
def test_no_bytes_raise_anything_but_an_image_error(start: bytes, rest: bytes) -> None:
    with contextlib.suppress(ImageError):
        image_size(start + rest)


def test_a_text_file_named_png_is_told_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    path.write_text("not a picture")
    with pytest.raises(ImageError, match=r"part\.png: not a PNG, JPEG, TIFF, WebP or BMP image") as refused:
        read_image(path)
    assert refused.value.reason == "wrong-type"
    with pytest.raises(ImageError, match=r"gone\.png cannot be read"):
        read_image(tmp_path / "gone.png")


# Raw pixels


def test_raw_rows_come_back_as_they_were() -> None:
    rgb = picture()
    body = rgb.tobytes()
    found = decode(body, content_type=raw_content_type(rgb))
    np.testing.assert_array_equal(found, rgb)
    assert np.shares_memory(found, np.frombuffer(body, np.uint8)), "12 MP of rows are copied"


def test_raw_grey_rows_become_three_equal_channels() -> None:
    grey = np.ascontiguousarray(picture()[..., 0])
    assert raw_content_type(grey) == "image/x-raw; format=grey8; width=40; height=24"
    found = decode(grey.tobytes(), content_type=raw_content_type(grey))
    np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, axis=2))


def test_a_content_type_is_believed_for_raw_pixels_only() -> None:
    np.testing.assert_array_equal(decode(encoded(".png", picture()), content_type="image/jpeg"), picture())


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        ("image/x-raw", "corrupt-image"),
        ("image/x-raw; format=rgb8; width=40", "corrupt-image"),
        ("image/x-raw; format=yuv; width=40; height=24", "corrupt-image"),
        ("image/x-raw; format=rgb8; width=0; height=24", "corrupt-image"),
        ("image/x-raw; format=rgb8; width=-40; height=24", "corrupt-image"),
        ("image/x-raw; format=rgb8; width=40; height=25", "corrupt-image"),
        ("image/x-raw; format=grey8; width=40; height=24", "corrupt-image"),
        ("image/x-raw; format=rgb8; width=60000; height=60000", "image-too-large"),
        ("image/x-raw; format=rgb8; width=99999999999999999999; height=1", "corrupt-image"),
        ("image/x-raw; format=rgb8; width=²; height=24", "corrupt-image"),
    ],
)
def test_raw_pixels_that_are_not_as_stated_are_refused(content_type: str, reason: str) -> None:
    with pytest.raises(ImageError) as refused:
        decode(picture().tobytes(), content_type=content_type)
    assert refused.value.reason == reason


@given(st.text(max_size=60), st.binary(max_size=40))
def test_no_content_type_raises_anything_but_an_image_error(parameters: str, data: bytes) -> None:
    with contextlib.suppress(ImageError):
        decode(data, content_type=f"image/x-raw; {parameters}")
