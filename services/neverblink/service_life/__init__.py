"""How a service starts, says that it is ready, begins again and stops."""

from neverblink.service_life.collector import building, keep_for_good, walk_seldom
from neverblink.service_life.running import (
    READY,
    READY_FILE,
    UNREADY,
    ready,
    run_service,
    unready,
)
from neverblink.service_life.supervisor import (
    Duty,
    DutyEndedError,
    keeping,
    kept,
    refuse_ended,
    supervise,
    unasked_end,
)
from neverblink.service_life.time_limit import nobody_asked, time_limit
from neverblink.service_life.waiting import end_all, given_time, wait_or_stop

__all__ = [
    "READY",
    "READY_FILE",
    "UNREADY",
    "Duty",
    "DutyEndedError",
    "building",
    "end_all",
    "given_time",
    "keep_for_good",
    "keeping",
    "kept",
    "nobody_asked",
    "ready",
    "refuse_ended",
    "run_service",
    "supervise",
    "time_limit",
    "unasked_end",
    "unready",
    "wait_or_stop",
    "walk_seldom",
]
