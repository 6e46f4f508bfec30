"""Records that cannot be scored, and what is to be said of each."""

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2

from neverblink.events import Message, Reason
from rigs.scored_line import png, striped


def huge_png() -> bytes:
    """A PNG of 72 bytes whose header promises 60,000 × 60,000 pixels, 10.8 GB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


Edit = Callable[[Message], Message]


@dataclass(frozen=True)
class Poison:
    """What is wrong with a record: fields of its frame, then an `edit` of the record that carries it."""

    reason: Reason
    said: str
    fields: Mapping[str, object] = field(default_factory=dict)
    edit: Edit = lambda message: message

    def fields_in(self, objects: Path) -> dict[str, Any]:
        """Return the fields for a plant whose object store is that folder."""
        return {
            name: value.format(objects=objects) if name == "dataref" else value  # type: ignore[attr-defined]
            for name, value in self.fields.items()
        }


def without(*headers: str) -> Edit:
    return lambda message: replace(message, headers=[one for one in message.headers if one[0] not in headers])


def header(name: str, value: bytes) -> Edit:
    return lambda message: replace(
        message, headers=[(one, value if one == name else raw) for one, raw in message.headers]
    )


POISON = {
    "corrupt PNG": Poison(Reason.CORRUPT_IMAGE, "cut off", {"body": b"\x89PNG\r\n\x1a\n and then nothing"}),
    "half a PNG": Poison(Reason.CORRUPT_IMAGE, "cut off", {"body": png(striped(1))[:2000]}),
    "JPEG without an end": Poison(
        Reason.CORRUPT_IMAGE, "Premature end of JPEG", {"body": cv2.imencode(".jpg", striped(1))[1].tobytes()[:-2]}
    ),
    "wrong magic": Poison(Reason.WRONG_TYPE, "not a PNG", {"body": b"this is a text file named .png"}),
    "decompression bomb": Poison(Reason.IMAGE_TOO_LARGE, "60000 × 60000", {"body": huge_png()}),
    "raw pixels that are too few": Poison(
        Reason.CORRUPT_IMAGE,
        "raw pixels take",
        {"body": bytes(100), "content_type": "image/x-raw; format=rgb8; width=96; height=96"},
    ),
    "zero bytes": Poison(Reason.BAD_EVENT, "carries 0", edit=lambda message: replace(message, value=b"")),
    "digest mismatch": Poison(Reason.DIGEST_MISMATCH, "digest", {"sha256": "0" * 64}),
    "object missing": Poison(
        Reason.OBJECT_MISSING,
        "there is no object",
        {
            "dataref": "file://{objects}/2026-05-04T08/line-1/top/gone.png",
            "body": b"",
            "size": 5000,
            "sha256": "0" * 64,
        },
    ),
    "object outside the store": Poison(
        Reason.OBJECT_MISSING,
        "does not lie in",
        {"dataref": "file:///etc/hostname", "body": b"", "size": 5000, "sha256": "0" * 64},
    ),
    "wrong product": Poison(Reason.WRONG_PRODUCT, "its station inspects striped", {"product": "unknown"}),
    "unknown schema version": Poison(
        Reason.BAD_EVENT, "neverblink.frame.v9", edit=header("ce_type", b"neverblink.frame.v9")
    ),
    "unknown CloudEvents version": Poison(Reason.BAD_EVENT, "'2.0'", edit=header("ce_specversion", b"2.0")),
    "missing header": Poison(Reason.BAD_EVENT, "deadline", edit=without("ce_deadline")),
    "missing id": Poison(Reason.BAD_EVENT, "ce_id", edit=without("ce_id")),
    "no headers": Poison(Reason.BAD_EVENT, "ce_type", edit=lambda message: replace(message, headers=[])),
    "header that is no text": Poison(Reason.BAD_EVENT, "not UTF-8", edit=header("ce_part", b"\xff\xfe")),
}
"""None of them names no line: each ends in a dead letter and in one unscored verdict."""
