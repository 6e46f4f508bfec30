"""Where a service answers how it does, as a person writes it: a port, or an address with one."""

from typing import Final

from neverblink.errors import NeverblinkError

LOOPBACK: Final = "127.0.0.1"


class HealthPlaceError(NeverblinkError, ValueError):
    """What was given is no place to answer at; the message says how one is written."""


def place_of(text: str) -> tuple[str, int]:
    """Read `9464`, `:9464`, `0.0.0.0:9464` or `[::1]:9464`; without an address this machine alone is meant.

    Port 0 is any that is free. Raises HealthPlaceError.
    """
    host, _, port = text.strip().rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise HealthPlaceError(f"{text!r} is no place to answer at: write a port, such as 9464, or 127.0.0.1:9464")
    return host.strip("[]") or LOOPBACK, int(port)
