"""A refused line is named for as long as it is refused, however well the others do."""

from neverblink.bridge.line_status import LinkState
from neverblink.bridge.readiness import PATIENCE_S, REMIND_S, LineStanding, Readiness

SERVED = LineStanding(LinkState.READY, "")
CONNECTING = LineStanding(LinkState.CONNECTING, "")
REFUSED = LineStanding(LinkState.REFUSED, "node BridgeHb is read-only")
DOWN = LineStanding(LinkState.DOWN, "does not answer within 1 s")


def test_all_lines_served_is_told_once() -> None:
    readiness = Readiness(())
    assert readiness.update({"a": CONNECTING, "b": SERVED}, 0.0) is None
    standing = readiness.update({"a": SERVED, "b": SERVED}, 1.0)
    assert standing is not None
    assert (standing.served, dict(standing.missing)) == (("a", "b"), {})
    assert readiness.update({"a": SERVED, "b": SERVED}, 10 * REMIND_S) is None


def test_a_refused_line_is_named_beside_served_ones_and_stays_named_while_it_knocks() -> None:
    readiness = Readiness(())
    standing = readiness.update({"a": SERVED, "b": REFUSED}, 0.0)
    assert standing is not None
    assert standing.served == ("a",)
    assert standing.sentence == ("the bridge serves 1 of 2 lines; not served: b, refused: node BridgeHb is read-only")
    knocking = LineStanding(LinkState.CONNECTING, REFUSED.sentence)
    assert readiness.update({"a": SERVED, "b": knocking}, 10.0) is None
    reminder = readiness.update({"a": SERVED, "b": knocking}, REMIND_S)
    assert reminder is not None
    assert "b, refused" in reminder.sentence
    whole = readiness.update({"a": SERVED, "b": SERVED}, REMIND_S + 1)
    assert whole is not None
    assert not whole.missing


def test_a_line_that_only_reconnects_is_not_told_and_one_that_stays_away_is() -> None:
    readiness = Readiness(())
    readiness.update({"a": SERVED}, 0.0)
    assert readiness.update({"a": DOWN}, 1.0) is None
    assert readiness.update({"a": SERVED}, 1.5) is None
    assert readiness.update({"a": DOWN}, 2.0) is None
    away = readiness.update({"a": LineStanding(LinkState.CONNECTING, DOWN.sentence)}, 2.0 + PATIENCE_S)
    assert away is not None
    assert away.sentence.endswith("a, down: does not answer within 1 s")
    refused = readiness.update({"a": REFUSED}, 9.0)
    assert refused is not None
    assert "a, refused" in refused.sentence


def test_a_line_that_the_plant_file_has_wrong_is_missing_too() -> None:
    standing = Readiness(("plant.yaml:9:5: lines[1].plc: endpoint is missing",)).update({"a": SERVED}, 0.0)
    assert standing is not None
    assert "1 of 2 lines" in standing.sentence
    assert "left out: plant.yaml:9:5" in standing.sentence


def test_lines_are_counted_by_state() -> None:
    counts = Readiness(("a fault",)).count({"a": SERVED, "b": REFUSED, "c": SERVED})
    assert {state: number for state, number in counts.items() if number} == {"ready": 2, "refused": 1, "left-out": 1}
    assert counts["down"] == 0


def test_a_bridge_that_gets_no_verdicts_says_so_though_every_plc_answers() -> None:
    readiness = Readiness(())
    lines = {"line-1": LineStanding(LinkState.READY, "")}
    told = readiness.update(lines, 0.0)
    assert told is not None
    assert not told.missing
    assert readiness.update(lines, 1.0, "no broker answers (since 10:00)") is None  # a broker that moves
    told = readiness.update(lines, 1.0 + PATIENCE_S, "no broker answers (since 10:00)")
    assert told is not None
    assert told.served == ("line-1",)
    assert told.sentence == "no verdicts come or no outcomes go: no broker answers (since 10:00)"
    told = readiness.update(lines, 9.0)
    assert told is not None
    assert not told.missing
