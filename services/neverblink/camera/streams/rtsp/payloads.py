"""How H.264 (RFC 6184), H.265 (RFC 7798), MPEG-4 (RFC 6416) and JPEG (RFC 2435) travel in RTP packets. Pure."""

import base64
import binascii
import struct
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from neverblink.camera.streams.rtsp.packets import PacketError, Payload

_START = b"\x00\x00\x00\x01"


class NalUnits:
    """Pictures of NAL units: H.264 and H.265 differ in their headers only. The picture is Annex B."""

    def __init__(self, codec: str) -> None:
        self._is_265 = codec == "H265"
        self._head = 2 if self._is_265 else 1
        self._aggregate, self._fragment = (48, 49) if self._is_265 else (24, 28)
        self._units: list[bytes] = []
        self._fragments: list[bytes] = []

    def add(self, payload: bytes) -> None:
        """Take a single unit, an aggregate of some, or a fragment of one. Raises PacketError."""
        if len(payload) <= self._head:
            raise PacketError("a packet of the camera is empty")
        kind = self._kind(payload)
        if kind == self._fragment:
            self._add_fragment(payload)
        elif self._fragments:
            raise PacketError("a unit of the picture has no end")
        elif kind == self._aggregate:
            self._units += _aggregated(payload[self._head :])
        elif kind > self._aggregate:
            raise PacketError(f"the camera sends packets of type {kind}, which are not understood")
        else:
            self._units.append(payload)

    def begins(self, payload: bytes) -> bool:
        """Say whether the payload holds parameters, or the first slice of a picture."""
        kind = self._kind(payload)
        if kind == self._fragment:
            if len(payload) < self._head + 2 or not payload[self._head] & 0x80:
                return False
            return self._is_first(payload[self._head] & (0x3F if self._is_265 else 0x1F), payload[self._head + 1])
        if kind == self._aggregate:
            return True
        return len(payload) > self._head and self._is_first(kind, payload[self._head])

    def take(self) -> bytes:
        """Return the units in Annex B's form. Raises PacketError when the last has no end."""
        units, has_end = self._units, not self._fragments
        self._units, self._fragments = [], []
        if not has_end:
            raise PacketError("the picture's last unit has no end")
        return b"".join(_START + unit for unit in units)

    def _kind(self, payload: bytes) -> int:
        first = payload[0] if payload else 0
        return first >> 1 & 0x3F if self._is_265 else first & 0x1F

    def _is_first(self, kind: int, slice_head: int) -> bool:
        """Slices say by their first bit whether they are the picture's first; what is no slice stands before it."""
        is_slice = kind < 32 if self._is_265 else 1 <= kind <= 5
        return not is_slice or bool(slice_head & 0x80)

    def _add_fragment(self, payload: bytes) -> None:
        if len(payload) < self._head + 2:
            raise PacketError("a fragment of the camera is empty")
        head = payload[self._head]
        if bool(head & 0x80) == bool(self._fragments):
            raise PacketError("a fragment of the picture has no beginning")
        if head & 0x80:
            if self._is_265:
                own = bytes([payload[0] & 0x81 | (head & 0x3F) << 1, payload[1]])
            else:
                own = bytes([payload[0] & 0xE0 | head & 0x1F])
            self._fragments = [own]
        self._fragments.append(payload[self._head + 1 :])
        if head & 0x40:
            self._units.append(b"".join(self._fragments))
            self._fragments = []


