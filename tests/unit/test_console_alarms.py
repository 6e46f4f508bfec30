"""Alarms as people meet them: found, shown, acknowledged, shelved, counted; nobody sees another line's."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from console_desk import Browser, Console
from kept_parts import NOON
from sqlalchemy import select

from neverblink.console.access.roles import Role
from neverblink.console.access.tables import AuditRow
from neverblink.console.alarms import performance
from neverblink.console.alarms.book import Happened
from neverblink.console.alarms.condition import Condition, Origin, own
from neverblink.console.alarms.gathering import LinesAmiss, from_records
from neverblink.console.alarms.performance import Call, offenders, rate_of
from neverblink.console.alarms.state import Priority, Stage, State
from neverblink.console.alarms.watching import AlarmWatch
from neverblink.console.line.board import Amiss
from neverblink.events import Alarm, AlertStage, DriftAlert, DriftReport, DriftState, Event
from neverblink.events.examples import examples
from neverblink.ledger.writing import keep
from neverblink.records.database import Database

pytestmark = pytest.mark.usefixtures("quick_hashing")
EVIL = "<script>alert(1)</script>"
WELL = Amiss(0, 0, 0, 0, 0)


def kept(console: Console, *events: Event) -> None:
    database = Database(console.plant.storage.ledger, create=True)
    keep(database, events, NOON)
    database.close()


def told(stage: str, at: datetime = NOON, **other: Any) -> Alarm:
    """Return a stage of an alarm about a reference part; others as told."""
    name = other.get("alarm", "a")
    values = {
        "id": f"{name}-{stage}", "alarm": name, "line": "line-1", "kind": "challenge-missed", "stage": stage,
        "severity": "act", "since": at, "at": at, "subject": {"reference": "r1"}, "what": "reference r1 passed",
        "cause": "the threshold", "next_step": "stop the line",
    }  # fmt: skip
    return Alarm.model_validate({**values, **other})


def drifted(stage: AlertStage, severity: DriftState, at: datetime) -> DriftReport:
    alert = DriftAlert(
        id="d1", signal="brightness", stage=stage, severity=severity, since=at, raised=NOON, at=at, artifact="none",
        expected=100.0, found=60.0, level=2.0, change="brightness fell", cause="the light", next_step="clean the lamp",
    )  # fmt: skip
    report = next(event for event in examples() if isinstance(event, DriftReport))
    changed = {"id": f"report-{stage}", "line": "line-1", "closed": at, "alerts": (alert,)}
    return report.model_copy(update=changed)


@pytest.fixture
def console(console: Console) -> Console:
    console.now = NOON + timedelta(minutes=1)
    return console


def watch_of(console: Console) -> AlarmWatch:
    return AlarmWatch(console.desk.alarms, console.access, console.feed, console.ask, lambda: console.now)


async def someone(console: Console, name: str, role: Role, *lines: str) -> Browser:
    console.account(name, role, lines or ("*",))
    browser = console.browser()
    await browser.sign_in(name)
    return browser


def numbers(page: str) -> list[int]:
    return [int(found) for found in re.findall(r'id="alarm-(\d+)"', page)]


async def test_what_a_service_raised_is_on_the_list_with_cause_consequence_and_next_step_and_in_the_bar(
    console: Console,
) -> None:
    kept(console, told("raised"))
    await watch_of(console).look()
    ann = await someone(console, "ann", Role.OPERATOR)
    page = (await ann.get("/alarms")).text
    for said in ("reference part missed", "Reference r1 passed.", "The threshold.", "Stop the line.", "urgent"):
        assert said in page, said
    assert "Defects like this one may be passing now" in page
    assert '<b class="act">1</b>' in (await ann.get("/wall")).text, "the bar of every page counts it"
    assert "r1" in (await ann.get("/alarms", **{"accept-language": "de"})).text
    assert "Referenzteil übersehen" in ann.seen


async def test_an_alarm_is_acknowledged_once_its_end_takes_it_off_the_list_and_the_audit_has_it(
    console: Console,
) -> None:
    kept(console, told("raised"))
    watch = watch_of(console)
    await watch.look()
    ann, bob = await someone(console, "ann", Role.OPERATOR), await someone(console, "bob", Role.OPERATOR)
    [number] = numbers((await ann.get("/alarms")).text)
    await bob.get("/alarms")
    assert (await ann.post(f"/alarms/{number}/acknowledge", {"rounds": "1"})).status_code == 303
    assert (await bob.post(f"/alarms/{number}/acknowledge", {"rounds": "1"})).status_code == 303, "both have seen it"
    page = (await ann.get("/alarms")).text
    assert "Acknowledged by" in page
    assert 'class="acknowledge"' not in page
    kept(console, told("cleared", NOON + timedelta(seconds=30)))
    await watch.look()
    assert console.desk.alarms.standing == ()
    history = (await ann.get(f"/alarms/{number}")).text
    assert [history.index(word) for word in ("cause gone", "acknowledged</td>", "raised</td>")] == sorted(
        history.index(word) for word in ("cause gone", "acknowledged</td>", "raised</td>")
    ), "the newest stands first"
    with console.access.reading() as connection:
        found = connection.execute(select(AuditRow.who, AuditRow.action)).all()
    assert [tuple(row) for row in found if row.action.startswith("alarm.")] == [("ann", "alarm.acknowledge")]


async def test_what_has_called_again_since_it_was_seen_is_not_acknowledged(console: Console) -> None:
    kept(console, told("raised"))
    watch = watch_of(console)
    await watch.look()
    ann = await someone(console, "ann", Role.OPERATOR)
    [number] = numbers((await ann.get("/alarms")).text)
    kept(console, told("raised", NOON + timedelta(seconds=20), alarm="b"))
    await watch.look()
    answer = await ann.post(f"/alarms/{number}/acknowledge", {"rounds": "1"})
    assert (answer.status_code, "called again" in answer.text) == (422, True)
    answer = await ann.post(f"/alarms/{number}/acknowledge", {"rounds": "1"}, **{"hx-request": "true"})
    assert (answer.status_code, "called again" in answer.text, "<html" in answer.text) == (200, True, False)
    assert [one.state for one in console.desk.alarms.standing] == [State.UNACKNOWLEDGED]


async def test_a_shelved_alarm_calls_nobody_until_its_end_and_then_anew(console: Console) -> None:
    kept(console, told("raised"))
    happened: list[Happened] = []
    console.desk.alarms.tell = happened.append
    watch = watch_of(console)
    await watch.look()
    ann = await someone(console, "ann", Role.OPERATOR)
    [number] = numbers((await ann.get("/alarms")).text)
    await ann.get(f"/alarms/{number}")
    without = await ann.post(f"/alarms/{number}/shelve", {"minutes": "30", "reason": ""})
    assert (without.status_code, "say why" in without.text) == (422, True)
    fields = {"minutes": "30", "reason": "the belt is being mended"}
    assert (await ann.post(f"/alarms/{number}/shelve", fields)).status_code == 303
    page = (await ann.get("/alarms")).text
    assert "the belt is being mended" in page
    assert '<b class="act">' not in page
    kept(console, told("raised", NOON + timedelta(seconds=20), alarm="b"))
    await watch.look()
    assert [one.state for one in console.desk.alarms.standing] == [State.SHELVED]
    assert [(one.step.stage, one.step.calls) for one in happened] == [
        (Stage.RAISED, True), (Stage.SHELVED, False), (Stage.RAISED, False),
    ]  # fmt: skip
    console.later(minutes=31)
    await watch.look()
    assert [one.state for one in console.desk.alarms.standing] == [State.UNACKNOWLEDGED]
    assert (happened[-1].step.stage, happened[-1].step.calls) == (Stage.UNSHELVED, True)


async def test_nobody_sees_alarms_of_other_lines_and_a_viewer_changes_none(console: Console) -> None:
    kept(console, told("raised"))
    await watch_of(console).look()
    [alarm] = console.desk.alarms.standing
    bob = await someone(console, "bob", Role.OPERATOR, "line-9")
    assert numbers((await bob.get("/alarms")).text) == []
    assert '<b class="act">' not in bob.seen
    for path in (f"/alarms/{alarm.number}", "/alarms/999"):
        assert (await bob.get(path)).status_code == 404
    assert "reference part" not in (await bob.get("/alarms/performance")).text
    assert (await bob.post(f"/alarms/{alarm.number}/acknowledge", {"rounds": "1"})).status_code == 404
    vic = await someone(console, "vic", Role.VIEWER)
    assert 'class="acknowledge"' not in (await vic.get("/alarms")).text
    assert (await vic.post(f"/alarms/{alarm.number}/shelve", {"minutes": "30", "reason": "x"})).status_code == 403


async def test_texts_of_events_are_shown_as_text(console: Console) -> None:
    kept(console, told("raised", what=EVIL, cause=EVIL, next_step=EVIL, kind="new-kind", subject={"product": EVIL}))
    await watch_of(console).look()
    ann = await someone(console, "ann", Role.OPERATOR)
    [number] = numbers((await ann.get("/alarms")).text)
    assert "not known: this console does not know the kind" in ann.seen
    for path in ("/alarms", f"/alarms/{number}", "/alarms/performance", "/alarms/list"):
        assert EVIL not in (await ann.get(path)).text
        assert "&lt;script&gt;" in ann.seen


async def test_drift_that_worsens_calls_again_and_one_that_came_and_went_unseen_is_told(console: Console) -> None:
    watch = watch_of(console)
    await watch.look()
    kept(console, drifted(AlertStage.RAISED, DriftState.WATCH, NOON))
    await watch.look()
    [found] = console.desk.alarms.standing
    assert (found.kind, found.about, found.priority) == ("drift", "brightness", Priority.MEDIUM)
    kept(console, drifted(AlertStage.ESCALATED, DriftState.ACT, NOON + timedelta(seconds=10)))
    await watch.look()
    [found] = console.desk.alarms.standing
    assert (found.priority, found.alarm.rounds) == (Priority.HIGH, 2)
    kept(console, drifted(AlertStage.CLEARED, DriftState.ACT, NOON + timedelta(seconds=20)))
    kept(console, told("raised"), told("cleared", NOON + timedelta(seconds=20)))
    await watch.look()
    assert {one.kind: one.state for one in console.desk.alarms.standing} == {
        "drift": State.RETURNED, "challenge-missed": State.RETURNED,
    }  # fmt: skip
    before = console.desk.alarms.standing
    await watch.look()
    assert console.desk.alarms.standing == before, "it is told once"


async def test_with_the_records_away_what_stood_stands_and_the_page_says_since_when(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(console, told("raised"))
    watch = watch_of(console)
    await watch.look()

    async def away(_: Any) -> Any:
        from neverblink.records.database import LedgerError

        raise LedgerError("the ledger is away")

    monkeypatch.setattr(watch, "_ask", away)
    await watch.look()
    assert [one.state for one in console.desk.alarms.standing] == [State.UNACKNOWLEDGED]
    ann = await someone(console, "ann", Role.OPERATOR)
    assert "This list may be old" in (await ann.get("/alarms")).text


async def test_what_the_console_cannot_do_is_an_alarm_of_the_whole_plant_once_it_lasts(console: Console) -> None:
    kept(console)
    watch = watch_of(console)
    await watch.look()
    console.later(seconds=20)
    console.feed._kafka.failed("Kafka cannot be reached", since=console.now.timestamp())
    await watch.look()
    assert console.desk.alarms.standing == (), "a broker that moves is no alarm"
    console.later(seconds=11)
    await watch.look()
    [found] = console.desk.alarms.standing
    assert (found.kind, found.line) == ("kafka-away", None)
    console.feed._kafka.worked()
    await watch.look()
    assert [one.state for one in console.desk.alarms.standing] == [State.RETURNED]


def test_what_lines_show_is_raised_at_several_and_gone_at_none() -> None:
    lines = LinesAmiss()

    def kinds(**counts: int) -> list[str]:
        amiss = Amiss(**{**dict.fromkeys(Amiss.__slots__, 0), **counts})
        return [one.kind for one in lines.conditions({"a": amiss, "b": WELL}, NOON)]

    assert kinds(no_score=2) == []
    assert kinds(no_score=3) == ["no-score"]
    assert kinds(no_score=1) == ["no-score"], "it does not flicker at its limit"
    assert kinds() == []
    assert kinds(escaped=1) == ["let-by"], "one that was let by is one too many"


def test_calls_are_counted_by_the_hour_in_ten_minutes_and_by_who_calls_most() -> None:
    calls = [Call(1, NOON - timedelta(seconds=10 * n), Priority.HIGH) for n in range(12)]
    calls += [Call(2, NOON - timedelta(minutes=30), Priority.LOW), Call(3, NOON - timedelta(hours=9), Priority.LOW)]
    rate = rate_of(calls, NOON - timedelta(hours=2), NOON)
    assert (rate.calls, rate.per_hour, rate.most_in_ten_minutes, rate.floods) == (13, 6.5, 12, 1)
    worst = offenders(calls)
    assert [(one.alarm, one.calls) for one in worst] == [(1, 12), (2, 1), (3, 1)]
    assert worst[0].chattered == 2, "six calls in each of two minutes"
    assert performance.by_priority(calls)[Priority.LOW] == 2
    assert rate_of([], NOON - timedelta(minutes=5), NOON).per_hour is None
    assert rate_of([Call(1, NOON, Priority.LOW)], NOON, NOON).calls == 1, "what calls at the first look counts"


async def test_the_page_of_how_they_do_says_since_when_they_are_watched(console: Console) -> None:
    watch = watch_of(console)
    await watch.look()
    kept(console, told("raised"))
    console.later(minutes=30)
    await watch.look()
    ann = await someone(console, "ann", Role.VIEWER)
    page = (await ann.get("/alarms/performance")).text
    assert "Alarms are watched since 2026-" in page
    assert "2.0" in page, "one call in the half hour since then"
    assert "reference part missed" in page


def test_every_condition_of_the_consoles_own_has_words_and_a_name_that_stays() -> None:
    first = own(Origin.LINES, "let-by", NOON, {"line": "a"}, line="a")
    again = own(Origin.LINES, "let-by", NOON + timedelta(hours=1), {"line": "a"}, line="a")
    assert first.what == "The gate of a let by a part that was not passed."
    assert (first.tag, first.cause) == (again.tag, again.cause)
    assert isinstance(first, Condition)


def test_alerts_and_alarms_of_other_lines_are_not_gathered(console: Console) -> None:
    kept(console, told("raised"), drifted(AlertStage.RAISED, DriftState.WATCH, NOON))
    with console.records.asking() as session:
        assert len(from_records(session, ["line-1"], NOON)) == 2
        assert from_records(session, ["line-2"], NOON) == []
