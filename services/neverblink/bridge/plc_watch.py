"""Watches the PLC itself: whether its program runs, what it asks for, its counters, and how long certificates last."""

from collections.abc import Mapping
from datetime import datetime

from neverblink import telemetry
from neverblink.bridge.instruments import Instruments
from neverblink.bridge.profile import Look

PLC_HEARTBEAT_S = 2.0
_DAY_S = 86400


class PlcWatch:
    """Takes each look at one line's PLC, and says what has changed since the one before."""

    def __init__(self, line: str, instruments: Instruments) -> None:
        self._about = {"line": line}
        self._instruments = instruments
        self._log = telemetry.logger("bridge")
        self._heartbeat: int | None = None
        self._moved = 0.0
        self._silent = False

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
