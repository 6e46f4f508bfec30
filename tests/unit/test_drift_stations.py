"""All states of a worker: whose verdict it is, what a crash leaves, and alerts over a change of model."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neverblink.demo.drift.scenarios import calibrated
from neverblink.drift.history import Calendar
from neverblink.drift.stations import ALERTS, ARTIFACTS_KEPT, PAST, WATCH, Stations
from neverblink.drift.statistics import StationKey, StationState, Windowing
from neverblink.drift.verdict_memory import IDS
from neverblink.events import AlertStage, ArtifactRef, Decision, DriftReport, DriftState, Times, Verdict

START = datetime(2026, 3, 2, 6, tzinfo=UTC)


def artifact(letter: str) -> ArtifactRef:
    return ArtifactRef(name="pcb", version="1", digest="sha256:" + letter * 64)


def verdict(at_s: float, decision: Decision = Decision.PASS, *, model: str = "a", **changes: Any) -> Verdict:
    captured = START + timedelta(seconds=at_s)
    scored = decision is not Decision.UNSCORED
    fields: dict[str, Any] = {
        "id": f"v{at_s}", "frame_id": f"f{at_s}", "line": "line-1", "station": "top", "product": "pcb", "part": "1",
        "seq": 1, "decision": decision, "reason": None if decision is Decision.PASS else "late",
        "score": 0.5 if scored else None, "threshold": 1.0 if scored else None, "ratio": 0.5 if scored else None,
        "artifact": artifact(model) if scored else None, "times": Times(captured=captured), "deadline": captured,
    }  # fmt: skip
    return Verdict(**{**fields, **changes})


class Worker:
    """Stations over a table that outlives them; a crash may keep only the first writes of the last verdict."""

    def __init__(self, **settings: Any) -> None:
        self.table: dict[bytes, bytes] = {}
        self.settings = settings
        self.reports: list[DriftReport] = []
        self.start()

    def start(self) -> None:
        self.stations = Stations(Windowing(60, 10), Calendar(), self.table.get, **self.settings)
        self.stations.load(list(self.table), {0})

    def take(self, verdict: Verdict, offset: int, *, writes: int | None = None) -> list[DriftReport]:
        taken = self.stations.take(verdict, (0, offset), verdict.times.captured.timestamp())
        self.reports += taken.reports
        self.write(taken.changes, writes=writes)
        return taken.reports

    def take_batch(self, stream: list[Verdict], offsets: range, *, writes: int | None = None) -> None:
        """As the service does: one write for all, but alone what belongs to another state than is current."""
        reports: list[DriftReport] = []
        for offset in offsets:
            turns = self.stations.turns(stream[offset])
            if turns:
                self.keep(reports)
            taken = self.stations.count(stream[offset], (0, offset), stream[offset].times.captured.timestamp())
            reports += taken.reports
            if turns:
                self.keep(reports)
        self.keep(reports, writes=writes)

    def keep(self, reports: list[DriftReport], *, writes: int | None = None) -> None:
        self.reports += reports
        reports.clear()
        self.write(self.stations.changes(0), writes=writes)

    def write(self, changes: dict[bytes, bytes | None], *, writes: int | None = None) -> None:
        for key, value in list(changes.items())[:writes]:
            if value is None:
                self.table.pop(key, None)
            else:
                self.table[key] = value

    def feed(self, verdicts: list[Verdict], first: int = 0) -> "Worker":
        for offset, item in enumerate(verdicts, start=first):
            self.take(item, offset)
        return self

    def state_keys(self) -> Iterator[StationKey]:
        return (StationKey.from_bytes(raw) for raw in self.table if raw.count(b"/") == 3 and b"h:" not in raw[:6])


def missed(at_s: float, **more: Any) -> Verdict:
    """A known defect that passes: an alert at once."""
    return verdict(at_s, challenge=True, **more)


def stages(reports: list[DriftReport]) -> list[tuple[str, AlertStage]]:
    return [(alert.signal, alert.stage) for report in reports for alert in report.alerts]


def test_an_unscored_part_belongs_to_the_artifact_that_scores_now() -> None:
    worker = Worker().feed([verdict(1), verdict(2, Decision.UNSCORED), verdict(3, model="b"), verdict(80, model="b")])
    worker.take(verdict(81, Decision.UNSCORED), 4)
    states = dict(worker.stations)
    first, second = (states[StationKey("line-1", "top", "pcb", artifact(m).digest).to_bytes()] for m in "ab")
    assert [window.unscored for window in first.windows] == [{"late": 1}]
    assert second.windows[-1].unscored == {"late": 1}
    assert len(states) == 2


def test_a_second_verdict_about_a_frame_counts_nothing_whatever_model_it_names() -> None:
    worker = Worker().feed([verdict(1), verdict(2, model="b"), verdict(3, model="b")])
    before = dict(worker.table)
    again = [verdict(1), verdict(1, model="b"), verdict(2), verdict(3, Decision.UNSCORED), verdict(3, model="c")]
    for offset, item in enumerate(again, start=3):
        taken = worker.stations.take(item, (0, offset), item.times.captured.timestamp())
        assert (taken.is_new, taken.is_second, taken.changes, taken.reports) == (False, True, {}, [])
    worker.start()
    worker.feed(again, first=3)
    assert worker.table == before


def test_a_stale_verdict_leaves_the_model_in_force() -> None:
    worker = Worker().feed(
        [verdict(1), verdict(30, model="b"), verdict(30), verdict(20), verdict(40, Decision.UNSCORED)]
    )
    states = {StationKey.from_bytes(raw).artifact[7]: state for raw, state in worker.stations}
    assert states["a"].windows[0].passed == 2, "the first answer for its frame counts, whatever model gave it"
    assert states["b"].windows[0].unscored == {"late": 1}
    worker.start()
    worker.take(verdict(41, Decision.UNSCORED), 5)
    states = {StationKey.from_bytes(raw).artifact[7]: state for raw, state in worker.stations}
    assert states["b"].windows[0].unscored == {"late": 2}, "after a restart too"


def test_state_of_a_version_that_remembered_no_ids_goes_on_and_remembers_from_then_on() -> None:
    worker = Worker().feed([verdict(1), verdict(2)])
    for raw in [raw for raw in worker.table if raw.startswith(IDS)]:
        del worker.table[raw]
    worker.start()
    worker.feed([verdict(1), verdict(2), verdict(3), verdict(2, model="b"), verdict(3)])
    ((_, state),) = worker.stations
    assert state.windows[0].passed == 3


def test_the_verdicts_of_a_topic_that_was_made_anew_are_counted_and_those_that_were_counted_are_not() -> None:
    worker = Worker().feed([verdict(at) for at in range(1, 9)])
    worker.start()
    assert worker.stations.forget_marks(0, 2)
    worker.feed([verdict(8), verdict(9)])
    ((_, state),) = worker.stations
    assert (state.windows[0].passed, state.marks) == (9, {0: 1})


def test_an_alert_says_so_in_the_reports_state_until_it_is_cleared() -> None:
    worker = Worker().feed([verdict(1), missed(2), verdict(80)])
    (report,) = worker.reports
    assert stages([report]) == [("challenge-missed", AlertStage.RAISED)]
    assert report.state is DriftState.ACT
    caught = [verdict(100 + 60 * n, Decision.REJECT, challenge=True, reason="anomaly") for n in range(4)]
    worker.feed([*caught, verdict(500)], first=3)
    assert stages(worker.reports)[1:] == [("challenge-missed", AlertStage.CLEARED)]
    assert worker.reports[-1].state is DriftState.LEARNING


def test_a_new_artifact_begins_to_learn_and_clears_what_was_open_with_the_reason() -> None:
    worker = Worker().feed([verdict(1), missed(2), verdict(80)])
    worker.feed([verdict(100, model="b"), verdict(200, model="b")], first=3)
    (cleared,) = [alert for report in worker.reports[1:] for alert in report.alerts]
    assert (cleared.stage, cleared.artifact) == (AlertStage.CLEARED, artifact("a").digest)
    assert "another artifact scores now: sha256:bbbb" in cleared.change
    assert worker.reports[-1].state is DriftState.LEARNING


def test_what_an_outgoing_artifact_saw_last_raises_nothing_about_its_successor() -> None:
    worker = Worker().feed([verdict(1), missed(2), verdict(3, model="b"), verdict(200, model="b")])
    raw = StationKey("line-1", "top", "pcb", artifact("a").digest).to_bytes()
    assert stages(worker.stations.close_quiet(raw, 1000)) == []


def test_one_alert_is_open_for_a_signal_and_station_over_all_products() -> None:
    other: dict[str, Any] = {"product": "disc", "model": "c"}
    worker = Worker().feed([verdict(1), missed(2), verdict(80), missed(90, **other), verdict(200, **other)])
    assert stages(worker.reports) == [("challenge-missed", AlertStage.RAISED)]


def test_of_a_product_only_the_newest_artifacts_are_kept() -> None:
    worker = Worker().feed([verdict(200 * n, model=letter) for n, letter in enumerate("abcdef0")])
    kept = {key.artifact for key in worker.state_keys()}
    assert kept == {artifact(letter).digest for letter in "abcdef0"[-ARTIFACTS_KEPT:]}


def test_wider_limits_do_not_excuse_a_known_defect_that_passes() -> None:
    worker = Worker(limit_factor=4.0).feed([verdict(1), missed(2), verdict(80)])
    assert stages(worker.reports) == [("challenge-missed", AlertStage.RAISED)]


@settings(max_examples=30, deadline=None)
@given(
    crashes=st.lists(st.tuples(st.integers(0, 149), st.integers(0, 4), st.integers(1, 20)), max_size=4),
    misses=st.sets(st.integers(0, 149), max_size=3),
    seconds=st.sets(st.integers(3, 149), max_size=9),
)
def test_a_crash_after_any_write_leaves_the_same_counts_and_tells_the_same_alerts(
    crashes: list[tuple[int, int, int]], misses: set[int], seconds: set[int]
) -> None:
    told = [calibrated(seed) for seed in range(3)]  # as when the threshold is edited twice
    stream = [(missed if n in misses else verdict)(7.0 * n, calibrated=told[n // 50]) for n in range(150)]
    for at in seconds:  # another scorer answers for a frame that had its verdict
        stream[at] = stream[at - 3].model_copy(update={"artifact": artifact("b")})
    calm = Worker().feed(stream)
    worker = Worker()
    by_offset = {offset: (writes, back) for offset, writes, back in crashes}
    for offset, item in enumerate(stream):
        writes, back = by_offset.get(offset, (None, 0))
        worker.take(item, offset, writes=writes)
        if back:
            worker.start()
            for again in range(max(0, offset - back), offset + 1):
                worker.take(stream[again], again)
    for raw in calm.table:
        if raw.startswith(WATCH):
            key = raw.removeprefix(WATCH)
            assert StationState.from_bytes(worker.table[key]).marks == StationState.from_bytes(calm.table[key]).marks
            assert worker.table[raw] == calm.table[raw]
            assert worker.table.get(PAST + key) == calm.table.get(PAST + key)
    pages = [{raw: page for raw, page in one.table.items() if raw.startswith(IDS)} for one in (worker, calm)]
    assert pages[0] == pages[1]
    first: dict[str, DriftReport] = {}
    for report in worker.reports:
        first.setdefault(report.id, report)
    assert list(first.values()) == calm.reports


def mixed_stream() -> list[Verdict]:
    """Two models in turn, with parts unscored, challenges that pass, stale answers and second ones.

    At its end two scorers answer, of which one has not heard yet of an activation.
    """
    found = [
        verdict(
            5.0 * n, *([Decision.UNSCORED] if n % 5 == 0 else []), challenge=n % 37 == 1,
            model="b" if n >= 90 and n % 5 == 4 else "ab"[n // 40 % 2],
        )
        for n in range(120)
    ]  # fmt: skip
    for at in (47, 63, 90):  # the old model answers first for a frame of a moment ago
        found[at] = verdict(5.0 * at - 12, model="ab"[at // 40 % 2 - 1], id=f"stale-{at}")
    for at in (20, 55, 85, 110):
        found[at] = found[at - 7].model_copy(update={"artifact": artifact("c"), "id": found[at - 7].id})
    return found


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=4, max_size=12),
    crashes=st.dictionaries(st.integers(0, 11), st.tuples(st.integers(0, 6), st.integers(0, 20)), max_size=4),
)
@example(sizes=[87, 10, 23], crashes={1: (1, 0)})
@example(sizes=[91, 6, 23], crashes={1: (1, 0)})
@example(sizes=[89, 11, 20], crashes={1: (3, 5)})
def test_batches_and_a_crash_within_any_leave_what_verdicts_written_one_by_one_leave(
    sizes: list[int], crashes: dict[int, tuple[int, int]]
) -> None:
    stream = mixed_stream()
    calm, worker = Worker().feed(stream), Worker()
    begins = 0
    while begins < len(stream):
        number = begins % len(sizes)
        ends = min(begins + sizes[number], len(stream))
        writes, back = crashes.pop(number, (None, 0))
        worker.take_batch(stream, range(begins, ends), writes=writes)
        if writes is not None:
            worker.start()
            ends = max(0, begins - back)  # what was committed lags behind what was kept
        begins = ends
    books = [raw for raw in calm.table if raw.startswith(ALERTS)]
    assert {raw for raw in worker.table if raw.startswith(ALERTS)} == set(books)
    assert {raw: value for raw, value in worker.table.items() if raw not in books} == {
        raw: value for raw, value in calm.table.items() if raw not in books
    }
    first: dict[str, DriftReport] = {}
    for report in worker.reports:
        first.setdefault(report.id, report)
    assert list(first.values()) == calm.reports
    assert any(report.alerts for report in calm.reports)


def test_a_report_says_what_is_normal_and_how_far_it_is_from_it_once_that_was_learnt() -> None:
    def passing(number: int) -> Verdict:
        return verdict(number * 200.0, ratio=0.5 + 0.01 * (number % 7))

    plain, wide = (Worker(limit_factor=factor).feed([passing(n) for n in range(480)]) for factor in (1.0, 2.0))
    early = [one for one in plain.reports if one.closed < START + timedelta(hours=20)]
    assert early
    assert not any(one.expected or one.levels for one in early), "while it is learnt nothing is said"
    last = plain.reports[-1]
    assert last.expected["pass-ratio"] == pytest.approx(0.53, abs=0.01)
    assert 0 <= last.levels["pass-ratio"] < 1
    assert wide.reports[-1].levels["pass-ratio"] == pytest.approx(last.levels["pass-ratio"] / 2)
