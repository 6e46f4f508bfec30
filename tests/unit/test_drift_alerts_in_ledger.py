"""The ledger keeps each stage of an alert once, and answers for a line and since a time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from neverblink.events import AlertStage, DriftReport, DriftState
from neverblink.events.examples import examples
from neverblink.ledger.writing import keep
from neverblink.records.database import Database
from neverblink.records.questions import ledger_figures as queries

REPORT = next(event for event in examples() if isinstance(event, DriftReport))
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def later(name: str, stage: AlertStage) -> DriftReport:
    """A later report about the same alert."""
    at = REPORT.alerts[0].at + timedelta(hours=1)
    alert = REPORT.alerts[0].model_copy(update={"stage": stage, "at": at, "severity": DriftState.ACT})
    return REPORT.model_copy(update={"id": name, "alerts": (alert,)})


def test_each_stage_of_an_alert_is_kept_once_and_found(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    escalated = later("r2", AlertStage.ESCALATED)
    keep(database, [REPORT, escalated], NOW)
    # A report that is told again, and the same stage in another one, as after a crash.
    keep(database, [REPORT, escalated, later("r3", AlertStage.ESCALATED)], NOW)
    with database.session() as session:
        found = queries.drift_alerts(session)
        assert [(row.id, row.stage, row.severity) for row in found] == [
            (REPORT.alerts[0].id, "raised", "watch"),
            (REPORT.alerts[0].id, "escalated", "act"),
        ]
        assert found[0].next_step == REPORT.alerts[0].next_step
        assert [row.stage for row in queries.drift_alerts(session, found[1].at)] == ["escalated"]
        assert queries.drift_alerts(session, line="line-9") == []
    database.close()
