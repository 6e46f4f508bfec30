"""What becomes of reference parts is told, each once: one that passes, is not scored, or does not come."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.events import Alarm, ArtifactRef, Challenge, Decision, Times, Tracking, Verdict
from neverblink.events.alarm import CLEARED, RAISED
from neverblink.events.identity import verdict_id
from neverblink.ledger.challenges.book import ChallengeBook
from neverblink.ledger.challenges.findings import Situation, findings
from neverblink.ledger.challenges.owed import Owed
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, Plant, parse_plant
from neverblink.plant.references import References
from neverblink.records.database import Database
from neverblink.records.questions.alarms import KnownAlarm, alarms
from neverblink.records.questions.challenges import ChallengePart
from neverblink.records.questions.review_queue import QueueFilter, waiting

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ARTIFACT = ArtifactRef(name="pcb", version="3", digest="sha256:" + "a" * 64)
REFERENCES = References.model_validate(
    {
        "references": [
            {"id": "scratch-07", "product": "pcb", "answer": "scratch"},
            {"id": "good-01", "product": "pcb", "answer": "good"},
        ]
    }
)
PROOF = """
proof:
  challenges:
    grace_s: 10
    schedule:
      - {line: line-1, references: [scratch-07], shifts: ["06:00"], within_min: 60}
"""


def plant_of(proof: str = "proof: {challenges: {grace_s: 10}}") -> Plant:
    return parse_plant(f"{EXAMPLE}\n{proof}\n")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def verdict(number: int, seconds: float, decision: Decision, reference: str | None, **more: Any) -> Verdict:
    """Build the verdict of a part that had two seconds from its trigger to the gate."""
    scored = decision is not Decision.UNSCORED
    station = more.get("station", "top")
    fields: dict[str, Any] = {
        "id": verdict_id(f"{station}-{number}"),
        "frame_id": f"{station}-{number}",
        "line": "line-1",
        "station": station,
        "product": "pcb",
        "part": f"line-1/1/{number}",
        "seq": number,
        "tracking": Tracking(epoch=1, number=number),
        "decision": decision,
        "reason": {Decision.REJECT: "anomaly", Decision.UNSCORED: "late"}.get(decision),
        "score": 1.0 if scored else None,
        "threshold": 2.0 if scored else None,
        "ratio": 0.5 if scored else None,
        "artifact": ARTIFACT if scored else None,
        "times": Times(captured=at(seconds), emitted=at(seconds + 0.2)),
        "deadline": at(seconds + 2),
        "challenge": reference is not None,
        "reference": reference,
    }
    return Verdict(**{**fields, **more})


PASS, REJECT, UNSCORED = Decision.PASS, Decision.REJECT, Decision.UNSCORED


@dataclass
class Site:
    """A ledger's records and who watches them; a new book is a ledger that was started anew, or another one."""

    database: Database
    plant: Plant
    references: References = REFERENCES
    told: list[Alarm] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = ChallengeBook(self.database, self.plant)

    def keep(self, *events: Verdict | Challenge) -> None:
        keep(self.database, events, NOON)

    def look(self, seconds: float, *, caught_up: bool = True) -> list[tuple[str, str]]:
        """Look once, and return kind and stage of what is told for the first time."""
        found = findings(self.book.situation(self.references, at(seconds), caught_up=caught_up))
        new = self.book.add(found, at(seconds))
        self.told += new
        return [(alarm.kind, alarm.stage) for alarm in new]

    @property
    def standing(self) -> list[str]:
        with self.database.session() as session:
            return [one.kind for one in alarms(session, ["line-1"]) if one.is_open]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.plant)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    named = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    opened = Database(named or f"sqlite:///{tmp_path / 'ledger.db'}", create=True)
    yield opened
    opened.close()


@pytest.fixture
def site(database: Database) -> Site:
    return Site(database, plant_of())


def test_a_defective_reference_part_that_passes_is_an_alarm_once_its_time_is_over(site: Site) -> None:
    site.keep(verdict(1, 0, PASS, None), verdict(2, 10, PASS, "scratch-07"))
    assert site.look(21.9) == []
    assert site.look(22) == [("challenge-missed", "raised")]
    assert site.look(30) == []
    (alarm,) = site.told
    assert (alarm.since, alarm.at, alarm.severity) == (at(10), at(12), "act")
    assert alarm.subject == {
        "reference": "scratch-07", "part": "line-1/1/2", "decision": "pass", "ratio": "0.5", "artifact": "pcb 3",
    }  # fmt: skip
    assert alarm.what.startswith("reference part scratch-07 (scratch) passed line-1 (line-1/1/2")


