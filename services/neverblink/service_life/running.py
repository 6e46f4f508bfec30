"""How every service starts, says that it is ready, and stops: SIGTERM and SIGINT end it in good order."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from neverblink import telemetry
from neverblink.service_life import last_resort
from neverblink.service_life.collector import keep_for_good
from neverblink.service_life.health import STATE, serving
from neverblink.service_life.instruments import observe_service
from neverblink.service_life.supervisor import Duty, DutyEndedError, awaited, keeping
from neverblink.service_life.waiting import end_all

READY = "ready"
UNREADY = "unready"

# A file that is there and younger than a few beats says that the service takes work and its loop turns:
# what a container's health check can see. Without the variable there is none.
READY_FILE = "NEVERBLINK_READY_FILE"
_BEAT_S = 5.0
_NOT_FOR_OTHERS = 0o007


def ready(service: str, **fields: object) -> None:
    """Log the record that says this service takes work; whoever started it may wait for it."""
    telemetry.logger(service).info(f"{service} is ready", extra={"fields": {"state": READY, **fields}})
    STATE.tell("ready")
    if (file := _ready_file()) is not None:
        try:
            file.touch()
        except OSError as error:
            telemetry.logger(service).warning(f"{READY_FILE} names {file}, which cannot be written: {error.strerror}")


def unready(service: str, sentence: str, **fields: object) -> None:
    """Warn that this service does only a part of its work, and of which not; until `ready` its file is gone."""
    telemetry.logger(service).warning(sentence, extra={"fields": {"state": UNREADY, **fields}})
    STATE.tell("unready", sentence)
    if (file := _ready_file()) is not None:
        file.unlink(missing_ok=True)


async def run_service(service: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main(stop)` until it returns; the first SIGTERM or SIGINT sets `stop`, the second cancels it.

    `main` finishes its work in hand when `stop` is set. Whatever it raises goes to the caller, and a cancellation that
    nobody asked for is an error as well. From the first signal on the process ends within the grace time, whatever
    stands still in it: a thread that blocks, a collector that never answers.
    """
    _keep_others_out()
    STATE.begin(service)
    observe_service(STATE)
    keep_for_good()  # what was imported
    if (file := _ready_file()) is not None:
        file.unlink(missing_ok=True)  # a killed predecessor's
    stop, told, left = asyncio.Event(), asyncio.Event(), asyncio.Event()
    work = asyncio.create_task(awaited(partial(main, stop)), name=service)
    log = telemetry.logger(service)

    def on_signal() -> None:
        if stop.is_set():
            log.warning("told to stop a second time: leaving work unfinished")
            left.set()
            work.cancel()
        else:
            log.info("told to stop: finishing the work in hand")
            told.set()
            STATE.tell("stopping", "it was told to stop, and finishes the work in hand")
            stop.set()
            last_resort.arm(service)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        with serving(service):
            async with keeping(service, Duty("the ready file", partial(_keep_fresh, file))):
                await asyncio.wait({work})
    finally:
        await end_all([work])
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        if file is not None:
            file.unlink(missing_ok=True)
        log.info("stopped", extra={"fields": {"state": "stopped"}})
        telemetry.flush()
    if not (left.is_set() and work.cancelled()):
        if work.cancelled():
            raise DutyEndedError(f"{service} was cancelled, and nobody had asked: it ends, to be started anew")
        work.result()
    if told.is_set():
        last_resort.leave(service)


def _keep_others_out() -> None:
    """Keep what this process writes (ledger, spool, evidence, keys) for its user and group."""
    os.umask(os.umask(_NOT_FOR_OTHERS) | _NOT_FOR_OTHERS)


def _ready_file() -> Path | None:
    named = os.environ.get(READY_FILE)
    return Path(named) if named else None


async def _keep_fresh(file: Path | None) -> None:
    """Touch the file for as long as the loop turns, once `ready` has made it, and note that it does."""
    while True:
        STATE.beat()
        await asyncio.sleep(_BEAT_S)
        if file is not None:
            _touch_existing(file)


def _touch_existing(file: Path) -> None:
    # Open without creating: after the service has stopped, the file must not come back.
    with contextlib.suppress(OSError):
        os.utime(file)
