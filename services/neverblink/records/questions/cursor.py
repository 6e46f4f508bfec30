"""Where a reader is in the answer to a question: an opaque text that goes with this question alone.

It holds the place of the last row that was given out, never a count of rows: rows that arrive meanwhile move nothing.
It is not signed: whatever it says, it can only choose where in the answer of a permitted question to go on.
"""

import base64
import binascii
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import orjson

from neverblink.errors import NeverblinkError

MAX_CURSOR = 256
_VERSION = 1
_LARGEST = 1 << 63


class CursorError(NeverblinkError, ValueError):
    """A text that is no cursor of this question."""


def mark_of(question: str, wanted: dict[str, Any]) -> str:
    """Return a short mark of a question and what it asks for: a cursor of another one is refused by it."""
    plain = orjson.dumps([question, wanted], option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z, default=str)
    return blake2b(plain, digest_size=9).hexdigest()


def cursor_of(mark: str, place: Sequence[int]) -> str:
    """Return the cursor that goes on behind a place."""
    return base64.urlsafe_b64encode(orjson.dumps([_VERSION, mark, *place])).decode().rstrip("=")


def place_in(cursor: str, mark: str, length: int) -> tuple[int, ...]:
    """Return the place that a cursor of `cursor_of` names. Raises CursorError for any other text."""
    if len(cursor) > MAX_CURSOR:
        raise CursorError(f"the cursor has {len(cursor)} characters, and no cursor has more than {MAX_CURSOR}")
    try:
        held = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise CursorError("the cursor is damaged: give it back as it was received, or begin without one") from error
    match held:
        case [int(version), str(said), *place] if version == _VERSION:
            pass
        case _:
            raise CursorError("the cursor is of another version or damaged: begin without one")
    if said != mark:
        raise CursorError("the cursor belongs to another question: keep filters and order while paging, or begin anew")
    if len(place) != length or not all(type(number) is int and -_LARGEST <= number < _LARGEST for number in place):
        raise CursorError("the cursor is damaged: give it back as it was received, or begin without one")
    return tuple(place)
