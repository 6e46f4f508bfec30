"""What stands now, from all who can know: services' own alarms and alerts, the lines' events, the console itself."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.orm import Session

from neverblink.console.alarms.condition import Condition, Origin, own
from neverblink.console.alarms.kinds import priority_of
from neverblink.console.line.board import Amiss
from neverblink.kafka.trouble import Trouble
from neverblink.records.questions.alarms import KnownAlarm, alarms
from neverblink.records.questions.drift_alerts import KnownAlert, drift_alerts

SEVERAL: Final = 3
"""So many parts of one kind within five minutes are an alarm, which stands until there is none any more."""

PATIENCE_S: Final = 10.0
"""What is away for less is not told of: a broker that moves, a database that is busy."""

_ABOUT: Final = ("reference", "signal", "product")
"""What of an alarm's subject tells it from others of its kind at the same place."""


def from_records(session: Session, lines: Collection[str], cleared_since: datetime) -> list[Condition]:
    """Return what services have raised of these lines and is open, or has ended since then."""
    told = [_of_alarm(one) for one in alarms(session, lines, cleared_since=cleared_since)]
    return told + [_of_alert(one) for one in drift_alerts(session, lines, cleared_since=cleared_since)]


@dataclass(slots=True)
class LinesAmiss:
    """Turns what a line's events show into conditions that do not flicker: raised at SEVERAL, gone at none."""

    _standing: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def conditions(self, amiss: Mapping[str, Amiss], now: datetime) -> Iterator[Condition]:
        """Yield what stands of each line."""
        for line, found in amiss.items():
            counts = {
                "let-by": found.escaped * SEVERAL,  # one is one too many
                "gate-amiss": found.not_gated,
                "not-told": found.not_told,
                "no-picture": found.no_picture,
                "no-score": found.no_score,
            }
            for kind, count in counts.items():
                if count >= SEVERAL:
                    self._standing.setdefault((line, kind), now)
                elif not count:
                    self._standing.pop((line, kind), None)
                since = self._standing.get((line, kind))
                if since is not None:
                    yield own(Origin.LINES, kind, since, {"line": line}, line=line)


def of_the_console(kafka: Trouble | None, records: Trouble | None, now: datetime) -> Iterator[Condition]:
    """Yield what the console cannot do."""
    for kind, trouble in (("kafka-away", kafka), ("records-away", records)):
        if trouble is not None and now.timestamp() - trouble.since >= PATIENCE_S:
            yield own(Origin.CONSOLE, kind, datetime.fromtimestamp(trouble.since, UTC), {})


def _of_alarm(one: KnownAlarm) -> Condition:
    return Condition(
        origin=Origin.RECORDS,
        kind=one.kind,
        line=one.line,
        station=one.station,
        about=next((one.subject[name] for name in _ABOUT if name in one.subject), ""),
        cause=one.alarm,
        priority=priority_of(one.kind, one.severity),
        since=one.since,
        what=one.what,
        why=one.cause,
        next_step=one.next_step,
        ended=one.cleared,
    )


def _of_alert(one: KnownAlert) -> Condition:
    return Condition(
        origin=Origin.RECORDS,
        kind="drift",
        line=one.line,
        station=one.station,
        about=one.signal,
        cause=f"drift:{one.alert}",
        priority=priority_of("drift", one.severity),
        since=one.since,
        what=one.change,
        why=one.cause,
        next_step=one.next_step,
        ended=one.cleared,
    )
