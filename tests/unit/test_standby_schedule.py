"""When a standby scores other scorers' frames, on a simulated clock: never too soon, never twice, never at a cost."""

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.kafka import Place
from neverblink.kafka.group_progress import Progress
from neverblink.scorer.deadline_batcher import DeadlineQueue
from neverblink.scorer.standby.answers import KEPT, MOST_APART, Answer, Answers, Front
from neverblink.scorer.standby.schedule import SHARE, HedgeSchedule, Owed, Took
from neverblink.scorer.standby.stalls import LOOK_S, SILENT_S, Stalls

STEP_S = 0.01
LONG_S = 8.0
BURST_S = 10.0
# Each example is seconds of a line.
simulated = settings(max_examples=4)


@dataclass
class Run:
    """One standby with lines of its own beside one other scorer, which does or does not answer. Seconds."""

    batch_s: float = 0.02
    """What a frame takes of any engine."""
    own_every_s: float = 0.05
    theirs_every_s: float = 0.05
    left_s: float = 1.5
    answers_after_s: float | None = 0.1
    """How long the other one takes for a frame, None: it is dead."""
    dies_at_s: float = float("inf")
    own_backlog_s: float = 0.0
    """So long its own frames come when hardly any time is left: it was away itself."""
    seed: int = 0
    log: list[tuple[float, str, bool]] = field(default_factory=list)
    """When a verdict of which frame came, and whether the standby sent it."""
    begun: list[tuple[float, str]] = field(default_factory=list)
    late_own: list[str] = field(default_factory=list)
    spent: list[tuple[float, float]] = field(default_factory=list)
    """When the standby's engine began with frames of the other one, and for how long."""
    theirs: dict[str, float] = field(default_factory=dict)

    def run(self, seconds: float = LONG_S) -> "Run":
        drawn = random.Random(self.seed)
        schedule: HedgeSchedule[str] = HedgeSchedule(bound=64, max_bytes=1 << 20, now=0.0)
        queue: DeadlineQueue[str] = DeadlineQueue(max_batch=4, max_queue_delay_s=0.0)
        queue.times.learn(1, self.batch_s)
        stalls, answers, deadlines = Stalls(), Answers(), dict[str, float]()
        end, read_to, now, busy_until, looked = 0, 0, 0.0, 0.0, -1.0
        batch, under_way, pending = list[str](), set[str](), list[tuple[float, str]]()

        def answer(name: str, at: float, by_standby: bool) -> None:
            self.log.append((at, name, by_standby))
            answers.take(name, Answer(Place(0, len(self.log)), by_standby))
            schedule.let_go(name)
            stalls.answered(0, int(name[1:]), at, by_standby=by_standby)

        next_own, next_theirs, free_at = drawn.random() * 0.05, drawn.random() * 0.05, 0.0
        numbers = 0
        while now < seconds:
            now = round(now + STEP_S, 6)
            while next_own <= now:
                left = self.left_s if next_own > self.own_backlog_s else self.batch_s + 2 * STEP_S
                deadlines[f"o{numbers}"] = next_own + left
                queue.put(f"o{numbers}", next_own + left, "own", now)
                numbers += 1
                next_own += self.own_every_s
            while next_theirs <= now:
                name = f"t{end}"
                self.theirs[name] = next_theirs + self.left_s
                end += 1
                if self.answers_after_s is not None and next_theirs < self.dies_at_s:
                    free_at = max(free_at, next_theirs) + self.batch_s
                    pending.append((max(free_at, next_theirs + self.answers_after_s), name))
                next_theirs += self.theirs_every_s
            while pending and pending[0][0] <= now:
                at, name = pending.pop(0)
                if at < self.dies_at_s:
                    answer(name, now, False)
            if now - looked >= LOOK_S:
                looked = now
                stalls.looked({0: Progress(0, end)}, now)
            if batch and now >= busy_until:
                for name in batch:
                    if name[0] == "t":
                        under_way.discard(name)
                        if answers.first(name) is None and now <= self.theirs[name]:
                            answer(name, now, True)
                    elif now > deadlines[name]:
                        self.late_own.append(name)
                batch = []
            silent = stalls.silent(now, patience_s=max(SILENT_S, 4 * self.batch_s))
            wanted = stalls.stalled() | dict.fromkeys(silent, 0)
            while wanted and read_to < end and schedule.has_room(0, 1):
                name = f"t{read_to}"
                if answers.first(name) is None:
                    schedule.hold(Owed(self.theirs[name] - 0.1, 0, read_to, name, 1, name))
                read_to += 1
            schedule.too_late(now, self.batch_s)
            needs_s = 2 * self.batch_s + 0.1
            room = 4 - len(under_way)
            for owed in schedule.due(now, needs_s=needs_s, each_s=self.batch_s, silent=silent, room=room):
                under_way.add(owed.verdict)
                self.begun.append((now, owed.verdict))
                queue.put_spare(owed.verdict, first=True)
            if not batch:
                taken = queue.take(now)
                self.late_own += [one for one in taken.expired if one[0] == "o"]
                batch = list(taken.batch)
                busy_until = now + self.batch_s * len(batch)
                self.spent.append((now, self.batch_s * sum(name[0] == "t" for name in batch)))
        return self

    def spent_s(self, since: float) -> float:
        return sum(took for at, took in self.spent if at >= since)

    def in_time(self, since: float, until: float) -> float:
        """Return the share of the other one's frames due in that time that were answered in time."""
        firsts = {}
        for at, name, _ in self.log:
            firsts.setdefault(name, at)
        due = [name for name, deadline in self.theirs.items() if since <= deadline < until]
        return sum(firsts.get(name, float("inf")) <= self.theirs[name] for name in due) / len(due)


