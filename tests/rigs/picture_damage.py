"""Pictures in every format, drawn and real, and damage of many kinds: the same for the same seed."""

import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import ImageError, decode

Format = Literal["JPEG baseline", "JPEG progressive", "PNG", "BMP", "TIFF", "WebP"]
Outcome = Literal["refused", "identical", "otherwise"]

FORMATS: tuple[Format, ...] = ("JPEG baseline", "JPEG progressive", "PNG", "BMP", "TIFF", "WebP")

HARMLESS = ("trailing bytes", "next picture behind", "metadata")
"""What leaves a whole picture whole."""

NOT_TOLD: dict[Format, frozenset[str]] = {
    "JPEG baseline": frozenset(
        {"512 bytes lost", "512 bytes twice", "blocks swapped", "512 bytes of noise"}
        | {"bit of the header", "bit of the data"}
    ),
    "JPEG progressive": frozenset(
        {"512 bytes lost", "512 bytes twice", "blocks swapped", "512 bytes of noise"}
        | {"hole of 64 bytes", "larger hole", "bit of the header", "bit of the data"}
    ),
    "PNG": frozenset(),
    "BMP": frozenset(
        {"cut, filled with zeros", "512 bytes twice", "blocks swapped", "hole of 64 bytes", "larger hole"}
        | {"512 bytes of noise", "bit of the header", "bit of the data"}
    ),
    "TIFF": frozenset(
        {"512 bytes twice", "blocks swapped", "hole of 64 bytes", "larger hole", "512 bytes of noise"}
        | {"bit of the header", "bit of the data"}
    ),
    "WebP": frozenset(
        {"512 bytes twice", "blocks swapped", "wrong size", "512 bytes of noise", "bit of the header"}
        | {"bit of the data"}
    ),
}
"""What a format has nothing to tell by: no checksum, no marker, and a decoder that takes what remains."""

DEPTH = 12
"""Bits that the corpus' 16-bit pictures use."""

_REAL = ("magnetic-tile", "cookie", "deeppcb", "mvtec-hazelnut-256", "mvtec-transistor-256")
_END_OF_JPEG = b"\xff\xd9"
_END_OF_PNG = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
_SCAN = b"\xff\xda"


@dataclass(frozen=True, slots=True)
class Whole:
    """An undamaged file; from byte `body` on lies what is no header."""

    format: Format
    name: str
    data: bytes
    body: int


