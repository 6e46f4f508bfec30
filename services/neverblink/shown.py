"""What may be shown: texts of others without their secrets, and with their control characters as signs."""

import re
from functools import cache
from typing import Final

HIDDEN: Final = "***"

_USER = re.compile(r"(?<=://)[^\s/@]+@")
_SECRET = re.compile(r"(?i)([?&;\s](?:[a-z_-]*(?:pass|pwd|secret|token|key|auth|credential)[a-z_-]*)=)[^&;\s'\"]+")
# Line ends and tabs are control characters too; who means them writes them as they are.
_SIGNS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
# Marks that turn the direction of writing: a name with one reads as another name.
_SIGNS |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)}


def without_secrets(text: str) -> str:
    """Return a text, such as a URL, with users and passwords hidden, before the host and in a query."""
    return _SECRET.sub(rf"\1{HIDDEN}", _USER.sub(f"{HIDDEN}@", text))


def visible(text: str, *, but: str = "") -> str:
    """Return a text whose control characters are written out as signs, except those in `but`."""
    return text.translate(_signs(but))


@cache
def _signs(but: str) -> dict[int, str]:
    return {code: sign for code, sign in _SIGNS.items() if chr(code) not in but}