RATES = st.floats(0.03, 0.3)


@simulated
@given(RATES, RATES, st.floats(0.01, 0.6), st.integers(0, 99))
def test_nothing_is_scored_twice_while_its_own_scorer_is_in_time(
    own: float, theirs: float, takes: float, seed: int
) -> None:
    run = Run(own_every_s=own, theirs_every_s=theirs, answers_after_s=takes, seed=seed).run()
    assert run.begun == []


@simulated
@given(st.sampled_from([1.5, 3.0, 10.0]), st.integers(0, 99))
def test_a_dead_scorers_parts_are_answered_in_time_by_one_with_time_to_spare(left: float, seed: int) -> None:
    run = Run(left_s=left, dies_at_s=3.0, own_every_s=0.06, theirs_every_s=0.06, seed=seed).run(left + 6)
    assert run.in_time(0, left + 5.5) == 1
    assert run.late_own == []
    assert any(by_standby for _, _, by_standby in run.log)


@simulated
@given(st.integers(0, 99))
def test_one_that_came_back_itself_just_before_helps_the_next(seed: int) -> None:
    run = Run(batch_s=0.05, dies_at_s=4.5, own_every_s=0.12, theirs_every_s=0.12, own_backlog_s=2.0, seed=seed).run(8)
    assert run.in_time(0, 7.5) == 1


@simulated
@given(st.floats(0.015, 0.06), RATES, st.integers(0, 99))
def test_its_own_lines_never_wait_for_others_however_many_those_are(own: float, theirs: float, seed: int) -> None:
    # Below 0.02 s its own frames alone are more than it can do.
    alone = Run(own_every_s=own, answers_after_s=None, dies_at_s=0, theirs_every_s=1e9, seed=seed).run()
    beside = Run(own_every_s=own, answers_after_s=None, dies_at_s=0, theirs_every_s=theirs / 4, seed=seed).run()
    assert len(beside.late_own) <= len(alone.late_own) + 2


@simulated
@given(st.floats(0.04, 0.2), st.integers(0, 99))
def test_when_everything_is_slow_there_is_no_storm(slow: float, seed: int) -> None:
    # The other one has more than it can do, answers too late, and lives; this one has time, and would like to help.
    run = Run(batch_s=slow, own_every_s=4 * slow, theirs_every_s=0.8 * slow, answers_after_s=1.4, seed=seed).run()
    # Before its first answer nobody knew that it lives, and a batch may have been begun.
    assert run.spent_s(since=1.5) <= SHARE * (LONG_S + BURST_S) + 4 * slow
    assert run.begun != []


