"""What was changed of a station's models, as the ledger keeps it: longer than the topic does."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from neverblink.events import Slot
from neverblink.records.part_tables import ModelChangeRow

_OF_LINE = 20
"""Changes of a line that are looked at for each that one station shows."""


@dataclass(frozen=True, slots=True)
class KeptChange:
    """The state of a station's models from an instant on; `active` None: the plant file's artifact."""

    id: str
    product: str
    active: Slot | None
    shadow: Slot | None
    by: str
    why: str | None
    at: datetime


def model_history(session: Session, line: str, station: str, limit: int = 50) -> tuple[KeptChange, ...]:
    """Return the last changes of a station's models, the newest first."""
    row = ModelChangeRow
    query = (
        select(row.id, row.product, row.active, row.shadow, row.by, row.why, row.at, row.station)
        .where(row.line == line)
        .order_by(row.at.desc(), row.id.desc())
        .limit(limit * _OF_LINE)
    )
    found = [one for one in session.execute(query) if one[7] == station][:limit]
    return tuple(
        KeptChange(id_, product, _slot(active), _slot(shadow), by, why, at)
        for id_, product, active, shadow, by, why, at, _ in found
    )


def _slot(kept: dict[str, object] | None) -> Slot | None:
    return None if kept is None else Slot.model_validate(kept)
