"""Unpacks what Kafka clients compress, but no more of it than a bound: a batch of 1 MiB may hold gigabytes. Packs gzip.

A broker checks a batch's compressed size alone. Format of snappy blocks as Java writes them: xerial/snappy-java,
`SnappyOutputStream`; of the others: RFC 1952, the LZ4 frame format 1.6, RFC 8878.
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import cramjam

from neverblink.events import TOPICS

MAX_UNPACKED_BYTES = 2 * max(topic.max_message_bytes for topic in TOPICS.values())
"""Twice what the largest topic accepts of what is not compressed: our own producers never reach half of it."""

_GZIP = zlib.MAX_WBITS | 16
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER = 16
_FIRST_TRY = 64 * 1024
_GROWTH = 8
_MEMBERS = 64  # of gzip; clients write one, and each one more costs a copy of the rest

PACKING_LEVEL = 1
"""A quarter of the library's level 9 in time, for a tenth more bytes: docs/benchmarks/line.md, Compression."""


def pack_gzip(plain: bytes | bytearray | memoryview, compresslevel: int | None = None) -> bytes:
    """Return it as one member of gzip. Has the signature of the library's, whose level of 9 is not taken."""
    packing = zlib.compressobj(compresslevel or PACKING_LEVEL, zlib.DEFLATED, _GZIP)
    return packing.compress(plain) + packing.flush()


class UnpackingError(ValueError):
    """What is compressed is damaged, or holds more than the bound; the message says which."""


def unpack_gzip(packed: bytes | memoryview) -> bytes:
    """Return what is in it, of all its members. Raises UnpackingError."""
    parts: list[bytes] = []
    room = MAX_UNPACKED_BYTES
    rest = bytes(packed)
    while rest:
        if len(parts) == _MEMBERS:
            raise UnpackingError(f"its gzip has more than {_MEMBERS} members")
        member = zlib.decompressobj(_GZIP)
        try:
            part = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise UnpackingError(f"its gzip is damaged: {error}") from error
        if len(part) > room:
            raise _too_large()
        if not member.eof:
            raise UnpackingError("its gzip is cut off")
        parts.append(part)
        room -= len(part)
        rest = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def unpack_snappy(packed: bytes | memoryview) -> bytes:
    """Return what is in it: one raw block, or Java's stream of blocks. Raises UnpackingError."""
    view = memoryview(packed)
    if bytes(view[: len(_XERIAL)]) != _XERIAL or len(view) <= _XERIAL_HEADER:
        return _snappy_block(view, MAX_UNPACKED_BYTES)
    blocks: list[bytes] = []
    room, at = MAX_UNPACKED_BYTES, _XERIAL_HEADER
    while at < len(view):
        if len(view) - at < 4:
            raise UnpackingError("its snappy stream is cut off")
        (size,) = struct.unpack_from(">i", view, at)
        at += 4
        if not 0 < size <= len(view) - at:
            raise UnpackingError(f"its snappy stream is damaged: a block of {size} bytes")
        blocks.append(_snappy_block(view[at : at + size], room))
        room -= len(blocks[-1])
        at += size
    return b"".join(blocks)


def unpack_lz4(packed: bytes | memoryview) -> bytes:
    """Return what is in it, of all its frames. Raises UnpackingError."""
    return _into_a_bound("lz4", cramjam.lz4, packed)


def unpack_zstd(packed: bytes | memoryview) -> bytes:
    """Return what is in it, of all its frames. Raises UnpackingError."""
    return _into_a_bound("zstd", cramjam.zstd, packed)


Unpack = Callable[[bytes | memoryview], bytes]

UNPACK: Mapping[str, Unpack] = MappingProxyType(
    {"gzip": unpack_gzip, "snappy": unpack_snappy, "lz4": unpack_lz4, "zstd": unpack_zstd}
)
"""By the names that Kafka gives to codecs."""


def _into_a_bound(name: str, codec: Any, packed: bytes | memoryview) -> bytes:
    """Unpack into ever larger room: the library stops where there is none left, and what is small costs little."""
    size = min(max(_FIRST_TRY, len(packed) * _GROWTH), MAX_UNPACKED_BYTES)
    while True:
        room = bytearray(size)
        try:
            written = codec.decompress_into(packed, room)
        except (cramjam.DecompressionError, ValueError) as error:
            if size < MAX_UNPACKED_BYTES:
                size = min(size * _GROWTH, MAX_UNPACKED_BYTES)
                continue
            if "whole buffer" in str(error):
                raise _too_large() from error
            raise UnpackingError(f"its {name} is damaged: {error}") from error
        return bytes(memoryview(room)[:written])


def _snappy_block(block: memoryview, room: int) -> bytes:
    try:
        size = cramjam.snappy.decompress_raw_len(block)
        if size > room:
            raise _too_large()
        return bytes(cramjam.snappy.decompress_raw(block))
    except cramjam.DecompressionError as error:
        raise UnpackingError(f"its snappy is damaged: {error}") from error


def _too_large() -> UnpackingError:
    return UnpackingError(f"it would unpack to more than the bound of {MAX_UNPACKED_BYTES} bytes")