def test_an_alarm_stands_until_the_same_reference_part_is_caught(site: Site) -> None:
    site.keep(verdict(2, 10, PASS, "scratch-07"), verdict(3, 20, REJECT, "dent-02"))
    site.look(100)
    site.keep(verdict(4, 200, PASS, "scratch-07"))
    assert site.look(300) == []
    site.keep(verdict(5, 400, REJECT, "scratch-07"))
    assert site.look(401) == [("challenge-missed", "cleared")]
    site.keep(verdict(6, 500, PASS, "scratch-07"))
    assert site.look(600) == [("challenge-missed", "raised")]
    assert len({alarm.alarm for alarm in site.told if alarm.kind == "challenge-missed"}) == 2


def test_a_part_is_caught_when_one_of_its_stations_rejects_it(site: Site) -> None:
    site.keep(verdict(2, 10, PASS, "scratch-07"), verdict(2, 10, REJECT, "scratch-07", station="bottom"))
    assert site.look(100) == []


def test_a_good_reference_part_that_is_rejected_is_told_and_waits_for_no_reviewer_when_it_passes(site: Site) -> None:
    site.book.note_references(REFERENCES, NOON)
    site.keep(verdict(2, 10, REJECT, "good-01"))
    assert site.look(10) == [("challenge-missed", "raised")]
    assert "good-01, which is good, was rejected on line-1" in site.told[0].what
    site.keep(verdict(3, 20, PASS, "good-01"), verdict(4, 30, PASS, "scratch-07"))
    assert site.look(32) == [("challenge-missed", "cleared")]
    with site.database.session() as session:
        page = waiting(session, QueueFilter(since=NOON), 10, NOON)
    assert [(row.judged.part, row.severity.word) for row in page.rows] == [("line-1/1/4", "challenge-miss")]


def test_a_reference_part_that_is_not_scored_has_proved_nothing(site: Site) -> None:
    site.keep(verdict(2, 10, UNSCORED, "scratch-07"))
    assert site.look(100) == [("challenge-unscored", "raised")]
    site.keep(verdict(3, 200, REJECT, "scratch-07"))
    assert site.look(300) == [("challenge-unscored", "cleared")]


def test_a_reference_part_that_nobody_has_described_is_told_until_it_is(site: Site) -> None:
    site.keep(verdict(2, 10, PASS, "dent-02"))
    assert site.look(100) == [("challenge-unknown", "raised")]
    site.references = References.model_validate(
        {"references": [{"id": "dent-02", "product": "pcb", "answer": ["dent"]}]}
    )
    assert site.look(110) == [("challenge-unknown", "cleared"), ("challenge-missed", "raised")]


def announced(seconds: float = 0, until: float = 600, number: int | None = None) -> Challenge:
    return Challenge(
        id=f"c-{seconds}", line="line-1", reference="scratch-07", by="mes", at=at(seconds), expires=at(until),
        epoch=None if number is None else 1, number=number,
    )  # fmt: skip


def test_an_announced_reference_part_that_does_not_come_in_time_is_an_alarm_until_it_comes(site: Site) -> None:
    site.keep(announced(), verdict(1, 10, PASS, None), verdict(2, 20, PASS, "good-01"))
    assert site.look(609) == []
    assert site.look(610) == [("challenge-absent", "raised")]
    assert "did not come to line-1 between 2026-03-02 12:00:00 and 12:10:00 UTC: mes announced it" in site.told[-1].what
    site.keep(verdict(3, 700, REJECT, "scratch-07"))
    assert site.look(701) == [("challenge-absent", "cleared")]


def test_nothing_is_said_to_be_missing_while_the_ledger_is_behind(site: Site) -> None:
    site.keep(announced())
    assert site.look(700, caught_up=False) == []
    site.keep(verdict(2, 20, REJECT, "scratch-07"))
    assert site.look(800) == []


def test_a_verdict_that_arrives_late_takes_its_alarm_back(site: Site) -> None:
    site.keep(announced(number=7))
    assert site.look(700) == [("challenge-absent", "raised")]
    site.keep(verdict(7, 20, REJECT, "scratch-07"))
    assert site.look(800) == [("challenge-absent", "cleared")]


def test_a_part_of_the_announced_number_is_in_time_and_no_other(site: Site) -> None:
    site.keep(announced(number=7), verdict(6, 20, REJECT, "scratch-07"))
    assert site.look(700) == [("challenge-absent", "raised")]


SHIFT = datetime(2026, 3, 3, 6, 0, tzinfo=UTC) - NOON


def test_a_scheduled_reference_part_must_come_within_its_time_of_each_shift(database: Database) -> None:
    site, begins = Site(database, plant_of(PROOF)), SHIFT.total_seconds()
    assert site.look(0) == []
    parts = [verdict(n, begins + 600 * n, PASS, None) for n in range(1, 7)]
    site.keep(*parts)
    assert site.look(begins + 3900) == []  # the line's first part came ten minutes into the shift
    site.keep(verdict(7, begins + 4200, PASS, None))
    assert site.look(begins + 4209) == []
    assert site.look(begins + 4210) == [("challenge-absent", "raised")]
    assert "each shift 06:00 wants it within 60 min of its first part" in site.told[0].what
    site.keep(verdict(8, begins + 4500, REJECT, "scratch-07"))
    assert site.look(begins + 4501) == [("challenge-absent", "cleared")]
    assert site.look(begins + 20000) == []


