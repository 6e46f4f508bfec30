"""The end that nothing can hold up: from the first signal on, the process has its grace time and no more."""

import atexit
import os
import sys
import threading
import traceback
from typing import Final

from neverblink import telemetry

GRACE: Final = "NEVERBLINK_GRACE_S"
"""Seconds from the first SIGTERM to the end of the process, below what whoever stops it allows."""

DEFAULT_GRACE_S: Final = 18.0
"""Docker's and systemd's usual patience, as the deployment files state it, is 20 s and more."""

EXIT_HELD_UP: Final = 70

_LAST_WORDS_S: Final = 1.0

LEAVE_S: Final = 1.5
"""What the loop and the interpreter have to end in good order once a service that was told to stop has done so."""

_log = telemetry.logger("service_life")


def arm(service: str) -> None:
    """End this process `grace_s` from now, with code 70 and a line that says what stood still, if it is there then."""
    within_s = grace_s()
    timer = threading.Timer(within_s, _end, (service, within_s))
    timer.name = "last-resort"
    timer.daemon = True  # a process that ends by itself does not wait for it
    timer.start()


def leave(service: str) -> None:
    """End this process with code 0 in LEAVE_S: its work is done, and a library's tasks and threads hold up nothing.

    A client whose broker is gone may go on though it is cancelled, and the end of the loop would wait for it.
    """
    timer = threading.Timer(LEAVE_S, _leave, (service,))
    timer.name = "leaving"
    timer.daemon = True
    timer.start()
    # The interpreter's own end takes a scorer ten seconds on a busy machine, and no thread runs in it.
    atexit.register(os._exit, 0)


def grace_s() -> float:
    """Return the grace time that the environment states, or the default."""
    stated = os.environ.get(GRACE, "")
    try:
        seconds = float(stated) if stated else DEFAULT_GRACE_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        _log.warning(f"{GRACE} is {stated!r}, which is no number of seconds up to 3600: {DEFAULT_GRACE_S:g} s it is")
        return DEFAULT_GRACE_S
    return seconds


def _leave(service: str) -> None:
    _log.debug(f"{service} has stopped, and leaves what libraries still do")
    os._exit(0)


def _end(service: str, within_s: float) -> None:
    # On a busy machine the words alone may take seconds: the end does not wait for them.
    silent = threading.Timer(_LAST_WORDS_S, os._exit, (EXIT_HELD_UP,))
    silent.daemon = True
    silent.start()
    frames = sys._current_frames()
    own = threading.get_ident()
    where = {
        thread.name: "".join(traceback.format_stack(frames[thread.ident])[-3:])
        for thread in threading.enumerate()
        if thread.ident in frames and thread.ident != own
    }
    _log.error(
        f"{service} did not stop within {within_s:g} s and is ended; {len(where)} threads stood",
        extra={"fields": {"threads": where}},
    )
    os._exit(EXIT_HELD_UP)
