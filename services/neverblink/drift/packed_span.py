"""A shift or week that is over, in some 500 bytes: its counts, each signal's moments, and an outline of the scores.

Weeks of them are kept for every state, so they lie packed and are unpacked to be compared. All counts stay exact; the
scores' distribution becomes `OUTLINE` quantiles, ranks within 1/128 of what the sketch said.
"""

import struct

import numpy as np
import orjson

from neverblink.drift.moments import Moments
from neverblink.drift.score_sketch import ScoreSketch
from neverblink.drift.statistics import SIGNALS, Challenges, Window

OUTLINE = 64
_HEAD = struct.Struct("<ddIIIIIH")
_MOMENTS = struct.Struct("<Idd2f")


def pack(window: Window) -> bytes:
    """Return a window as bytes."""
    seen = window.challenges
    reasons = orjson.dumps([window.rejected, window.unscored])
    count = window.sketch.count
    head = _HEAD.pack(
        window.opened, window.closed, window.passed, seen.hits, seen.misses, seen.unscored, count, len(reasons)
    )
    moments = b"".join(_packed(window.moments(name)) for name in SIGNALS)
    points = window.sketch.outline(OUTLINE).astype("<f4").tobytes() if count else b""
    return head + reasons + moments + points


def unpack(raw: bytes) -> Window:
    """Read what `pack` wrote."""
    opened, closed, passed, hits, misses, unscored, count, length = _HEAD.unpack_from(raw)
    at = _HEAD.size + length
    rejected, turned_away = orjson.loads(raw[_HEAD.size : at])
    moments = {}
    for name in SIGNALS:
        moments[name] = _unpacked(_MOMENTS.unpack_from(raw, at))
        at += _MOMENTS.size
    outline = np.frombuffer(raw, "<f4", offset=at)
    return Window(
        opened,
        closed,
        passed=passed,
        rejected=rejected,
        unscored=turned_away,
        sketch=ScoreSketch.of_outline(outline, count) if count else ScoreSketch(),
        challenges=Challenges(hits, misses, unscored),
        **moments,
    )


def opened_at(raw: bytes) -> float:
    """Return when a packed span opened, without unpacking it."""
    opened: float = struct.unpack_from("<d", raw)[0]
    return opened


def join(spans: list[bytes]) -> bytes:
    """Return packed spans as one value of the table."""
    return b"".join(struct.pack("<I", len(span)) + span for span in spans)


def split(raw: bytes) -> list[bytes]:
    """Read what `join` wrote."""
    spans, at = [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        spans.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return spans


def _packed(moments: Moments) -> bytes:
    least, most = (moments.minimum, moments.maximum) if moments.count else (0.0, 0.0)
    return _MOMENTS.pack(moments.count, moments.mean, moments.m2, least, most)


def _unpacked(numbers: tuple[int, float, float, float, float]) -> Moments:
    return Moments(*numbers) if numbers[0] else Moments()