class Mpeg4:
    """MPEG-4 part 2: the packets' payloads follow one another."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def add(self, payload: bytes) -> None:
        """Take the next piece."""
        self._pieces.append(payload)

    def begins(self, payload: bytes) -> bool:
        """Say whether the payload begins with a start code of something that is no resynchronisation."""
        return payload[:3] == b"\x00\x00\x01"

    def take(self) -> bytes:
        """Return the picture."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class Jpeg:
    """JPEG without its headers, which are written anew."""

    def __init__(self) -> None:
        self._scan = bytearray()
        self._head = b""
        self._tables: dict[int, bytes] = {}

    def add(self, payload: bytes) -> None:
        """Take the next fragment of the scan. Raises PacketError."""
        if len(payload) < 8:
            raise PacketError("a packet of the camera is too short for JPEG")
        offset, kind, quality, width, height = struct.unpack_from(">IBBBB", b"\x00" + payload[1:8])
        at, interval = 8, 0
        if 64 <= kind <= 127:
            interval = int.from_bytes(payload[at : at + 2], "big")
            at += 4
        if offset != len(self._scan):
            raise PacketError(f"a fragment for byte {offset} of the picture came at byte {len(self._scan)}")
        if offset == 0:
            tables = b""
            if quality >= 128:
                precision, length = struct.unpack_from(">xBH", payload, at) if len(payload) >= at + 4 else (0, 0)
                tables = payload[at + 4 : at + 4 + length]
                at += 4 + length
                if precision:
                    raise PacketError("the camera sends JPEG with quantisation of 16 bits")
            self._head = self._headers(kind, quality, tables, width * 8, height * 8, interval)
        self._scan += payload[at:]

    def begins(self, payload: bytes) -> bool:
        """Say whether it is the scan's first fragment."""
        return payload[1:4] == b"\x00\x00\x00"

    def take(self) -> bytes:
        """Return the picture as a file."""
        scan, self._scan = bytes(self._scan), bytearray()
        return self._head + scan + (b"" if scan.endswith(b"\xff\xd9") else b"\xff\xd9")

    def _headers(self, kind: int, quality: int, tables: bytes, width: int, height: int, interval: int) -> bytes:
        if kind % 64 > 1:
            raise PacketError(f"the camera sends JPEG of type {kind}, which is not understood")
        if not width or not height:
            raise PacketError("the camera's pictures are wider or higher than the 2040 pixels that JPEG over RTP knows")
        if quality >= 128:
            tables = tables or self._tables.get(quality, b"")
            self._tables = {**self._tables, quality: tables} if quality < 255 else self._tables
        else:
            tables = _scaled_tables(quality)
        if len(tables) not in {64, 128}:
            raise PacketError(f"the camera sends {len(tables)} bytes of JPEG's quantisation tables")
        quantisation = b"".join(
            _segment(0xDB, bytes([number]) + tables[at : at + 64])
            for number, at in enumerate(range(0, len(tables), 64))
        )
        second = 1 if len(tables) == 128 else 0
        sampling = 0x22 if kind % 64 == 1 else 0x21
        components = bytes([1, sampling, 0, 2, 0x11, second, 3, 0x11, second])
        frame = _segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + components)
        restart = _segment(0xDD, struct.pack(">H", interval)) if interval else b""
        scan = _segment(0xDA, bytes([3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]))
        return b"\xff\xd8" + quantisation + frame + restart + _standard_segments()[0xC4] + scan


PAYLOADS: dict[str, tuple[str, Callable[[], Payload]]] = {
    "H264": ("h264", lambda: NalUnits("H264")),
    "H265": ("hevc", lambda: NalUnits("H265")),
    "MP4V-ES": ("mpeg4", Mpeg4),
    "JPEG": ("mjpeg", Jpeg),
}
"""What a codec is called in RTP: what FFmpeg calls it, and how its pictures travel."""


def codec_head(codec: str, parameters: dict[str, str]) -> bytes:
    """Return what the session's description gives a decoder in advance, empty when it gives nothing."""
    if codec == "MP4V-ES":
        try:
            return bytes.fromhex(parameters.get("config", ""))
        except ValueError:
            return b""
    names = {"H264": ["sprop-parameter-sets"], "H265": ["sprop-vps", "sprop-sps", "sprop-pps"]}.get(codec, [])
    words = [word for name in names for word in parameters.get(name, "").split(",") if word]
    try:
        return b"".join(_START + base64.b64decode(word + "=" * (-len(word) % 4)) for word in words)
    except binascii.Error:
        return b""


def _aggregated(data: bytes) -> list[bytes]:
    units = []
    while data:
        size = int.from_bytes(data[:2], "big")
        if not size or len(data) < 2 + size:
            raise PacketError("an aggregate of the camera is cut off")
        units.append(data[2 : 2 + size])
        data = data[2 + size :]
    return units


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _scaled_tables(quality: int) -> bytes:
    """Return the quantisation tables of a quality of 1 to 99, both in the order of the scan."""
    if not 1 <= quality <= 99:
        raise PacketError(f"the camera sends JPEG of quality {quality}, which is not defined")
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = np.frombuffer(_standard_segments()[0xDB], np.uint8).astype(int)
    return bytes(((base * scale + 50) // 100).clip(1, 255).astype(np.uint8))


@cache
def _standard_segments() -> dict[int, bytes]:
    """Return the tables of ITU-T T.81, annex K: quantisation without headers (DB), Huffman with them (C4).

    An encoder that does not optimise writes them as they are, at quality 50 those of quantisation too.
    """
    flags = [cv2.IMWRITE_JPEG_QUALITY, 50, cv2.IMWRITE_JPEG_OPTIMIZE, 0]
    _, coded = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8), flags)
    jpeg, at = coded.tobytes(), 2
    quantisation, huffman = b"", b""
    while jpeg[at + 1] != 0xDA:
        size = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        segment = jpeg[at : at + 2 + size]
        if segment[1] == 0xDB:
            body = segment[4:]
            quantisation += b"".join(body[start + 1 : start + 65] for start in range(0, len(body), 65))
        elif segment[1] == 0xC4:
            huffman += segment
        at += 2 + size
    return {0xDB: quantisation, 0xC4: huffman}
