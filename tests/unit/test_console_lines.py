"""The wall and the part page, over records and events as a plant has them."""

import asyncio
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from console_desk import SYSTEM, Browser, Console, plant_in
from kept_parts import ARTIFACT, NOON, MadePart, Seen, events_of
from sqlalchemy import insert

from neverblink.console.access.roles import Role, Scope
from neverblink.console.access.tokens import make_token
from neverblink.console.line.timeline import timeline_of
from neverblink.console.rendering import Rendering
from neverblink.events import Actuation, Alarm, Decision, Event, GateAction, Hold, Judgement, RegionScore, Verdict
from neverblink.kafka import KafkaError
from neverblink.ledger.writing import keep
from neverblink.plant import Plant
from neverblink.records.database import Database
from neverblink.records.evidence_store import EvidenceStore
from neverblink.records.part_tables import EvidenceFileRow
from neverblink.records.questions.line_state import counts_by_line, open_troubles
from neverblink.records.questions.part_story import part_of_verdict, story_of
from neverblink.records.reading import ReadOnlyRecords

pytestmark = pytest.mark.usefixtures("quick_hashing")

EVIL = "<script>alert(1)</script>"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)


def part(number: int = 1, line: str = "line-1", **other: Any) -> MadePart:
    """Return a rejected part of two stations; others as told."""
    values: dict[str, Any] = {
        "line": line, "number": number, "product": "pcb", "triggered": NOON + timedelta(seconds=number),
        "seen": (Seen("top", Decision.REJECT, "anomaly", ("scratch",)), Seen("side")), "order": "order-1",
        "lot": "lot-1", "serial": f"SN-{number:06d}", "carrier": "carrier-1", "gate": GateAction.REJECTED,
        "judgement": Judgement.DEFECT, "attributes": {"tool": "7"},
    }  # fmt: skip
    return MadePart(**{**values, **other})


def evil_part() -> MadePart:
    """Return a part whose every free text is a script."""
    return part(
        9, seen=(Seen("top", Decision.REJECT, EVIL, (EVIL,)),), order=EVIL, lot=EVIL, serial=EVIL, carrier=EVIL,
        attributes={"tool": EVIL},
    )  # fmt: skip


def kept(plant: Plant, parts: list[MadePart], *more: Event) -> list[Event]:
    events = [event for one in parts for event in events_of(one)]
    database = Database(plant.storage.ledger, create=True)
    keep(database, [*events, *more], NOON)
    database.close()
    return events


@pytest.fixture
def console(console: Console) -> Console:
    """The console a minute after noon, when the parts of these tests are made."""
    console.now = NOON + timedelta(minutes=1)
    return console


def heard(console: Console, events: list[Event]) -> None:
    """Let the boards hear events, as from Kafka."""
    for event in events:
        if isinstance(event, Verdict):
            console.feed.boards[event.line].decided(event)
        elif isinstance(event, Actuation):
            console.feed.boards[event.line].acted(event)


async def viewer(console: Console, *lines: str) -> Browser:
    console.account("ann", Role.VIEWER, lines or ("*",))
    browser = console.browser()
    await browser.sign_in("ann")
    return browser


def with_picture(plant: Plant, verdict: str, kind: str, content: bytes, content_type: str, line: str) -> str:
    assert plant.records.evidence.store is not None
    digest = EvidenceStore(plant.records.evidence.store).put(content)
    database = Database(plant.storage.ledger, create=True)
    row = {
        "id": f"{verdict}-{kind}", "frame_id": "f", "verdict_id": verdict, "line": line, "station": "top",
        "product": "pcb", "kind": kind, "digest": digest, "bytes": len(content), "content_type": content_type,
        "why": "reject", "captured": NOON, "kept": NOON, "deleted": None,
    }  # fmt: skip
    with database.writing() as connection:
        connection.execute(insert(EvidenceFileRow).values(**row))
    database.close()
    return digest


async def test_the_wall_shows_parts_counts_and_what_is_open_of_the_lines_that_one_may_see(console: Console) -> None:
    alarm = Alarm(
        id="a1", alarm="a", line="line-1", kind="challenge-missed", stage="raised", severity="act", since=NOON, at=NOON,
        what="reference r1 passed", cause="the threshold", next_step="stop the line",
    )  # fmt: skip
    heard(console, kept(console.plant, [part(1), part(2, seen=(Seen("top"),))], alarm))
    await console.feed.count_once()
    page = (await (await viewer(console, "line-1")).get("/wall")).text
    for said in ("SN-000001", "SN-000002", "anomaly", "reference r1 passed", "stop the line", "50.0 %", "1 open"):
        assert said in page, said
    other = console.browser()
    console.account("bob", Role.VIEWER, ("line-2",))
    await other.sign_in("bob")
    if "line-2" not in console.desk.lines:
        assert "sees no line" in other.seen
    assert "SN-000001" not in other.seen
    assert (await other.get("/wall/line-1")).status_code == 404
    assert (await other.http.get("/live?line=line-1")).status_code == 404


