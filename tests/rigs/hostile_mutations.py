"""Valid records, made hostile: bytes, headers, instants, timestamps, packing, sizes."""

import random
import struct
import time
from collections.abc import Sequence

from neverblink.events import Message
from rigs.hostile_batches import CODECS, batch, record, with_checksum

MIB = 1024 * 1024
NOW_MS = int(time.time() * 1000)
TIMES_MS = (*(NOW_MS,) * 24, -9 * 10**15, -1, 0, NOW_MS * 1000, 2**62, -(2**62))
_BEHIND_MS = (*(0,) * 60, 1, -5, 2**40)
INSTANTS = (
    b"9999-12-31T23:59:59-14:00",
    b"0001-01-01T00:00:00+01:00",
    b"1601-01-01T00:00:00Z",
    b"9998-01-01T00:00:00Z",
)
NUMBERS = (b"1e308", b"-1", b"9223372036854775808", b"0", b"NaN", b"1e999", b"9" * 400)
TEXTS = (b"\\u0000", b"\\ud800", b"\xff\xfe", b"\x1b[31m", b"[/red]", b"\xe2\x80\xae", b"x" * 3000, b"")
DEEP = (b"[" * 20_000, b'{"a":' * 20_000, b"[" * 500 + b"]" * 500)

Headers = list[tuple[str, bytes]]


def mutated_message(message: Message, drawn: random.Random) -> tuple[Headers, bytes]:
    """Return headers and value with up to three things wrong; one in ten is left as it is."""
    headers, value = list(message.headers), message.value
    for _ in range(drawn.choice((0, 1, 1, 1, 1, 2, 2, 2, 3, 3))):
        if drawn.random() < 0.5:
            headers = _headers(headers, drawn)
        else:
            value = _value(value, drawn)
    return headers, value


def mutated_batch(
    messages: Sequence[Message], drawn: random.Random, *, damaged: bool = False, keyed: bool = False
) -> tuple[bytes, int]:
    """Return a batch of these messages, each mutated, and how many records it has.

    With `keyed`, keys stay: a compacted topic takes nothing else. With `damaged`, bytes of the batch itself are wrong
    as well, most under a right checksum: a broker refuses most of those.
    """
    odd = () if keyed else (None, b"", b"\xff", b"a\0b", b"k" * 2000)
    plain = b""
    for number, message in enumerate(messages):
        headers, value = mutated_message(message, drawn)
        more: list[tuple[bytes, bytes | None]] = [(name.encode(errors="surrogateescape"), raw) for name, raw in headers]
        match drawn.randrange(40):
            case 0:
                more.append((b"bad\xff\xfekey", b"1"))
            case 1:
                more += [(b"x", b"y")] * 3000
            case 2:
                more.append((b"ce_id", None))
            case 3:
                value = bytes(drawn.choice((0, 1000, MIB // 2)))
        key = drawn.choice((*(message.key,) * 5, *odd))
        plain += record(number, key=key, value=value, headers=more, after_ms=drawn.choice(_BEHIND_MS))
    codec = drawn.choice(("none", "none", "gzip", "snappy", "xerial", "lz4", "zstd"))
    raw = batch(plain, len(messages), codec=codec, first_ms=drawn.choice(TIMES_MS))
    if damaged and drawn.random() < 0.7:
        spoilt = bytearray(raw)
        for _ in range(drawn.randint(1, 4)):
            spoilt[drawn.randrange(21, len(spoilt))] = drawn.randrange(256)
        raw = bytes(spoilt) if drawn.random() < 0.2 else with_checksum(bytes(spoilt))
        if drawn.random() < 0.1:
            raw = raw[:8] + struct.pack(">i", drawn.choice((-12, 0, 5, 2**31 - 1, len(raw) - 20))) + raw[12:]
    return raw, len(messages)


def bomb(key: bytes, drawn: random.Random) -> bytes:
    """Return a batch of less than 1 MiB that unpacks to 24 or 64 MiB."""
    codec = drawn.choice([name for name in (*CODECS, "xerial") if name != "none"])
    return batch(record(0, key=key, value=bytes(drawn.choice((24, 64)) * MIB)), 1, codec=codec, first_ms=NOW_MS)


def _headers(headers: Headers, drawn: random.Random) -> Headers:
    if not headers:
        return headers
    at = drawn.randrange(len(headers))
    name, raw = headers[at]
    match drawn.randrange(8):
        case 0:
            del headers[at]
        case 1:
            headers.append((name, drawn.randbytes(drawn.randrange(20))))
        case 2:
            headers[at] = (name, drawn.randbytes(drawn.randrange(60)))
        case 3:
            headers[at] = (name, drawn.choice((*INSTANTS, *NUMBERS, *TEXTS)))
        case 4:
            headers[at] = (name + drawn.choice(("\udcff", "x", "\u202e")), raw)
        case 5:
            headers[at] = (name, raw * drawn.choice((2, 50, 2000)))
        case 6:
            drawn.shuffle(headers)
        case 7:
            headers[at] = (name, _flipped(raw, drawn))
    return headers


def _value(value: bytes, drawn: random.Random) -> bytes:
    match drawn.randrange(7):
        case 0:
            return value[: drawn.randrange(len(value) + 1)]
        case 1:
            return value + drawn.randbytes(drawn.randrange(200))
        case 2:
            return drawn.choice(DEEP)
        case 3 | 4:
            return _flipped(value, drawn)
        case 5:
            return _spliced(value, drawn, drawn.choice((*TEXTS, *INSTANTS)), b'":"', b'"')
    return _spliced(value, drawn, drawn.choice(NUMBERS), b'":', b",")


def _flipped(raw: bytes, drawn: random.Random) -> bytes:
    found = bytearray(raw)
    for _ in range(drawn.randint(1, 4) if found else 0):
        found[drawn.randrange(len(found))] = drawn.randrange(256)
    return bytes(found)


def _spliced(value: bytes, drawn: random.Random, content: bytes, before: bytes, after: bytes) -> bytes:
    """Put something else in the place of one of the JSON values that stand between these."""
    places = [at for at in range(len(value)) if value.startswith(before, at)] if len(value) < 20_000 else []
    if not places:
        return value
    begin = drawn.choice(places) + len(before)
    end = value.find(after, begin)
    return value[:begin] + content + value[end:] if end >= 0 else value
