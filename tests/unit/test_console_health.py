"""How services do, from what they tell and from their silence; what is not known is said to be not known."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from console_desk import Browser, Console, plant_in
from hypothesis import given, settings
from hypothesis import strategies as st
from kept_parts import NOON

from neverblink.console.access.roles import Role
from neverblink.console.alarms.state import Priority
from neverblink.console.health.services import FORGOTTEN, Services
from neverblink.console.health.waits import waits_of
from neverblink.events import ServiceReport
from neverblink.kafka.trouble import Trouble
from neverblink.plant.belongings import NotACertificateError, certificates_of, end_of, spaces_of
from rigs.application_certificates import certificate

pytestmark = pytest.mark.usefixtures("quick_hashing")
EVIL = "<script>alert(1)</script>"


def report(at: datetime = NOON, **other: Any) -> ServiceReport:
    """Return what a scorer tells that works; others as told."""
    values: dict[str, Any] = {
        "id": f"r-{at.isoformat()}", "service": "scorer", "host": "box-1", "instance": "", "version": "1.0",
        "started": NOON - timedelta(hours=1), "at": at, "every_s": 10, "state": "works",
    }  # fmt: skip
    return ServiceReport.model_validate({**values, **other})


class Clock:
    """An instant that tests move."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def later(self, services: Services, seconds: float) -> None:
        """Move on while the topic goes on being read, and nothing comes."""
        for _ in range(int(seconds)):
            self.now += timedelta(seconds=1)
            services.take([])


def heard(*reports: ServiceReport) -> tuple[Services, Clock]:
    clock = Clock()
    services = Services(clock)
    services.take([])
    services.take([(one.key, one) for one in reports])
    return services, clock


def kinds(services: Services, clock: Clock) -> list[str]:
    found = services.conditions(clock.now)
    assert found is not None
    return [one.kind for one in found]


def test_a_service_that_misses_four_reports_is_silent_and_one_that_said_so_has_stopped() -> None:
    services, clock = heard(report(), report(service="ledger", state="stopped"))
    clock.later(services, 44)
    assert [seen.state for seen in services.view()] == ["stopped", "works"]
    clock.later(services, 2)
    assert [seen.state for seen in services.view()] == ["stopped", "silent"]
    [condition] = services.conditions(clock.now) or []
    assert (condition.kind, condition.priority, condition.line) == ("service-silent", Priority.HIGH, None)
    assert condition.what == "Nothing is heard of scorer on box-1."
    services.take([(report().key, report(clock.now))])
    assert kinds(services, clock) == []


def test_what_lay_on_the_topic_is_as_old_as_it_says_and_a_week_later_forgotten() -> None:
    clock = Clock()
    services = Services(clock)
    assert services.conditions(clock.now) is None, "nothing is known before the topic was read"
    old = report(NOON - timedelta(hours=3))
    services.take([(old.key, old)])
    [seen] = services.view()
    assert (seen.state, seen.heard, seen.ahead_s) == ("silent", NOON - timedelta(hours=3), None)
    clock.now = NOON - timedelta(hours=3) + FORGOTTEN
    services.take([])
    assert services.view() == []


def test_while_the_topic_cannot_be_read_nobody_is_called_silent() -> None:
    services, clock = heard(report())
    clock.now += timedelta(minutes=10)
    assert services.conditions(clock.now) is None
    services.take([(report().key, report(NOON + timedelta(minutes=9, seconds=55)))])
    assert kinds(services, clock) == []


def test_a_part_that_a_service_does_not_do_is_an_alarm_with_the_line_that_it_is_for() -> None:
    amiss = [{"part": "line-1", "why": "refused"}]
    services, clock = heard(report(service="bridge", lines=["line-1"], state="partly", amiss=amiss))
    [condition] = services.conditions(clock.now) or []
    assert (condition.kind, condition.line, condition.values["parts"]) == ("service-amiss", "line-1", "line-1")


def test_a_disk_is_an_alarm_below_a_tenth_and_stays_one_until_it_has_some_more() -> None:
    def disk(share: float, at: datetime) -> ServiceReport:
        space = {"folder": "/data", "free_bytes": int(share * 1000), "total_bytes": 1000}
        return report(at, disks=[space])

    services, clock = heard(disk(0.2, NOON))
    for share, expected in ((0.2, []), (0.09, ["disk-full"]), (0.11, ["disk-full"]), (0.13, []), (0.11, [])):
        clock.now += timedelta(seconds=10)
        services.take([(report().key, disk(share, clock.now))])
        assert kinds(services, clock) == expected, share
    services.take([(report().key, disk(0.01, clock.now + timedelta(seconds=1)))])
    assert [one.priority for one in services.conditions(clock.now) or []] == [Priority.HIGH]


