"""How the plant's services do, from what they tell and from their silence. Pure but for its clock."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from neverblink.console.alarms.condition import Condition, Origin, own
from neverblink.console.alarms.state import Priority
from neverblink.events import ServiceReport
from neverblink.events.service_report import STOPPED

FORGOTTEN: Final = timedelta(days=7)
"""A service that was not heard of for so long is taken for one that is no more."""

MOST: Final = 500
STALE: Final = timedelta(seconds=20)
_SPARE: Final = timedelta(seconds=5)
_MISSED: Final = 4
"""So many reports that did not come are silence: one that is started anew at once is back by then."""

NEEDED: Final = frozenset({"camera", "scorer", "bridge"})
"""Services without which parts are rejected."""

LOW_SHARE: Final = 0.10
VERY_LOW_SHARE: Final = 0.03
_ENOUGH_SHARE: Final = 0.12
ENDS_SOON: Final = timedelta(days=30)
ENDS_NOW: Final = timedelta(days=7)

State = Literal["works", "partly", "silent", "stopped"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A service: its last report, when it was heard by our clock, and how it stands now.

    `ahead_s` is by how much its host's clock is ahead of ours, None where that is not known.
    """

    report: ServiceReport
    heard: datetime
    state: State
    ahead_s: float | None

    @property
    def name(self) -> str:
        """Return what people call it: the service and its host."""
        return f"{self.report.service} on {self.report.host}"


@dataclass(frozen=True, slots=True)
class _Heard:
    report: ServiceReport
    at: datetime
    ahead_s: float | None


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Services:
    """Takes what lies on the topic, then what comes. Nothing is known before it was read once, or when it is stale."""

    clock: Callable[[], datetime] = _now
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _read: datetime | None = None
    _low: set[str] = field(default_factory=set)

    def take(self, found: Iterable[tuple[str, ServiceReport | None]]) -> None:
        """Take reports, also none: then nothing has come."""
        now = self.clock()
        first = self._read is None or now - self._read > STALE
        self._read = now
        for key, report in found:
            if report is None:
                self._heard.pop(key, None)
                continue
            known = self._heard.get(key)
            if known is not None and known.report.id == report.id:
                continue  # the topic was read anew
            if first:  # it lay there: when it was told is known by its host's clock alone
                self._heard[key] = _Heard(report, min(report.at, now), None)
            else:
                self._heard[key] = _Heard(report, now, (report.at - now).total_seconds())
        while len(self._heard) > MOST:
            del self._heard[min(self._heard, key=lambda key: self._heard[key].at)]

    @property
    def read(self) -> datetime | None:
        """Return when the topic was read last, None before the first time."""
        return self._read

    @property
    def known(self) -> bool:
        """Say whether what is shown is of now."""
        return self._read is not None and self.clock() - self._read <= STALE

    def view(self) -> list[Seen]:
        """Return all services that are not forgotten, by name."""
        now = self.clock()
        seen = [self._seen(one, now) for one in self._heard.values() if now - one.at < FORGOTTEN]
        return sorted(seen, key=lambda one: (one.report.service, one.report.host, one.report.instance))

    def conditions(self, now: datetime) -> list[Condition] | None:
        """Return what wants somebody, None while it is not known."""
        if not self.known:
            return None
        return list(self._conditions(now))

    def _seen(self, heard: _Heard, now: datetime) -> Seen:
        report = heard.report
        state: State = "partly" if report.amiss else "works"
        if report.state == STOPPED:
            state = "stopped"
        elif now - heard.at > timedelta(seconds=report.every_s * _MISSED) + _SPARE:
            state = "silent"
        return Seen(report, heard.at, state, heard.ahead_s)

    def _conditions(self, now: datetime) -> Iterator[Condition]:
        low: set[str] = set()
        for seen in self.view():
            report = seen.report
            line = report.lines[0] if len(report.lines) == 1 else None
            about = f"{report.service}@{report.host}" + (f" {report.instance}" if report.instance else "")
            values = {"service": report.service, "host": report.host}
            needed = Priority.HIGH if report.service in NEEDED else Priority.MEDIUM
            if seen.state == "silent":
                yield own(
                    Origin.SERVICES, "service-silent", seen.heard, values, line=line, about=about, priority=needed
                )
            if seen.state == "partly":
                values["parts"] = ", ".join(one.part for one in report.amiss)
                yield own(Origin.SERVICES, "service-amiss", report.at, values, line=line, about=about, priority=needed)
            if seen.state in ("works", "partly"):
                yield from self._belongings(report, now, low)
        self._low = low

    def _belongings(self, report: ServiceReport, now: datetime, low: set[str]) -> Iterator[Condition]:
        """Yield disks that fill up and certificates that end; each disk and each certificate of a host once."""
        for disk in report.disks:
            name = f"{report.host}:{disk.folder}"
            share = disk.free_bytes / disk.total_bytes if disk.total_bytes else 1.0
            if name in low or not (share < LOW_SHARE or (name in self._low and share < _ENOUGH_SHARE)):
                continue
            low.add(name)
            values = {"host": report.host, "folder": disk.folder, "percent": f"{int(share * 100)}"}
            priority = Priority.HIGH if share < VERY_LOW_SHARE else Priority.MEDIUM
            yield own(Origin.SERVICES, "disk-full", now, values, about=name, priority=priority)
        for certificate in report.certificates:
            left = certificate.ends - now
            name = f"{report.host}:{certificate.what}"
            if left > ENDS_SOON or name in low:
                continue
            low.add(name)
            values = {"host": report.host, "what": certificate.what, "day": f"{certificate.ends:%Y-%m-%d}"}
            priority = Priority.HIGH if left <= ENDS_NOW else Priority.LOW
            yield own(Origin.SERVICES, "certificate-ends", now, values, about=name, priority=priority)
