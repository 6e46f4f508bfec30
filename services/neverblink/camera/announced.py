"""Which part of a station is which reference part, by what was announced. Pure."""

from datetime import datetime, timedelta

from neverblink.events import Challenge, Tracking

# A part that the PLC names is that part whenever it comes: late ones are still not of production.
_KEPT = timedelta(hours=12)
MOST = 256
"""Announcements in hand of one station; of more, those that expire first are forgotten."""


class Announced:
    """What was announced to one station, and which part each of it was.

    `began` is when the station began to look at parts: what was to come before it has gone by unseen.
    """

    def __init__(self, station: str, began: datetime) -> None:
        self._station = station
        self._last = began
        self._waiting: dict[str, Challenge] = {}

    def take(self, challenge: Challenge) -> str | None:
        """Take an announcement; returns why it names no part of this station any more, None when it may."""
        if challenge.station not in (None, self._station) or _is_over(challenge, self._last):
            return None
        if challenge.tracking is None and challenge.at <= self._last:
            return (
                f"reference part {challenge.reference} was announced as the next part from {challenge.at:%H:%M:%S} UTC"
                " on, and that part has gone by before this node heard of it"
            )
        self._waiting.setdefault(challenge.id, challenge)
        if len(self._waiting) > MOST:
            del self._waiting[min(self._waiting, key=lambda name: self._waiting[name].expires)]
        return None

    def of(self, at: datetime, tracking: Tracking | None) -> str | None:
        """Return the reference part that a part is which was triggered then, None for every other part.

        Parts come in the order of their triggers, each once. One that was announced as the next part is the first.
        """
        self._last = max(self._last, at)
        for name in [name for name, one in self._waiting.items() if _is_over(one, at)]:
            del self._waiting[name]
        found = [one for one in self._waiting.values() if tracking is not None and one.tracking == tracking]
        if not found:
            found = [one for one in self._waiting.values() if one.tracking is None and one.at <= at <= one.expires]
        if not found:
            return None
        first = min(found, key=lambda one: (one.at, one.id))
        del self._waiting[first.id]
        return first.reference


def _is_over(challenge: Challenge, now: datetime) -> bool:
    return now > challenge.expires + (timedelta() if challenge.tracking is None else _KEPT)
