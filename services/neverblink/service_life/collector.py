"""The interpreter's collector of cycles, which stops everything while it walks all objects that there are.

A process with an OPC UA library holds a hundred thousand objects for good, one that serves a PLC's nodes four hundred
thousand: a walk of 0.06 to 0.4 s, in the middle of a line's work.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_building = 0


def keep_for_good() -> None:
    """Keep what is there now until the process ends: the collector does not walk it again."""
    gc.collect()
    gc.freeze()


def walk_seldom() -> None:
    """Walk new objects by the twenty thousand: for a process whose batches live for a second, and are walked in vain.

    With Python's 700 that took a drift worker 7 % of its time.
    """
    gc.set_threshold(20_000)


@contextmanager
def building() -> Iterator[None]:
    """Hold the collector off while much is built that stays: it would walk what is there again and again."""
    global _building
    if _building == 0:
        gc.disable()
    _building += 1
    try:
        yield
    finally:
        _building -= 1
        if _building == 0:
            gc.enable()
