"""Watches the PLC itself: whether its program runs, what it asks for, its counters, and how long certificates last."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

from neverblink import telemetry
from neverblink.bridge.instruments import Instruments
from neverblink.bridge.profile import Look, Profile
from neverblink.plc.epochs import SETTLE_S, EpochWatch
from neverblink.plc.errors import EpochError

PLC_HEARTBEAT_S = 2.0
_DAY_S = 86400


class PlcWatch:
    """Takes each look at one line's PLC, and says what has changed since the one before."""

    def __init__(self, line: str, instruments: Instruments) -> None:
        self._about = {"line": line}
        self._instruments = instruments
        self._log = telemetry.logger("bridge")
        self._epochs = EpochWatch()
        self._refused_since: float | None = None
        self._heartbeat: int | None = None
        self._moved = 0.0
        self._silent = False

    def has_seen(self, epoch: int, number: int) -> None:
        """Take that another bridge has told this part: what its PLC counts from now on must follow it."""
        self._epochs.seen(epoch, number)

    async def ask(self, table: Profile, clock: Callable[[], float]) -> Look:
        """Return what the PLC says. Raises EpochError where it counts anew in an epoch that was seen."""
        look = await table.look(clock())
        if self._epochs.fault(look.view.epoch, look.view.last_triggered) is not None:
            # Both are read one after the other, while the PLC may be between them.
            await asyncio.sleep(SETTLE_S)
            look = await table.look(clock())
            if (why := self._epochs.fault(look.view.epoch, look.view.last_triggered)) is not None:
                self._refused_since = self._refused_since or clock()
                raise EpochError(why)
        self._refused_since = None
        return look

    def refuses(self, captured: float) -> bool:
        """Say whether a part of that instant is of a count that is refused: it is called as an earlier one was."""
        return self._refused_since is not None and captured > self._refused_since

    def look(self, look: Look, before: Look | None, expiries: Mapping[str, datetime], now: float) -> None:
        """Take one look; `before` is the last one of the same session, `expiries` when its certificates end."""
        self._watch_heartbeat(look.plc_heartbeat, now)
        if before is not None and look.stop_request != before.stop_request:
            text = "the PLC asks for a stop" if look.stop_request else "the PLC's stop was reset"
            self._log.warning(text, extra={"fields": {**self._about, **look.counters}})
        for name, value in look.counters.items():
            self._instruments.plc_counter.set(value, {**self._about, "counter": name})
        for which, end in expiries.items():
            left = (end.timestamp() - now) / _DAY_S
            self._instruments.certificate_left.set(left, {**self._about, "certificate": which})

    def _watch_heartbeat(self, value: int, now: float) -> None:
        if value != self._heartbeat:
            if self._silent:
                self._log.info("the PLC's program runs again", extra={"fields": self._about})
            self._heartbeat, self._moved, self._silent = value, now, False
        elif now - self._moved > PLC_HEARTBEAT_S and not self._silent:
            self._silent = True
            self._log.error(
                f"PlcHb has not moved for {PLC_HEARTBEAT_S:g} s: the server answers and the PLC's program "
                "does not run; the gate cannot be trusted",
                extra={"fields": self._about},
            )
