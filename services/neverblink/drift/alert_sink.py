"""Where an alert goes besides the topic: a log line, a counter, and the webhook when there is one."""

from typing import Any

from neverblink import telemetry
from neverblink.alarms.webhook import Webhook
from neverblink.drift.instruments import Instruments
from neverblink.events import AlertStage, DriftAlert, DriftReport


class AlertSink:
    """Tells what reports carry. After a crash an alert may be told once more, with the same id."""

    def __init__(self, measured: Instruments, webhook: Webhook | None = None) -> None:
        self._measured = measured
        self._webhook = webhook
        self._log = telemetry.logger("drift")

    def tell(self, report: DriftReport) -> None:
        """Tell each alert of a report; never waits."""
        for alert in report.alerts:
            place = {"line": report.line, "station": report.station}
            what = {"signal": alert.signal, "stage": alert.stage, "severity": alert.severity}
            self._measured.alerts.add(1, {**place, **what})
            say = self._log.info if alert.stage is AlertStage.CLEARED else self._log.warning
            say(
                f"drift of {report.line}/{report.station} {alert.stage}: {alert.change}. Likely {alert.cause}."
                f" Next: {alert.next_step}",
                extra={"fields": {**place, "product": report.product, "alert": alert.id, "signal": alert.signal}},
            )
            if self._webhook is not None:
                self._webhook.post(as_posted(report, alert))


def as_posted(report: DriftReport, alert: DriftAlert) -> dict[str, Any]:
    """Return what a webhook is given of an alert."""
    place = {"line": report.line, "station": report.station, "product": report.product, "report": report.id}
    return {**place, **alert.model_dump(mode="json")}
