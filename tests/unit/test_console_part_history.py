"""A part's page puts it beside those before it: how they scored, and what a good one looks like."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from console_desk import Console, plant_in, quick_hashes
from kept_evidence import START, verdict
from review_page import keep_pictures

from neverblink.console.access.roles import Role
from neverblink.console.line.history import history_of
from neverblink.events import Actuation, Decision, Outcome, Tracking, Verdict
from neverblink.ledger.writing import keep
from neverblink.records.database import Database
from neverblink.records.questions.parts_before import ScoreOf

MINUTE = timedelta(minutes=1)


def test_a_part_stands_at_the_right_and_the_threshold_in_the_middle() -> None:
    before = [ScoreOf(START + n * MINUTE, 0.5 + n / 100, rejected=n == 3) for n in range(20)]
    drawn = history_of(before, 1.5, rejected=True)
    assert drawn is not None
    assert drawn.threshold == 0.5
    assert all(dot.x < drawn.own.x for dot in drawn.dots)
    assert (drawn.own.y, drawn.count, drawn.below, drawn.rejected) == (0.75, 20, 20, 1)
    assert history_of(before, 99.0, rejected=True).own.y == 1.0  # type: ignore[union-attr]


def test_few_parts_and_a_part_without_a_score_have_no_history() -> None:
    before = [ScoreOf(START, 0.5, rejected=False)] * 9
    assert history_of(before, 0.5, rejected=False) is None
    assert history_of(before * 2, None, rejected=False) is None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick_hashes(monkeypatch):
        yield


def _line() -> list[Verdict]:
    """Twenty parts: 18 is a holdout, 17 unsure, 16 of another station, and the last is rejected."""
    found = [verdict(n, at=START + n * MINUTE, ratio=0.5, tracking=Tracking(epoch=1, number=n)) for n in range(20)]
    found[18] = found[18].model_copy(update={"holdout": True})
    found[17] = found[17].model_copy(update={"unsure": True})
    found[16] = found[16].model_copy(update={"station": "side"})
    last = verdict(20, Decision.REJECT, at=START + 20 * MINUTE, ratio=1.2, tracking=Tracking(epoch=1, number=20))
    return [*found, last]


async def test_the_page_shows_a_good_part_the_scores_before_and_where_its_trace_is(tmp_path: Path) -> None:
    plant = plant_in(tmp_path, trace_url="https://traces.example/{trace_id}?a=1&b=2")
    evidence = plant.records.evidence.model_copy(update={"store": str(tmp_path / "evidence")})
    storage = plant.storage.model_copy(update={"ledger": f"sqlite:///{tmp_path}/ledger.db"})
    records = plant.records.model_copy(update={"evidence": evidence})
    plant = plant.model_copy(update={"storage": storage, "records": records})
    line = _line()
    told = Actuation(
        id="told-20", line="line-1", tracking=Tracking(epoch=1, number=20), stage="told", decision=Decision.PASS,
        outcome=Outcome.CONFIRMED, at=line[-1].times.captured + timedelta(milliseconds=10),
    )  # fmt: skip
    database = Database(plant.storage.ledger, create=True)
    keep(database, [*line, told], START, traces={line[-1].id: "abc123"})
    database.close()
    keep_pictures(plant, [line[n] for n in (14, 15, 16, 17, 18, 20)])
    async with Console(plant) as console:
        console.account("vera", Role.VIEWER)
        browser = console.browser()
        await browser.sign_in("vera")
        seen = (await browser.get(f"/verdicts/{line[-1].id}")).text
    assert f"/verdicts/{line[15].id}" in seen, "not the holdout, the unsure one or another station's"
    assert "The 19 parts before it" in seen
    assert "at 120 % of the threshold" in seen
    assert 'href="https://traces.example/abc123?a=1&amp;b=2"' in seen
    assert "The PLC was told “good”" in seen
