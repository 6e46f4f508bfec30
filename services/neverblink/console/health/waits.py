"""What waits for whom, in sentences: only what is known, and since when. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from neverblink.console.health.services import Seen
from neverblink.console.language import N_
from neverblink.events.service_report import Amiss
from neverblink.kafka.trouble import Trouble

BEHIND_S: Final = 5.0
"""The records are behind by less while all is well."""

_CLOCK_S: Final = 2.0
"""A host's clock that differs by more is told of: deadlines and times of parts are by these clocks."""


@dataclass(frozen=True, slots=True)
class Wait:
    """`sentence` has `%(name)s` places for `values`; `urgent` where parts are rejected for it."""

    sentence: str
    values: Mapping[str, object] = field(default_factory=dict)
    since: datetime | None = None
    urgent: bool = False

    def in_words(self, gettext: Callable[[str], str]) -> str:
        """Return the sentence in a language."""
        return gettext(self.sentence) % self.values


def waits_of(
    services: Sequence[Seen],
    *,
    kafka: Trouble | None,
    records: Trouble | None,
    reviewers: int | None,
    more: bool,
    job: str | None,
) -> list[Wait]:
    """Return what is known to wait, what costs parts first. `more`: at least so many wait for reviewers."""
    found = [*_of_the_console(kafka, records), *_of_services(services)]
    if reviewers:
        sentence = N_("At least %(count)s parts wait for a reviewer.") if more else N_("%(count)s wait for a reviewer.")
        found.append(Wait(sentence, {"count": reviewers}))
    if job is not None:
        found.append(
            Wait(N_("The job %(job)s runs on the console's machine; another one waits for its end."), {"job": job})
        )
    return sorted(found, key=lambda one: not one.urgent)


def seen_parts(seen: Seen, lines: Sequence[str], sees: Callable[[str], bool]) -> tuple[Amiss, ...]:
    """Return what is amiss of a service that somebody may know of: parts of other lines are left out."""
    hidden = {line for line in lines if not sees(line)}
    return tuple(one for one in seen.report.amiss if one.part.partition("/")[0] not in hidden)


def _of_the_console(kafka: Trouble | None, records: Trouble | None) -> Iterator[Wait]:
    if kafka is not None:
        yield Wait(N_("The console waits for Kafka."), since=datetime.fromtimestamp(kafka.since, UTC), urgent=True)
    if records is not None:
        yield Wait(N_("The console waits for the records."), since=datetime.fromtimestamp(records.since, UTC))


def _of_services(services: Sequence[Seen]) -> Iterator[Wait]:
    for seen in services:
        report = seen.report
        values = {"service": report.service, "host": report.host}
        if seen.state == "silent":
            yield Wait(
                N_("Everybody waits for %(service)s on %(host)s: it is silent."), values, seen.heard, urgent=True
            )
        behind_s = report.behind_s
        if behind_s is not None and behind_s >= BEHIND_S and seen.state in ("works", "partly"):
            yield Wait(N_("The %(service)s on %(host)s is %(seconds)s s behind what has happened."), {
                **values, "seconds": f"{behind_s:.0f}",
            })  # fmt: skip
        if seen.ahead_s is not None and abs(seen.ahead_s) >= _CLOCK_S and seen.state in ("works", "partly"):
            sentence = (
                N_("The clock of %(host)s is %(seconds)s s ahead of the console's.")
                if seen.ahead_s > 0
                else N_("The clock of %(host)s is %(seconds)s s behind the console's.")
            )
            yield Wait(sentence, {"host": report.host, "seconds": f"{abs(seen.ahead_s):.0f}"})