class Damaged(NamedTuple):
    """A file that was whole, and what was done to it."""

    whole: Whole
    kind: str
    data: bytes


Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 BGR."""


def drawn(seed: int = 0) -> list[Picture]:
    """Draw pictures as cameras see parts: brushed, noisy, and mostly saturated."""
    rng = np.random.default_rng(seed)
    brushed = 130 + rng.normal(0, 8, (150, 1, 1)) + rng.normal(0, 5, (150, 210, 3))
    for across in (50, 105, 160):
        cv2.circle(brushed, (across, 75), 20, (60, 60, 70), 4, cv2.LINE_AA)
    noisy = rng.normal(120, 40, (97, 131, 3))
    saturated = np.full((160, 240, 3), 255.0)
    saturated[40:90, 60:150] = rng.integers(0, 256, (50, 90, 3))
    return [np.clip(image, 0, 255).astype(np.uint8) for image in (brushed, noisy, saturated)]


def real(number: int = 0) -> list[Picture]:
    """Return the `number`-th good picture of each real data set that is on this machine, 200 pixels wide."""
    folder = Path(os.environ.get("NEVERBLINK_DATA", "nowhere"))
    found = []
    for name in _REAL:
        paths = sorted((folder / name / "train" / "good").glob("*.*"))
        if paths:
            image = cv2.imread(str(paths[number]))
            assert image is not None
            found.append(cv2.resize(image, (200, 160), interpolation=cv2.INTER_AREA))
    return [np.asarray(image, dtype=np.uint8) for image in found]


def wholes(images: list[Picture]) -> list[Whole]:
    """Write every picture in every format, in the ways that cameras and tools write them, always in the same order."""
    return [
        Whole(kind, f"{name}, picture {number}", data, _body(kind, data))
        for kind in FORMATS
        for number, image in enumerate(images)
        for name, data in _written(kind, image)
    ]


def _written(kind: Format, image: Picture) -> Iterator[tuple[str, bytes]]:
    grey = image[..., 1]
    twelve = (grey.astype(np.uint16) << 4) | (grey >> 4)
    if kind in ("JPEG baseline", "JPEG progressive"):
        flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(kind == "JPEG progressive"), cv2.IMWRITE_JPEG_QUALITY]
        yield "4:2:0", _encoded(".jpg", image, *flags, 90)
        yield "grey", _encoded(".jpg", grey, *flags, 75)
        full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        yield "4:4:4", _encoded(".jpg", image, *flags, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full)
        yield "restart markers", _encoded(".jpg", image, *flags, 90, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    elif kind == "PNG":
        yield "8 bits", _encoded(".png", image)
        yield "8 bits, grey", _encoded(".png", grey, cv2.IMWRITE_PNG_COMPRESSION, 9)
        yield "12 bits", _encoded(".png", twelve)
        yield "alpha", _encoded(".png", cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))
    elif kind == "BMP":
        yield "24 bits", _encoded(".bmp", image)
        yield "8 bits", _encoded(".bmp", grey)
        yield "32 bits", _encoded(".bmp", cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))
    elif kind == "TIFF":
        for name, method in (("uncompressed", 1), ("LZW", 5), ("Deflate", 8), ("PackBits", 32773)):
            yield name, _encoded(".tif", image, cv2.IMWRITE_TIFF_COMPRESSION, method)
        yield "12 bits, LZW", _encoded(".tif", twelve, cv2.IMWRITE_TIFF_COMPRESSION, 5)
        yield "12 bits, uncompressed", _encoded(".tif", twelve, cv2.IMWRITE_TIFF_COMPRESSION, 1)
    else:
        yield "lossy", _encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 90)
        yield "lossy, small", _encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 40)
        yield "lossless", _encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)
        yield "alpha", _encoded(".webp", cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), cv2.IMWRITE_WEBP_QUALITY, 80)


def _encoded(suffix: str, image: npt.NDArray[Any], *flags: int) -> bytes:
    done, data = cv2.imencode(suffix, image, flags)
    assert done
    return data.tobytes()


def _body(kind: Format, data: bytes) -> int:
    if kind in ("JPEG baseline", "JPEG progressive"):
        return data.index(_SCAN) + 14
    return {"PNG": data.find(b"IDAT") + 4, "BMP": 54, "TIFF": 8, "WebP": 40}.get(kind, 0)


def damaged(whole: Whole, other: Whole, rng: random.Random) -> Iterator[Damaged]:
    """Damage a file in every way that its format has; `other` is the next picture of the same camera."""
    for kind, way in _WAYS.items():
        data = way(whole, other, rng)
        if data is not None and data != whole.data:
            yield Damaged(whole, kind, data)


def outcome(one: Damaged, pixels: npt.NDArray[np.uint8]) -> Outcome:
    """Decode a damaged file: refused, as the whole one's `pixels`, or otherwise."""
    try:
        found = decode(one.data, depth=DEPTH)
    except ImageError:
        return "refused"
    return "identical" if np.array_equal(found, pixels) else "otherwise"


# The ways


def _place(whole: Whole, rng: random.Random, size: int = 1) -> int:
    """Draw where in a file's body `size` bytes are damaged; its end is left alone."""
    return rng.randrange(whole.body, max(whole.body + 1, len(whole.data) - size - 16))


