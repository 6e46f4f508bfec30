"""Which counts a question adds up."""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement

from neverblink.records.part_tables import RollupRow, WordRollupRow

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RollupFilter:
    """What the counted parts have in common; what is None is not asked for.

    Counts are kept by the hour (UTC): `since` (included) goes down to its hour, `until` (excluded) up to the next one.
    Without `station` parts are counted as wholes, with it the verdicts of that station.
    """

    lines: tuple[str, ...] | None = None
    station: str | None = None
    product: str | None = None
    lot: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    shift: str | None = None

    def within(self, scope: tuple[str, ...] | None) -> "RollupFilter":
        """Return the filter for someone who may see the lines of `scope` alone."""
        if scope is None:
            return self
        return replace(self, lines=scope if self.lines is None else tuple(one for one in self.lines if one in scope))

    def of_parts(self) -> "RollupFilter":
        """Return the filter that counts parts as wholes."""
        return replace(self, station=None)

    def in_hours(self) -> "RollupFilter":
        """Return the filter with its span widened to whole hours: what is in fact counted."""
        since = None if self.since is None else _hour_of(self.since)
        until = None if self.until is None else _hour_of(self.until)
        if self.until is not None and until is not None and until < self.until:
            until += HOUR
        return replace(self, since=since, until=until)

    def asked(self) -> dict[str, Any]:
        """Return what is asked for, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def conditions(
        self, table: type[RollupRow] | type[WordRollupRow], *, of_stations: bool = False
    ) -> list[ColumnElement[bool]]:
        """Return what the rows of a table of counts must fulfil; `of_stations` takes every station's own rows."""
        span = self.in_hours()
        found: list[ColumnElement[bool]] = []
        if self.station is not None:
            found.append(table.station == self.station)
        else:
            found.append(table.station != "" if of_stations else table.station == "")
        if self.lines is not None:
            found.append(table.line == self.lines[0] if len(self.lines) == 1 else table.line.in_(self.lines))
        if self.product is not None:
            found.append(table.product == self.product)
        if self.lot is not None:
            found.append(table.lot == self.lot)
        if self.shift is not None:
            found.append(table.shift == self.shift)
        if span.since is not None:
            found.append(table.hour >= span.since)
        if span.until is not None:
            found.append(table.hour < span.until)
        return found


def _hour_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
