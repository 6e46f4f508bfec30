"""Where the demonstration's parts listen: at the ports that people know, as long as nobody else has them."""

import contextlib
import socket

from neverblink.brokers.apache import free_port


def usual_port(usual: int, taken: set[int] | None = None) -> int:
    """Return a port of this machine that a part has in a plant, another one where that is taken; adds it to `taken`."""
    chosen = taken if taken is not None else set()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", usual))
        if usual not in chosen:
            chosen.add(usual)
            return usual
    return free_port(chosen)
