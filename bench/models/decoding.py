"""What it costs to refuse damaged pictures, and what is refused: decoding against OpenCV alone, and a table of damage.

The baseline is what decoding was: OpenCV, after a look for a JPEG's end marker, a PNG's checksums and a BMP's length;
TIFF and WebP by OpenCV alone, which takes them cut. Both decode the same bytes in turn, on one thread, and the figures
are medians of CPU time, so that what else the machine does meets both alike.
"""

import argparse
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.decode import MAX_PIXELS, ImageError, decode
from neverblink.vision.pictures import png
from rigs.picture_damage import (
    DEPTH,
    FORMATS,
    HARMLESS,
    KINDS,
    Format,
    Outcome,
    damaged,
    drawn,
    outcome,
    real,
    wholes,
)

Pixels = npt.NDArray[np.uint8]

_SIZES = ((320, 240), (640, 480), (2048, 1536))
_ROUNDS = 15
_END_SEARCH = 64 * 1024
_TIFF = cv2.IMWRITE_TIFF_COMPRESSION
_WAYS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("JPEG, quality 85", ".jpg", (cv2.IMWRITE_JPEG_QUALITY, 85)),
    ("JPEG, quality 95, 4:4:4", ".jpg", (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111)),
    ("JPEG, progressive", ".jpg", (cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
    ("PNG", ".png", ()),
    ("BMP", ".bmp", ()),
    ("TIFF, uncompressed", ".tif", (_TIFF, 1)),
    ("TIFF, LZW", ".tif", (_TIFF, 5)),
    ("TIFF, Deflate", ".tif", (_TIFF, 8)),
    ("WebP, lossy", ".webp", (cv2.IMWRITE_WEBP_QUALITY, 90)),
    ("WebP, lossless", ".webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),
)


def plain(data: bytes) -> Pixels:
    """Decode as it was done before: (H, W, 3) uint8 RGB, half of it grey where half was lost. Raises ImageError."""
    if data.startswith(png.SIGNATURE):
        png.opened(data, MAX_PIXELS)
    elif data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9", max(0, len(data) - _END_SEARCH)) < 0:
        raise ImageError("corrupt-image", "no end marker")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if found is None:
        raise ImageError("corrupt-image", "it cannot be decoded")
    return np.ascontiguousarray(found, dtype=np.uint8)


def photograph(data: Path | None) -> tuple[Pixels, str]:
    """Return (H, W, 3) uint8 BGR pixels as large as the largest size, and what they show."""
    found = sorted((data / "cookie/train/good").glob("*.jpg")) if data is not None else []
    image = cv2.imread(str(found[0])) if found else None
    shown = "a photograph of a cookie" if image is not None else "a drawn plate"
    chosen = drawn()[0] if image is None else np.asarray(image, dtype=np.uint8)
    grain = np.random.default_rng(0).normal(0, 3, (*_SIZES[-1][::-1], 3))
    large = cv2.resize(chosen, _SIZES[-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(large + grain, 0, 255).astype(np.uint8), shown


def speeds(image: Pixels, rounds: int) -> None:
    """Print CPU milliseconds of both by format and size."""
    print("| file | pixels | kB | before, ms | now, ms | ratio |\n|---|---|--:|--:|--:|--:|")
    for width, height in _SIZES:
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        for name, suffix, flags in _WAYS:
            data = cv2.imencode(suffix, small, flags)[1].tobytes()
            before, now = in_turn(lambda body=data: plain(body), lambda body=data: decode(body), rounds)  # type: ignore[misc]
            print(
                f"| {name} | {width} × {height} | {len(data) / 1000:,.0f} | {before:.2f} | {now:.2f} |"
                f" {now / before:.2f} |"
            )


def in_turn(before: Callable[[], Pixels], now: Callable[[], Pixels], rounds: int) -> tuple[float, float]:
    """Return the median CPU milliseconds of two calls that give the same, in turns."""
    assert np.array_equal(before(), now())
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            began = time.thread_time()
            (before, now)[which]()
            times[which].append(time.thread_time() - began)
    return 1000 * median(times[0]), 1000 * median(times[1])


def damage(rounds: int) -> None:
    """Print what becomes of damaged files, by damage and format: refused, identical, decoded otherwise."""
    files, others = (wholes(drawn(seed) + real(seed)) for seed in (0, 1))
    rng = random.Random(0)
    found: dict[tuple[str, Format], Counter[Outcome]] = {}
    before: Counter[Outcome] = Counter()
    for whole, other in zip(files, others, strict=True):
        pixels = decode(whole.data, depth=DEPTH)
        for _ in range(rounds):
            for one in damaged(whole, other, rng):
                found.setdefault((one.kind, whole.format), Counter())[outcome(one, pixels)] += 1
                if one.kind not in HARMLESS and "12 bits" not in whole.name:
                    before[_plain_outcome(one.data, pixels)] += 1
    print(f"| damage | {' | '.join(FORMATS)} |\n|---|{'--:|' * len(FORMATS)}")
    for kind in KINDS:
        print(f"| {kind} | {' | '.join(_cell(found.get((kind, name))) for name in FORMATS)} |")
    harmful: Counter[Outcome] = Counter()
    for (kind, _), counts in found.items():
        harmful += Counter() if kind in HARMLESS else counts
    print(f"\nFiles: {len(files)}; variants: {sum(counts.total() for counts in found.values())}")
    print(f"Of {harmful.total()} harmed ones: {_words(harmful)}")
    print(f"Before, of {before.total()} with 8 bits: {_words(before)}")


def _plain_outcome(data: bytes, pixels: Pixels) -> Outcome:
    try:
        return "identical" if np.array_equal(plain(data), pixels) else "otherwise"
    except (ImageError, cv2.error, IndexError, ValueError, ArithmeticError):
        return "refused"
    except Exception as error:
        if type(error).__module__ == "struct":
            return "refused"
        raise


def _cell(counts: Counter[Outcome] | None) -> str:
    if counts is None:
        return "–"
    return " / ".join(str(counts[name]) for name in ("refused", "identical", "otherwise"))


def _words(counts: Counter[Outcome]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in ("refused", "identical", "otherwise"))


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["speed", "damage"])
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="times a file is decoded, or damaged in each way")
    parser.add_argument("--data", type=Path, default=os.environ.get("NEVERBLINK_DATA"))
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    if asked.what == "damage":
        damage(asked.rounds)
        return
    image, shown = photograph(asked.data)
    print(f"{shown}, medians of {asked.rounds}, CPU time of one thread\n")
    speeds(image, asked.rounds)


if __name__ == "__main__":
    main()
