"""Which parts a question is about."""

from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, TextClause, exists, text
from sqlalchemy.orm import InstrumentedAttribute

from neverblink.events import Decision
from neverblink.records.part_tables import NOT_PASSED, PartDefectRow, PartRow
from neverblink.records.tables import VerdictRow

_EQUAL = {
    "product": PartRow.product,
    "order": PartRow.order_no,
    "lot": PartRow.lot,
    "serial": PartRow.serial,
    "carrier": PartRow.carrier,
    "decision": PartRow.decision,
    "reason": PartRow.reason,
    "judgement": PartRow.judgement,
}

_FEW = ("serial", "lot", "order", "carrier", "reason", "judgement")
"""What few parts have in common, each with an index in the order of time."""


@dataclass(frozen=True, slots=True)
class PartFilter:
    """What the parts of an answer have in common; what is None or empty is not asked for.

    `lines`: any of them; None is all, and no line at all finds nothing. `since` (included) and `until` (excluded) are
    compared with the instant at which the part was triggered. `station` finds parts of which that station has a
    verdict, `defect` those with a defect of that type at any station.
    """

    lines: tuple[str, ...] | None = None
    station: str | None = None
    product: str | None = None
    order: str | None = None
    lot: str | None = None
    serial: str | None = None
    carrier: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    decision: str | None = None
    reason: str | None = None
    defect: str | None = None
    judgement: str | None = None

    def within(self, scope: tuple[str, ...] | None) -> "PartFilter":
        """Return the filter for someone who may see the lines of `scope` alone."""
        if scope is None:
            return self
        return replace(self, lines=scope if self.lines is None else tuple(one for one in self.lines if one in scope))

    def asked(self) -> dict[str, Any]:
        """Return what is asked for by name, for people and for a cursor's mark."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def conditions(self, *, along_revisions: bool = False) -> list[ColumnElement[bool] | TextClause]:
        """Return what the rows of `parts` must fulfil, and by which of it the database is to look them up.

        A database without statistics, as SQLite is, takes the index that spares it sorting, and reads millions of rows
        of a line for the one with a serial number. So only what finds few parts may be looked up by; `along_revisions`
        nothing may. By trigger time, of the defect type's rows (`part_defects`) is asked elsewhere.
        """
        found: list[ColumnElement[bool] | TextClause] = []
        few = [name for name in _FEW if getattr(self, name) is not None]
        plain = set() if along_revisions else set(few) if few or self.defect is not None else set(_EQUAL) | {"lines"}
        if self.lines is not None:
            line = PartRow.line if "lines" in plain else _not_looked_up(PartRow.line)
            found.append(line == self.lines[0] if len(self.lines) == 1 else line.in_(self.lines))
        for name, column in _EQUAL.items():
            value = getattr(self, name)
            if value is not None:
                found.append((column if name in plain else _not_looked_up(column)) == value)
        if self.decision not in (None, Decision.PASS) and "decision" in plain:
            found.append(text(f"parts.{NOT_PASSED}"))
        triggered = PartRow.triggered if self.defect is None or along_revisions else PartDefectRow.triggered
        if self.since is not None:
            found.append(triggered >= self.since)
        if self.until is not None:
            found.append(triggered < self.until)
        if self.station is not None:
            found.append(exists().where(VerdictRow.part_id == PartRow.id, VerdictRow.station == self.station))
        if self.defect is not None and along_revisions:
            found.append(exists().where(PartDefectRow.part_id == PartRow.id, PartDefectRow.type == self.defect))
        return found


def _not_looked_up(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """Return a column's value in words that no index serves."""
    return column.op("||")("")


FILTERS = tuple(field.name for field in fields(PartFilter))