@simulated
@given(st.integers(0, 99), st.floats(0.5, 6))
def test_no_frame_is_begun_twice_nor_when_it_is_answered(seed: int, dies: float) -> None:
    run = Run(dies_at_s=dies, seed=seed).run()
    assert max(Counter(name for _, name in run.begun).values(), default=0) <= 1
    answered_by_owner = {name: at for at, name, by_standby in run.log if not by_standby}
    assert all(at <= answered_by_owner.get(name, at) for at, name in run.begun)
    assert max(Counter(name for _, name, _ in run.log).values()) == 1


def owed(number: int, by: float, partition: int = 0, size: int = 1) -> Owed[int]:
    return Owed(by, partition, number, f"t{number}", size, number)


def test_where_a_backlog_must_be_through_in_time_it_is_begun_so_early_that_it_is() -> None:
    def begun(count: int, now: float, silent: dict[int, float]) -> int:
        schedule: HedgeSchedule[int] = HedgeSchedule(bound=100, max_bytes=100, now=0)
        for number in range(count):
            schedule.hold(owed(number, by=10))
        return len(schedule.due(now, needs_s=0.5, each_s=0.2, silent=silent, room=count))

    assert (begun(1, 9.49, {0: 0}), begun(1, 9.51, {0: 0})) == (0, 1)
    # The last of ten needs half a second, and nine are before it.
    assert (begun(10, 7.69, {0: 0}), begun(10, 7.71, {0: 0}), begun(10, 7.91, {0: 0})) == (0, 1, 2)
    # The longer it is silent, the less is left to chance.
    assert (begun(1, 9.19, {0: 0.3}), begun(1, 9.21, {0: 0.3})) == (0, 1)
    assert (begun(1, 8.49, {0: 99}), begun(1, 8.51, {0: 99})) == (0, 1)
    # Whose scorer lives is not helped before its time.
    assert begun(10, 9.49, {}) == 0


def test_a_slow_engine_helps_one_that_lives_with_a_frame_now_and_then_and_not_never() -> None:
    schedule: HedgeSchedule[int] = HedgeSchedule(bound=100, max_bytes=100, now=0)
    began = []
    for second in range(40):
        schedule.hold(owed(second, by=second + 1.0))
        began += schedule.due(float(second), needs_s=1.5, each_s=1.0, silent={}, room=4)
    # Half a second is saved up, and one in twenty comes in.
    assert len(began) == 2


def test_what_is_held_of_a_partition_that_comes_here_is_kept_until_its_scorer_has_read_it() -> None:
    schedule: HedgeSchedule[int] = HedgeSchedule(bound=100, max_bytes=100, now=0)
    for number in range(4):
        schedule.hold(owed(number, by=10, partition=number % 2))
    schedule.keep_only({1}, {0: 0})
    assert len(schedule) == 4
    schedule.keep_only({1}, {0: 1})
    assert [one.offset for one in schedule.due(10.0, needs_s=0, each_s=0, silent={0: 0, 1: 0}, room=4)] == [2, 1, 3]
    schedule.hold(owed(4, by=10))
    schedule.keep_only({1}, {})
    assert len(schedule) == 0


def test_earliest_deadlines_go_first_and_no_more_than_there_is_room_for() -> None:
    schedule: HedgeSchedule[int] = HedgeSchedule(bound=100, max_bytes=100, now=0)
    for number, by in enumerate([3.0, 1.0, 2.0]):
        schedule.hold(owed(number, by))
    due = schedule.due(5.0, needs_s=0.1, each_s=0.1, silent={0: 0}, room=2)
    assert [one.item for one in due] == [1, 2]
    assert len(schedule) == 1


