"""Whether the machine ran while a test did: a line in real time says nothing of us on a machine that stood still."""

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# A test process wakes this often, and has stood still when it woke so much later: less than any slack of a tested line.
WAKES_S = 0.02
STOOD_S = 0.25
_NEVER = 1_000_000


class MachineStoodError(Exception):
    """A test in real time failed while nothing ran for longer than its line has slack; it is run again."""


@dataclass
class Steadiness:
    """The longest time that a thread which only sleeps was not woken, in seconds.

    Our own code that holds up an event loop does not count: the interpreter lets this thread in between.
    """

    stood_s: float = 0.0


@contextmanager
def watched() -> Iterator[Steadiness]:
    """Watch for the time of the block."""
    seen, over = Steadiness(), threading.Event()

    def watch() -> None:
        before = time.monotonic()
        while not over.wait(WAKES_S):
            now = time.monotonic()
            seen.stood_s = max(seen.stood_s, now - before - WAKES_S)
            before = now

    thread = threading.Thread(target=watch, name="steadiness", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextmanager
def no_full_collection() -> Iterator[None]:
    """Put off the walk over all objects, a second of standing still beside a simulated PLC, to the end of the block."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*thresholds[:2], _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()


@contextmanager
def only_where_the_machine_ran() -> Iterator[None]:
    """Tell a failure of a machine that stood still from one of what is tested."""
    with watched() as seen:
        try:
            yield
        except (AssertionError, TimeoutError) as error:
            if seen.stood_s < STOOD_S:
                raise
            raise MachineStoodError(f"nothing ran for {seen.stood_s:.2f} s, so this says little: {error}") from error
