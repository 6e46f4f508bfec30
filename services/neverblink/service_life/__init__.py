"""How a service starts, says that it is ready, begins again and stops."""

from neverblink.service_life.running import (
    READY,
    READY_FILE,
    UNREADY,
    ready,
    run_service,
    unready,
    until_all_or_stop,
    wait_or_stop,
)

__all__ = [
    "READY",
    "READY_FILE",
    "UNREADY",
    "ready",
    "run_service",
    "unready",
    "until_all_or_stop",
    "wait_or_stop",
]