def test_what_it_holds_is_bounded_in_frames_bytes_and_for_each_partition() -> None:
    schedule: HedgeSchedule[int] = HedgeSchedule(bound=4, max_bytes=100, now=0)
    for number in range(2):
        assert schedule.has_room(0, partitions=2)
        schedule.hold(owed(number, by=10))
    assert not schedule.has_room(0, partitions=2)
    assert schedule.has_room(1, partitions=2)
    schedule.hold(owed(2, by=10, partition=1, size=100))
    assert not schedule.has_room(1, partitions=2)
    assert schedule.let_go("t2") is not None
    assert schedule.let_go("t2") is None
    assert schedule.has_room(1, partitions=2)


def test_a_stall_is_told_from_work_from_a_look_that_came_late_and_from_a_standbys_own_answers() -> None:
    stalls = Stalls()
    stalls.looked({3: Progress(10, 12)}, 0.0)
    assert stalls.stalled() == {}, "two frames have just come"
    stalls.looked({3: Progress(10, 14)}, 0.2)
    assert stalls.stalled() == {3: 10}
    stalls.answered(3, 11, 0.3, by_standby=False)
    stalls.answered(3, 10, 0.3, by_standby=False)
    assert stalls.stalled() == {}, "what has come since has not waited for a look"
    stalls.looked({3: Progress(10, 14)}, 0.4)
    for number in range(5, 9):
        stalls.looked({3: Progress(10, 14)}, 0.2 * number)
        stalls.answered(3, 12, 0.2 * number, by_standby=True)
    assert stalls.stalled() == {3: 13}
    assert stalls.silent(1.6) == {3: pytest.approx(0.7)}
    stalls.looked({3: Progress(14, 14)}, 1.8)
    assert (stalls.stalled(), stalls.silent(1.8)) == ({}, {})
    stalls.looked({3: Progress(14, 20)}, 2.0)
    stalls.looked({3: Progress(14, 20)}, 9.0)
    assert stalls.silent(9.0) == {}, "nobody looked meanwhile"
    stalls.looked({3: Progress(14, 20)}, 9.2)
    assert stalls.stalled() == {3: 14}, "and what waits is not forgotten"


def test_one_who_looks_seldom_forgets_no_frame_that_waits() -> None:
    stalls = Stalls()
    for number in range(4):
        stalls.looked({0: Progress(2, 5)}, 3.0 * number)
    stalls.looked({0: Progress(2, 5)}, 9.2)
    assert stalls.stalled() == {0: 2}


@given(st.permutations(range(12)), st.integers(0, 12))
def test_the_front_is_the_first_offset_without_an_answer_in_whatever_order_they_come(
    offsets: list[int], told: int
) -> None:
    front = Front(0)
    for offset in offsets[:told]:
        front.add(offset)
    assert front.low == next(number for number in range(13) if number not in set(offsets[:told]))
    front.begin_at(6)
    assert front.low == next(number for number in range(6, 13) if number not in set(offsets[:told]))


def test_how_long_a_frame_takes_is_learnt_of_those_that_were_given_up_too() -> None:
    took = Took()
    for _ in range(20):
        took.learn(0.05)
    took.at_least(0.01)
    assert took.cautiously() == pytest.approx(0.05)
    for _ in range(5):
        took.at_least(0.3)
    assert 0.3 < (took.cautiously() or 0) < 0.5


def test_a_gap_that_stays_is_passed_and_old_answers_are_forgotten() -> None:
    front = Front(0)
    for offset in range(1, MOST_APART + 3):
        front.add(offset)
    assert front.low == MOST_APART + 3
    answers = Answers()
    for number in range(KEPT + 1):
        assert answers.take(str(number), Answer(Place(0, number), False))
    assert len(answers) == KEPT
    assert answers.first("0") is None


def test_the_first_verdict_stands_and_spares_the_scorer_of_the_frame_what_it_could_only_repeat() -> None:
    answers = Answers()
    assert answers.take("by another", Answer(Place(0, 1), True))
    assert not answers.take("by another", Answer(Place(0, 2), False))
    assert answers.take("by itself", Answer(Place(0, 3), False))
    assert answers.spares_the_owner("by another", is_late=False)
    # Its evidence may be missing, while there is time it is made again.
    assert not answers.spares_the_owner("by itself", is_late=False)
    assert answers.spares_the_owner("by itself", is_late=True)
    assert not answers.spares_the_owner("by nobody", is_late=True)