def test_a_line_that_stands_owes_nothing_and_a_schedule_asks_nothing_of_what_was_before_it(database: Database) -> None:
    begins = SHIFT.total_seconds()
    site = Site(database, plant_of(PROOF))
    site.look(0)
    site.keep(verdict(1, begins + 60, PASS, None), verdict(2, begins + 1200, PASS, None))
    assert site.look(begins + 9000) == []
    before = Site(database, plant_of(PROOF.replace("scratch-07", "good-01")))
    site.keep(verdict(3, begins + 9000, PASS, None))
    assert before.look(begins + 9100) == []
    assert before.look(begins + 9200) == []


def test_a_second_ledger_and_one_that_was_started_anew_tell_nothing_twice(site: Site) -> None:
    site.keep(announced(), verdict(2, 1000, PASS, "scratch-07"))
    other = Site(site.database, site.plant)
    assert site.look(1100) == [
        ("challenge-missed", "raised"),
        ("challenge-absent", "raised"),
        ("challenge-absent", "cleared"),
    ]
    assert other.look(1101) == []
    assert other.look(1102) == []
    assert other.standing == ["challenge-missed"]


def test_what_a_killed_ledger_has_found_and_not_sent_is_sent_by_another(site: Site) -> None:
    site.keep(verdict(2, 10, PASS, "scratch-07"))
    site.look(100)
    (alarm,) = site.told
    other = ChallengeBook(site.database, site.plant)
    assert other.unsent(at(99), frozenset()) == []
    assert other.unsent(at(131), frozenset()) == [alarm]
    other.sent(alarm.id, at(132))
    assert site.book.unsent(at(999), {alarm.id}) == []


# Whatever happens in whatever order of looks


def came(place: int, decision: str, reference: str = "scratch-07") -> ChallengePart:
    return ChallengePart(
        part_id=place, line="line-1", product="pcb", reference=reference, part=f"line-1/1/{place}", epoch=1,
        number=place, triggered=at(100 * place), decision=decision, reason=None, ratio=None, artifact=None, defects=(),
        settles=at(100 * place + 2), verdict=f"v-{place}",
    )  # fmt: skip


def as_known(told: Sequence[Alarm]) -> list[KnownAlarm]:
    """Return what the records have of alarms that were told."""
    ends = {alarm.alarm: alarm for alarm in told if alarm.stage == CLEARED}
    found = []
    for alarm in (one for one in told if one.stage == RAISED):
        end = ends.get(alarm.alarm)
        last = end or alarm
        found.append(
            KnownAlarm(
                alarm.alarm, alarm.line, None, alarm.kind, alarm.severity, alarm.since, alarm.at,
                None if end is None else end.at, dict(last.subject), last.what, last.cause, last.next_step,
            )
        )  # fmt: skip
    return found


def all_told(situation: Situation, looks: Sequence[float]) -> list[Alarm]:
    """Look at these instants, each time until nothing is new, and return what was told."""
    told: list[Alarm] = []
    for seconds in looks:
        while True:
            now = at(seconds)
            seen = [part for part in situation.parts if part.triggered <= now]
            found = findings(replace(situation, parts=seen, alarms=as_known(told), now=now))
            new = [alarm for alarm in found if alarm.id not in {one.id for one in told}]
            if not new:
                break
            told += new
    return told


@given(
    st.lists(st.sampled_from(["pass", "reject", "unscored"]), max_size=12),
    st.lists(st.integers(0, 1300), max_size=6).map(sorted),
    st.sampled_from(["scratch-07", "good-01"]),
)
def test_the_same_alarms_are_told_whenever_one_looks(decisions: list[str], looks: list[int], reference: str) -> None:
    parts = [came(place, decision, reference) for place, decision in enumerate(decisions, start=1)]
    owed = [Owed("line-1", reference, at(150), at(250), "mes announced it", "c-1")]
    situation = Situation(REFERENCES, parts, owed, [], NOON, timedelta(seconds=10), caught_up=True)
    once = all_told(situation, [2000])
    often = all_told(situation, [*looks, 2000])
    as_told: Callable[[list[Alarm]], set[tuple[str, str, datetime]]] = lambda told: {  # noqa: E731
        (alarm.alarm, alarm.stage, alarm.at) for alarm in told
    }
    assert as_told(once) == as_told(often)
    bad = "reject" if reference == "good-01" else "pass"
    scored = [decision for decision in decisions if decision != "unscored"]
    stands = any(one.is_open and one.kind == "challenge-missed" for one in as_known(once))
    assert stands == (scored[-1:] == [bad])