async def test_a_line_on_hold_says_since_when_by_whom_and_why(console: Console) -> None:
    hold = Hold(id="h", line="line-1", source="people", state="hold", at=NOON, by="m.okafor", why="a new blade")
    console.feed.hear([(hold.key, hold)])
    page = (await (await viewer(console)).get("/wall")).text
    for said in ("On hold", "by m.okafor", "a new blade"):
        assert said in page, said


async def test_without_kafka_or_records_the_wall_says_what_is_stale_and_since_when(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await console.feed.count_once()
    stop = asyncio.Event()

    async def refused(_: Any) -> None:
        stop.set()
        raise KafkaError("Kafka at 127.0.0.1:9092 cannot be reached")

    monkeypatch.setattr("neverblink.kafka.EventConsumer.start", refused)
    await console.feed.follow(stop)
    page = (await (await viewer(console)).get("/wall")).text
    assert "Kafka is away" in page
    assert "The records are away" in page
    assert "Counts and alarms are not known." in page
    assert "<dt>parts/min</dt><dd>–</dd>" in page, "no part is heard of, which is not that none came"
    kept(console.plant, [part(1)])
    await console.feed.count_once()
    assert console.feed.database is None


async def test_a_live_page_gets_what_changed_and_nothing_else(console: Console) -> None:
    heard(console, kept(console.plant, [part(1)]))
    looks, stop = [True], asyncio.Event()

    async def may_look() -> bool:
        return looks[0]

    rendering = Rendering("en", console.desk.zone)
    events = console.desk.live.follow(["line-1"], rendering, 24, may_look, stop)
    assert (await anext(events)).startswith(b"retry:")
    first = (await anext(events)).decode()
    assert "event: line:line-1" in first
    assert "event: state" in first
    assert "SN-000001" in first
    assert all(line.startswith(("event: ", "data: ")) or not line for line in first.splitlines())
    heard(console, list(events_of(part(2))))
    second = (await anext(events)).decode()
    assert "SN-000002" in second
    stop.set()
    assert [one async for one in events] == []


async def test_who_may_no_longer_look_is_told_and_the_stream_ends(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neverblink.console.line.live.CHECK_EVERY_S", 0.0)

    async def may_look() -> bool:
        return False

    events = console.desk.live.follow(["line-1"], Rendering("en", console.desk.zone), 24, may_look, asyncio.Event())
    assert (await anext(events)).startswith(b"retry:")
    assert b"".join([one async for one in events]) == b"event: gone\ndata: \n\n"


async def test_more_live_pages_than_there_may_be_are_told_so(console: Console) -> None:
    async def may_look() -> bool:
        return True

    rendering = Rendering("en", console.desk.zone)
    streams = [console.desk.live.follow(["line-1"], rendering, 24, may_look, asyncio.Event()) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    answer = await (await viewer(console)).http.get("/live?line=line-1")
    assert (answer.status_code, "Too many pages" in answer.text) == (503, True)
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
    assert not console.desk.live.full


async def test_a_part_is_shown_with_everything_that_is_kept_of_it(console: Console) -> None:
    events = kept(console.plant, [part(1)])
    verdict = next(one for one in events if isinstance(one, Verdict) and one.station == "top")
    digest = with_picture(console.plant, verdict.id, "frame", PNG, "image/png", "line-1")
    browser = await viewer(console, "line-1")
    page = (await browser.get(f"/verdicts/{verdict.id}")).text
    for said in (
        "SN-000001", "order-1", "lot-1", "carrier-1", "scratch", "told in time", "1,600 ms slack", "gate rejected it",
        "ann", "defective", ARTIFACT.digest, "top", "side", f"/pictures/{digest}", "PLC told",
    ):  # fmt: skip
        assert said in page, said
    answer = await browser.http.get(f"/pictures/{digest}")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "No picture of it is kept" in page, "of the other station"


async def test_a_part_is_shown_by_its_named_regions(console: Console) -> None:
    scores = (("label", "judged", 0.4, None), (EVIL, "judged", 0.1, None), ("screw-2", "presence", 1.5, "absent"))
    regions = tuple(
        RegionScore(name=name, kind=kind, score=2 * ratio, threshold=2.0, ratio=ratio, state=state)
        for name, kind, ratio, state in scores
    )
    events = list(events_of(part(1, seen=(Seen("top", Decision.REJECT, "anomaly", ("scratch", "absent")),))))
    verdict = next(one for one in events if isinstance(one, Verdict))
    found = {"region": "screw-2", "source": "presence", "taxonomy": "assembly"}
    defects = (verdict.defects[0], verdict.defects[1].model_copy(update=found))
    events[events.index(verdict)] = verdict.model_copy(update={"regions": regions, "defects": defects})
    database = Database(console.plant.storage.ledger, create=True)
    keep(database, events, NOON)
    database.close()
    with_picture(console.plant, verdict.id, "frame", PNG, "image/png", "line-1")
    page = (await (await viewer(console, "line-1")).get("/parts/1")).text
    rows = page.split('class="dense regions"')[1].split("</table>")[0]
    assert rows.index("150 %") < rows.index("40 %") < rows.index("10 %"), "the highest first"
    assert "<b>absent</b>" in rows
    assert "<script>" not in page
    assert page.count("<title>scratch · label</title>") == 1
    assert '<text class="outline-name" x="1" y="2" dy="-.35em">screw-2</text>' in page
    assert "<td>absent <small>assembly</small></td><td>screw-2</td>" in page


async def test_a_part_of_another_line_is_not_there(console: Console) -> None:
    events = kept(console.plant, [part(1)])
    verdict = next(one for one in events if isinstance(one, Verdict))
    digest = with_picture(console.plant, verdict.id, "frame", PNG, "image/png", "line-1")
    browser = await viewer(console, "line-2")
    for path in (f"/verdicts/{verdict.id}", "/parts/1", f"/pictures/{digest}", f"/pictures/{'0' * 64}", "/parts/77"):
        assert (await browser.get(path)).status_code == 404, path
    for path in ("/parts/0", "/parts/x", "/pictures/..%2f..%2fetc", "/verdicts/a%20b", f"/parts/{'9' * 30}"):
        assert (await browser.get(path)).status_code in {404, 422}, path


async def test_a_picture_that_browsers_cannot_show_is_saved_and_never_run(console: Console) -> None:
    events = kept(console.plant, [part(1)])
    verdict = next(one for one in events if isinstance(one, Verdict) and one.station == "top")
    tiff = with_picture(console.plant, verdict.id, "frame", b"II*\x00", "image/tiff", "line-1")
    html = with_picture(console.plant, verdict.id, "thumbnail", EVIL.encode(), "text/html", "line-1")
    browser = await viewer(console, "line-1")
    assert "Save the picture" in (await browser.get("/parts/1")).text
    for digest, kind in ((tiff, "image/tiff"), (html, "application/octet-stream")):
        answer = await browser.http.get(f"/pictures/{digest}")
        assert answer.headers["content-type"] == kind
        assert answer.headers["content-disposition"].startswith("attachment")


async def test_script_in_any_text_of_an_event_is_shown_and_never_run(console: Console) -> None:
    alarm = Alarm(
        id="a1", alarm="a", line="line-1", kind="challenge-missed", stage="raised", severity="act", since=NOON, at=NOON,
        what=EVIL, cause=EVIL, next_step=EVIL,
    )  # fmt: skip
    heard(console, kept(console.plant, [evil_part()], alarm))
    await console.feed.count_once()
    browser = await viewer(console)
    for path in ("/wall", "/wall/line-1", "/parts/1", f"/wall/{EVIL}"):
        page = (await browser.get(path)).text
        assert "<script>alert" not in page, path
    assert (await browser.get("/parts/1")).text.count("&lt;script&gt;alert") >= 6


async def test_a_program_reads_the_wall_and_parts_of_its_tokens_lines_alone(console: Console) -> None:
    heard(console, kept(console.plant, [part(1)]))
    await console.feed.count_once()
    with console.access.writing() as connection:
        make = partial(make_token, connection, actor=SYSTEM, now=console.now, days=None)
        own = make("own", [Scope.WALL, Scope.PARTS], ("line-1",))
        other = make("other", [Scope.WALL, Scope.PARTS], ("line-2",))
        wall_only = make("wall", [Scope.WALL], None)
    http = console.browser().http

    async def read(path: str, token: str) -> httpx.Response:
        return await http.get(path, headers={"authorization": f"Bearer {token}"})

    (line,) = (await read("/api/v1/wall", own)).json()["lines"]
    assert (line["view"]["tiles"][0]["label"], line["counts"]["rejected"]) == ("SN-000001", 1)
    assert line["view"]["tiles"][0]["stations"] == ["side", "top"]
    assert (await read("/api/v1/parts/1", own)).json()["part"]["serial"] == "SN-000001"
    assert "SN-000001" not in (await read("/api/v1/wall", other)).text
    statuses = [(await read("/api/v1/parts/1", token)).status_code for token in (other, wall_only, "nbc_x")]
    assert statuses == [404, 403, 401]


async def test_without_records_a_part_page_says_so(console: Console) -> None:
    answer = await (await viewer(console)).get("/parts/1")
    assert (answer.status_code, "cannot be read now" in answer.text) == (503, True)


def test_a_time_line_leads_from_the_trigger_to_the_gate_with_its_deadline(tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    events = kept(plant, [part(1)])
    records = ReadOnlyRecords(plant.storage.ledger, answer_s=5.0)
    with records.asking() as session:
        found = part_of_verdict(session, next(one.id for one in events if isinstance(one, Verdict)))
        assert found is not None
        story = story_of(session, found)
        assert part_of_verdict(session, "nothing") is None
        assert part_of_verdict(session, events[0].id, ("line-2",)) is None
    records.close()
    assert story is not None
    way = timeline_of(story)
    assert [(one.name, one.station, round(one.ms)) for one in way.steps] == [
        ("captured", "top", 0), ("captured", "side", 100), ("told", None, 400), ("gate", None, 2000),
    ]  # fmt: skip
    assert (way.deadline_ms, way.deadline, way.slack_ms) == (2000.0, 1.0, 1600.0)
    assert all(0 <= one.begin <= one.end <= 1 for one in way.steps)
    assert not any(one.late for one in way.steps)


def test_counts_are_of_the_shift_and_what_was_cleared_is_not_open(tmp_path: Path) -> None:
    plant = plant_in(tmp_path)

    def alarm(number: int, stage: str, at: datetime) -> Alarm:
        return Alarm(
            id=f"{number}-{stage}", alarm=str(number), line="line-1", kind="challenge-absent", stage=stage,
            severity="watch", since=NOON, at=at, what=f"alarm {number}", cause="c", next_step="n",
        )  # fmt: skip

    kept(
        plant,
        [part(1), part(2, seen=(Seen("top"),), gate=GateAction.FAIL_SAFE), part(3, line="line-2")],
        alarm(1, "raised", NOON), alarm(2, "raised", NOON), alarm(1, "cleared", NOON + timedelta(hours=1)),
    )  # fmt: skip
    records = ReadOnlyRecords(plant.storage.ledger, answer_s=5.0)
    with records.asking() as session:
        counts = counts_by_line(session, NOON)
        assert counts_by_line(session, NOON + timedelta(hours=1)) == {}
        assert [one.what for one in open_troubles(session, ["line-1"])] == ["alarm 2"]
    records.close()
    one = counts["line-1"]
    assert (one.parts, one.passed, one.rejected, one.fail_safe) == (2, 1, 1, 1)
    assert counts["line-2"].parts == 1


def test_a_shift_began_where_the_plan_says(tmp_path: Path) -> None:
    plan = plant_in(tmp_path).shift_plan()
    began = plan.began(NOON)
    assert plan.shift_at(began) == plan.shift_at(NOON)
    assert plan.shift_at(began - timedelta(seconds=1)) != plan.shift_at(NOON)


async def test_the_wall_shows_lines_by_hall_and_a_screen_on_the_wall_has_no_bar(tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    (first,) = plant.lines
    lines = [first.model_copy(update={"name": f"line-{n}", "hall": f"hall {'AAB'[n]}"}) for n in range(3)]
    async with Console(plant.model_copy(update={"lines": tuple(lines)})) as console:
        console.account("vera")
        console.account("screen", lines=("line-1", "line-2"), wall=True)
        console.account("lin", lines=("line-0",))
        browser = console.browser()
        await browser.sign_in("vera")
        whole = (await browser.get("/wall")).text
        assert [whole.count(f'id="line-line-{n}"') for n in range(3)] == [1, 1, 1]
        assert (
            whole.index('<h2 class="hall">hall A') < whole.index("line-line-1") < whole.index('<h2 class="hall">hall B')
        )
        one = (await browser.get("/wall?hall=hall+B")).text
        assert [one.count(f'id="line-line-{n}"') for n in range(3)] == [0, 0, 1]
        assert 'class="wall full"' not in one
        assert 'class="wall full"' in (await browser.get("/wall?hall=hall+B&full=1")).text
        await browser.sign_in("screen")
        assert 'class="wall full"' in (await browser.get("/wall")).text
        await browser.sign_in("lin")
        assert (await browser.get("/wall?hall=hall+B")).status_code == 404
