"""A line's board says what came of its parts, in whatever order and however often the events come."""

import random
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from kept_parts import NOON, MadePart, all_events, events_of, made_parts

from neverblink.console.line.board import KEPT, BoardView, Chip, LineBoard
from neverblink.events import Actuation, Decision, Event, GateAction, Hold, Outcome, Tracking, Verdict
from neverblink.events.actuation import HELD_CODE

MADE = [part for part in made_parts(80, every_s=2.0) if part.line == "line-1"]


def board_of(events: list[Event], now: datetime, *, has_plc: bool = True) -> LineBoard:
    board = LineBoard("line-1", has_plc=has_plc, clock=lambda: now)
    for event in events:
        if isinstance(event, Verdict):
            board.decided(event)
        elif isinstance(event, Actuation):
            board.acted(event)
    return board


def events(parts: list[MadePart], seed: int) -> list[Event]:
    return all_events(parts, seed)


def chip(view: BoardView, name: str) -> Chip:
    return next(one for one in view.chips if one.name == name)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000), again=st.booleans())
def test_each_part_is_one_tile_with_the_worst_of_its_stations_whatever_the_order(seed: int, again: bool) -> None:
    parts = MADE[:15]
    came = events(parts, seed)
    if again:
        came += random.Random(seed).sample(came, len(came))
    view = board_of(came, NOON + timedelta(minutes=3)).view()
    told = [(tile.label, tile.decision, tile.gate, tile.told) for tile in view.tiles]
    expected = [(part.serial, part.decision, part.gate, Outcome.CONFIRMED) for part in reversed(parts)]
    assert sorted(told) == sorted(expected)
    assert {tile.label: tile.reason for tile in view.tiles if tile.decision is Decision.UNSCORED} == {
        part.serial: "late" for part in parts if part.decision is Decision.UNSCORED
    }


def test_the_newest_come_first_and_old_ones_are_forgotten() -> None:
    parts = [part for part in made_parts(700, every_s=1.0) if part.line == "line-1"]
    board = board_of([event for part in parts for event in events_of(part)], parts[-1].triggered)
    view = board.view()
    assert len(view.tiles) == KEPT
    assert view.tiles[0].label == parts[-1].serial
    assert [tile.captured for tile in view.tiles] == sorted((tile.captured for tile in view.tiles), reverse=True)
    assert len(board._tiles) <= 2 * KEPT


def test_the_rate_is_of_the_time_that_is_known() -> None:
    parts = [part for part in made_parts(400, every_s=0.5) if part.line == "line-1"]
    came = [event for part in parts for event in events_of(part)]
    begun = [one for one in came if one.occurred < NOON + timedelta(seconds=30)]
    seen = {one.part for one in begun if isinstance(one, Verdict)}
    rate = board_of(begun, NOON + timedelta(seconds=30)).view().per_minute
    assert abs(rate - 2 * len(seen)) < 0.1 * rate
    assert board_of(came, NOON + timedelta(hours=1)).view().per_minute == 0


def test_what_the_gate_does_late_is_no_further_part() -> None:
    parts = [part for part in made_parts(600, every_s=0.3) if part.line == "line-1"]
    came = [event for part in parts for event in events_of(part)]
    came = sorted(came, key=lambda event: isinstance(event, Actuation))  # as topics that are read one after the other
    now = max(part.triggered for part in parts)
    recent = sum(part.triggered >= now - timedelta(minutes=2) for part in parts)
    assert board_of(came, now).view().per_minute == recent / 2


def test_chips_say_what_is_amiss_and_forget_it() -> None:
    parts = made_parts(60, seed=3, every_s=2.0)
    late = [part for part in parts if part.line == "line-1"]
    came = events(late, 1)
    unscored = sum(isinstance(e, Verdict) and e.decision is Decision.UNSCORED for e in came)
    fail_safe = sum(isinstance(e, Actuation) and e.gate is GateAction.FAIL_SAFE for e in came)
    now = NOON + timedelta(minutes=2)
    view = board_of(came, now).view()
    assert (chip(view, "scorer").count, chip(view, "gate").count) == (unscored, fail_safe)
    assert chip(view, "scorer").state == "act"
    assert (chip(view, "camera").state, chip(view, "bridge").state) == ("well", "well")
    later = board_of(came, now + timedelta(minutes=30)).view()
    assert {one.state for one in later.chips} == {"idle"}


def test_a_part_that_the_gate_let_by_wants_somebody() -> None:
    part = MADE[0]
    came = list(events_of(part))
    came = [
        one.model_copy(update={"gate": GateAction.PASSED, "incident": True})
        if isinstance(one, Actuation) and one.stage == "gate"
        else one
        for one in came
    ]
    view = board_of(came, part.triggered + timedelta(seconds=5)).view()
    assert chip(view, "gate").state == "act"
    assert view.tiles[0].incident


def test_a_line_without_a_plc_has_no_chip_for_one() -> None:
    view = board_of(events(MADE[:3], 1), NOON, has_plc=False).view()
    assert [one.name for one in view.chips] == ["camera", "scorer"]


def test_a_number_that_comes_again_the_next_day_is_another_part() -> None:
    part = MADE[0]
    verdict = next(one for one in events_of(part) if isinstance(one, Verdict))
    tomorrow = verdict.model_copy(
        update={
            "id": "another", "decision": Decision.UNSCORED, "reason": "late", "late": True,
            "times": verdict.times.model_copy(update={"captured": part.triggered + timedelta(days=1)}),
        }
    )  # fmt: skip
    view = board_of([verdict, tomorrow], part.triggered + timedelta(days=1)).view()
    assert [tile.verdict for tile in view.tiles] == ["another"]


def said(state: str, source: str) -> Hold:
    return Hold(
        id=f"{source}-{state}", line="line-1", source=source, state=state, at=NOON, by="m.okafor", why="a new blade"
    )


def test_a_line_on_hold_is_shown_until_whoever_said_so_releases_it_and_its_parts_are_no_trouble() -> None:
    board = board_of([], NOON)
    board.held(said("hold", "people"))
    board.held(said("bypass", "plc"))
    board.held(said("released", "plc"))
    assert [hold.source for hold in board.view().holds] == ["people"]
    told = Actuation(
        id="a-1",
        line="line-1",
        tracking=Tracking(epoch=1, number=1),
        stage="told",
        outcome=Outcome.FAILED,
        code=HELD_CODE,
        at=NOON,
    )
    board.acted(told)
    assert chip(board.view(), "bridge").count == 0
    board.held(said("released", "people"))
    assert board.view().holds == ()