@pytest.mark.parametrize(
    ("days", "expected"), [(60, []), (29, [Priority.LOW]), (6, [Priority.HIGH]), (-1, [Priority.HIGH])]
)
def test_a_certificate_is_an_alarm_a_month_before_its_end(days: int, expected: list[Priority]) -> None:
    end = {"what": "console", "ends": NOON + timedelta(days=days)}
    services, clock = heard(report(certificates=[end]), report(service="ledger", certificates=[end]))
    assert [one.priority for one in services.conditions(clock.now) or []] == expected, "of each certificate one"


@pytest.mark.parametrize("pem", [True, False])
def test_the_end_of_a_certificate_is_read_from_its_file(tmp_path: Path, pem: bool) -> None:
    file, _ = certificate(tmp_path, "console", valid_to=timedelta(days=90), pem=pem)
    left = end_of(file.read_bytes()) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_what_is_no_certificate_is_refused_and_nothing_else_happens(content: bytes, pem: bool) -> None:
    begin, end = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"
    with pytest.raises(NotACertificateError):
        end_of(begin + content + end if pem else content)


def test_a_service_tells_of_its_own_disks_and_of_certificates_that_can_be_read(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "console", pem=True)
    plant = plant_in(tmp_path, cert_file=cert, key_file=key)
    assert list(certificates_of(plant, "console")) == ["console"]
    assert certificates_of(plant, "camera") == {}
    [space] = spaces_of(plant, "camera")
    assert 0 < space.free_bytes <= space.total_bytes
    cert.write_text("nonsense")
    assert certificates_of(plant, "console") == {}


def test_what_waits_is_said_with_since_when_and_what_costs_parts_first() -> None:
    services, clock = heard(report(), report(service="ledger", behind_s=12.4))
    clock.later(services, 50)
    late = report(clock.now + timedelta(seconds=3), service="ledger", behind_s=12.4)
    services.take([(late.key, late)])
    waits = waits_of(
        services.view(), kafka=None, records=Trouble("away", NOON.timestamp()), reviewers=2000, more=True, job="fit"
    )
    assert [one.in_words(str) for one in waits] == [
        "Everybody waits for scorer on box-1: it is silent.",
        "The console waits for the records.",
        "The ledger on box-1 is 12 s behind what has happened.",
        "The clock of box-1 is 3 s ahead of the console's.",
        "At least 2000 parts wait for a reviewer.",
        "The job fit runs on the console's machine; another one waits for its end.",
    ]


async def viewer(console: Console, *lines: str) -> Browser:
    console.account("ann", Role.VIEWER, lines or ("*",))
    browser = console.browser()
    await browser.sign_in("ann")
    return browser


async def test_the_page_says_what_is_not_known(console: Console) -> None:
    page = (await (await viewer(console)).get("/health")).text
    for said in (
        "Nothing is known of them yet.", "Not known: no service has told of a disk.",
        "Not known: no service has told of a certificate.", "How many parts wait for reviewers is not known now.",
    ):  # fmt: skip
        assert said in page, said


async def test_the_page_shows_services_disks_and_certificates_of_ones_own_lines_as_text(console: Console) -> None:
    end = {"what": "Kafka client", "ends": console.now + timedelta(days=3)}
    disk = {"folder": "/data", "free_bytes": 5 * 2**30, "total_bytes": 100 * 2**30}
    amiss = [{"part": "line-1", "why": EVIL}, {"part": "line-9/top", "why": "also"}]
    own = report(console.now, host="box-7", lines=["line-1"], state="partly", amiss=amiss, disks=[disk],
                 certificates=[end])  # fmt: skip
    other = report(console.now, service="camera", host="elsewhere", lines=["line-9"])
    services = console.desk.services
    services.take([])
    services.take([(one.key, one) for one in (own, other)])
    page = (await (await viewer(console, "line-1")).get("/health")).text
    for said in ("box-7", "5.0 GiB", "Kafka client", "works in part", "the console is"):
        assert said in page, said
    assert EVIL not in page
    assert "elsewhere" not in page
    assert "Seconds left before the deadline" in page
    piece = (await console.browsers[0].get("/health/now", **{"accept-language": "de"})).text
    assert "arbeitet zum Teil" in piece
    assert "<html" not in piece