def _cut(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    return whole.data[: rng.randrange(16, len(whole.data) - 2)]


def _cut_and_filled(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    kept = whole.data[: _place(whole, rng)]
    return kept + bytes(len(whole.data) - len(kept))


def _cut_and_ended(whole: Whole, _: Whole, rng: random.Random) -> bytes | None:
    ends: dict[str, bytes] = {"JPEG": _END_OF_JPEG, "PNG": _END_OF_PNG}
    end = ends.get(whole.format.partition(" ")[0])
    return None if end is None else whole.data[: _place(whole, rng)] + end


def _cut_and_next(whole: Whole, other: Whole, rng: random.Random) -> bytes:
    return whole.data[: _place(whole, rng)] + other.data


def _lost(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    place = _place(whole, rng, 512)
    return whole.data[:place] + whole.data[place + 512 :]


def _repeated(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    place = _place(whole, rng, 512)
    return whole.data[: place + 512] + whole.data[place:]


def _swapped(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    first, second = sorted((_place(whole, rng, 256), _place(whole, rng, 256)))
    if second < first + 256:
        return whole.data
    data = whole.data
    return (
        data[:first]
        + data[second : second + 256]
        + data[first + 256 : second]
        + data[first : first + 256]
        + data[second + 256 :]
    )


def _over(whole: Whole, place: int, patch: bytes) -> bytes:
    return whole.data[:place] + patch + whole.data[place + len(patch) :]


def _hole(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    return _over(whole, _place(whole, rng, 64), bytes(64))


def _large_hole(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    size = rng.randrange(256, max(257, (len(whole.data) - whole.body) // 3))
    return _over(whole, _place(whole, rng, size), bytes(size))[: len(whole.data)]


def _noise(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    return _over(whole, _place(whole, rng, 512), rng.randbytes(512))[: len(whole.data)]


def _wrong_size(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    """State another height, as a part of a header that was not written does; a PNG's checksum is left as it was."""
    data = whole.data
    factor = rng.choice((2, 3))
    if whole.format == "PNG":
        return _with_number(whole, 20, ">I", factor)
    if whole.format == "BMP":
        return _with_number(whole, 22, "<i", factor)
    if whole.format == "TIFF":
        return _with_number(whole, _tiff_field(data, 257) + 8, "<H", factor)
    if whole.format == "WebP":
        return _with_number(whole, data.index(b"\x9d\x01\x2a") + 5, "<H", factor) if b"\x9d\x01\x2a" in data else data
    frame = data.index(b"\xff\xc0" if whole.format == "JPEG baseline" else b"\xff\xc2")
    return _with_number(whole, frame + 5, ">H", factor)


def _with_number(whole: Whole, place: int, kind: str, factor: int) -> bytes:
    (number,) = struct.unpack_from(kind, whole.data, place)
    return _over(whole, place, struct.pack(kind, max(1, number // factor if factor == 3 else number * factor)))


def _tiff_field(data: bytes, tag: int) -> int:
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    fields = range(start + 2, start + 2 + 12 * count, 12)
    return next(field for field in fields if struct.unpack_from("<H", data, field) == (tag,))


def _scans_removed(whole: Whole, _: Whole, rng: random.Random) -> bytes | None:
    """Leave out one scan or several of a progressive JPEG, with the tables before them."""
    if whole.format != "JPEG progressive":
        return None
    parts = whole.data[: -len(_END_OF_JPEG)].split(_SCAN)
    kept = sorted(rng.sample(range(1, len(parts)), rng.randrange(1, len(parts) - 1)))
    return _SCAN.join([parts[0], *(parts[number] for number in kept)]) + _END_OF_JPEG


def _flipped_header(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    places = list(range(2, whole.body))
    if whole.format == "TIFF":
        (start,) = struct.unpack_from("<I", whole.data, 4)
        (count,) = struct.unpack_from("<H", whole.data, start)
        places += range(start, start + 2 + 12 * count)
    place = rng.choice(places)
    return _over(whole, place, bytes([whole.data[place] ^ 1 << rng.randrange(8)]))


def _flipped(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    place = _place(whole, rng)
    return _over(whole, place, bytes([whole.data[place] ^ 1 << rng.randrange(8)]))


def _trailing(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    return whole.data + rng.randbytes(rng.randrange(1, 4096))


def _next_behind(whole: Whole, other: Whole, _: random.Random) -> bytes:
    return whole.data + other.data


def _metadata(whole: Whole, _: Whole, rng: random.Random) -> bytes:
    """Add what tools add: a comment, a text, a chunk of a kind that nobody knows."""
    data, note = whole.data, rng.randbytes(rng.randrange(2, 200) * 2)
    if whole.format.startswith("JPEG"):
        fill = b"\xff" * rng.randrange(3)
        return data[:2] + fill + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + data[2:]
    if whole.format == "PNG":
        body = b"Comment\0" + note.replace(b"\0", b" ")
        return data[:33] + struct.pack(">I", len(body)) + _with_checksum(b"tEXt" + body) + data[33:]
    if whole.format == "WebP":
        (size,) = struct.unpack_from("<I", data, 4)
        chunk = b"NOTE" + struct.pack("<I", len(note)) + note
        return data[:4] + struct.pack("<I", size + len(chunk)) + data[8:] + chunk
    if whole.format == "BMP":
        size, start = struct.unpack_from("<I4xI", data, 2)
        header = struct.pack("<2sIII", b"BM", size + len(note), 0, start + len(note))
        return header + data[14:start] + note + data[start:]
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    fields = data[first + 2 : first + 2 + 12 * count] + struct.pack("<HHII", 65000, 7, len(note), len(data))
    directory = struct.pack("<H", count + 1) + fields + bytes(4)
    return data[:4] + struct.pack("<I", len(data) + len(note)) + data[8:] + note + directory


def _with_checksum(chunk: bytes) -> bytes:
    return chunk + struct.pack(">I", zlib.crc32(chunk))


_Way = Callable[[Whole, Whole, random.Random], bytes | None]

_WAYS: dict[str, _Way] = {
    "trailing bytes": _trailing,
    "next picture behind": _next_behind,
    "metadata": _metadata,
    "cut": _cut,
    "cut, filled with zeros": _cut_and_filled,
    "cut, end marker": _cut_and_ended,
    "cut, next picture": _cut_and_next,
    "wrong size": _wrong_size,
    "scans removed": _scans_removed,
    "512 bytes lost": _lost,
    "512 bytes twice": _repeated,
    "blocks swapped": _swapped,
    "larger hole": _large_hole,
    "hole of 64 bytes": _hole,
    "512 bytes of noise": _noise,
    "bit of the header": _flipped_header,
    "bit of the data": _flipped,
}

KINDS = tuple(_WAYS)
