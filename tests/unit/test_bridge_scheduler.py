"""The scheduler under a clock of our own: nothing is written too late, nothing is lost."""

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from neverblink.bridge.scheduler import MAX_BATCH, MAX_IN_FLIGHT, Answer, Order, PlcView, Scheduler, Write
from neverblink.bridge.write_budget import MIN_SAMPLES, WriteBudget
from neverblink.events import Outcome

FLOOR_S, CAP_S = 0.02, 0.15


def budget(known_s: float | None = None) -> WriteBudget:
    made = WriteBudget(FLOOR_S, CAP_S)
    for _ in range(MIN_SAMPLES if known_s is not None else 0):
        made.observe(known_s or 0.0)
    return made


def scheduler(last_triggered: int = 1000, known_s: float | None = 0.001, slots: int = 64) -> Scheduler:
    made = Scheduler(budget(known_s))
    made.look(PlcView(1, last_triggered, slots, asked_at=0.0), 0.0)
    return made


def order(number: int = 1000, deadline: float = 1.0, accepted: float = 0.0, epoch: int = 1, code: int = 1) -> Order:
    return Order(epoch, number, code, deadline, accepted)


def only(made: Scheduler) -> tuple[Outcome, str | None]:
    (told,) = made.take_settled()
    return told.outcome, told.detail


def test_the_earliest_deadline_is_written_first() -> None:
    made = scheduler()
    for number in range(990, 1000):
        made.submit(order(number, deadline=2.0 - number / 1000), 0.0)
    write = made.next_write(0.0)
    assert write is not None
    assert [o.number for o in write.orders] == list(range(999, 999 - MAX_BATCH, -1))


def test_a_confirmed_write_settles_its_parts() -> None:
    made = scheduler()
    made.submit(order(), 0.0)
    write = made.next_write(0.0)
    assert write is not None
    made.answered(write, {write.orders[0]: None}, 0.001, 0.001)
    assert only(made)[0] is Outcome.CONFIRMED


def test_a_verdict_with_less_time_than_a_write_needs_is_late_and_never_written() -> None:
    made = scheduler(known_s=0.1)
    made.submit(order(deadline=0.09), 0.0)
    assert made.next_write(0.0) is None
    assert only(made)[0] is Outcome.LATE


def test_a_time_out_is_unknown_and_the_same_word_is_written_again() -> None:
    made = scheduler()
    made.submit(order(deadline=1.0), 0.0)
    first = made.next_write(0.0)
    assert first is not None
    made.unanswered(first, 0.15, 0.15)
    again = made.next_write(0.15)
    assert again is not None
    assert again.orders == first.orders
    made.answered(again, {}, 0.001, 0.2)
    (told,) = made.take_settled()
    assert (told.outcome, told.attempts) == (Outcome.CONFIRMED, 2)


def test_time_outs_until_the_deadline_are_reported_as_unknown() -> None:
    made = scheduler()
    made.submit(order(deadline=0.4), 0.0)
    now = 0.0
    while (write := made.next_write(now)) is not None:
        now += write.timeout_s
        made.unanswered(write, write.timeout_s, now)
    made.expire(0.5)
    assert only(made)[0] is Outcome.UNKNOWN


def test_a_refused_write_is_tried_again_and_then_failed_with_the_status() -> None:
    made = scheduler()
    made.submit(order(deadline=0.2), 0.0)
    now = 0.0
    while now < 0.3:
        if (write := made.next_write(now)) is not None:
            made.answered(write, {write.orders[0]: Answer("BadTypeMismatch")}, 0.001, now)
        now += 0.01
    outcome, detail = only(made)
    assert outcome is Outcome.FAILED
    assert "BadTypeMismatch" in (detail or "")


def test_a_plc_that_is_away_until_the_deadline_is_a_failure_not_lateness() -> None:
    made = Scheduler(budget(0.001))
    made.submit(order(deadline=0.5), 0.0)
    assert made.next_write(0.1) is None
    made.expire(0.5)
    assert only(made)[0] is Outcome.FAILED


def test_a_part_that_the_plc_never_triggered_is_refused_after_a_fresh_look() -> None:
    made = scheduler(last_triggered=1000)
    made.submit(order(number=1001, accepted=0.01), 0.01)
    assert made.next_write(0.01) is None
    assert made.wants_view()
    made.look(PlcView(1, 1000, 64, asked_at=0.02), 0.02)
    outcome, detail = only(made)
    assert outcome is Outcome.FAILED
    assert "has not triggered part 1001" in (detail or "")


def test_a_verdict_that_overtakes_our_look_at_the_plc_is_written_after_it() -> None:
    made = scheduler(last_triggered=1000)
    made.submit(order(number=1001, accepted=0.01), 0.01)
    made.look(PlcView(1, 1001, 64, asked_at=0.02), 0.02)
    assert made.next_write(0.02) is not None


def test_a_slot_that_belongs_to_a_newer_part_is_not_written() -> None:
    made = scheduler(last_triggered=1000, slots=64)
    made.submit(order(number=936), 0.0)
    assert made.next_write(0.0) is None


def test_nothing_survives_an_epoch() -> None:
    made = scheduler()
    made.submit(order(), 0.0)
    made.look(PlcView(2, 3, 64, asked_at=0.1), 0.1)
    assert only(made)[0] is Outcome.FAILED
    assert made.next_write(0.1) is None


def test_more_parts_than_slots_are_refused_not_queued() -> None:
    made = scheduler(slots=4)
    for number in range(996, 1001):
        made.submit(order(number), 0.0)
    assert made.waiting == 4
    assert only(made)[0] is Outcome.FAILED


def test_the_budget_is_the_rolling_p99_between_floor_and_cap() -> None:
    made = budget()
    assert made.seconds == CAP_S
    for _ in range(300):
        made.observe(0.001)
    assert made.seconds == FLOOR_S
    for _ in range(10):
        made.observe(0.08)
    assert made.seconds == 0.08
    for _ in range(10):
        made.observe(9.0)
    assert made.seconds == CAP_S
    for _ in range(300):
        made.observe(0.03)
    assert made.seconds == 0.03


@dataclass
class Plant:
    """A PLC in miniature: every write takes a time and an end that the test draws.

    A write whose connection breaks goes on inside the PLC, and nobody hears of its end.
    """

    made: Scheduler
    now: float = 0.0
    under_way: list[tuple[float, Write, str]] = field(default_factory=list)
    written: list[tuple[float, Order]] = field(default_factory=list)

    def advance(self, to: float, answers: list[tuple[float, str]]) -> None:
        while True:
            while (write := self.made.next_write(self.now)) is not None:
                took, end = answers[len(self.written) % len(answers)]
                self.written += [(self.now, o) for o in write.orders]
                late = took > write.timeout_s
                self.under_way.append((self.now + min(took, write.timeout_s), write, "unanswered" if late else end))
                assert sum(end != "unheard" for _, _, end in self.under_way) <= MAX_IN_FLIGHT
                assert len(write.orders) <= MAX_BATCH
            due = [entry for entry in self.under_way if entry[0] <= to]
            if not due:
                break
            entry = min(due, key=lambda found: found[0])
            self.under_way.remove(entry)
            self.now, write, end = entry
            if end == "unheard":
                continue
            if end == "unanswered":
                self.made.unanswered(write, 0.1, self.now)
            else:
                refused = Answer("BadOutOfService") if end == "refused" else None
                self.made.answered(write, dict.fromkeys(write.orders, refused), 0.01, self.now)
        self.now = to
        self.made.expire(to)

    def disconnect(self) -> None:
        self.under_way = [(at, write, "unheard") for at, write, _ in self.under_way]
        self.made.disconnected()


@settings(max_examples=150, deadline=None)
@given(
    orders=st.lists(
        st.tuples(st.floats(0, 2), st.integers(1, 140), st.floats(-0.1, 1.0), st.sampled_from([1, 1, 1, 2])),
        max_size=40,
        unique_by=lambda drawn: (drawn[1], drawn[3]),
    ),
    answers=st.lists(
        st.tuples(st.floats(0.0005, 0.4), st.sampled_from(["good", "good", "refused", "unanswered"])),
        min_size=1,
        max_size=10,
    ),
    outages=st.lists(st.tuples(st.floats(0, 2), st.floats(0.05, 0.5)), max_size=2),
    known_s=st.sampled_from([None, 0.001, 0.05]),
)
# A write was under way when the connection broke, and two more were begun on the next one: the bound is a connection's.
@example(orders=[(0.0, 37, 1.0, 1), (0.0, 38, 1.0, 1)], answers=[(0.25, "good")], outages=[(0.0, 0.0625)], known_s=None)
def test_every_part_gets_one_outcome_and_nothing_is_written_after_its_deadline(
    orders: list[tuple[float, int, float, int]],
    answers: list[tuple[float, str]],
    outages: list[tuple[float, float]],
    known_s: float | None,
) -> None:
    made = scheduler(last_triggered=100, known_s=known_s)
    plant = Plant(made)
    steps = sorted(
        [(at, "submit", order(number, at + left, at, epoch)) for at, number, left, epoch in orders]
        + [(at, "away", None) for at, _ in outages]
        + [(at + length, "back", None) for at, length in outages]
        + [(tick / 10, "look", None) for tick in range(40)],
        key=lambda step: step[0],
    )
    away = 0
    for at, what, given_order in steps:
        plant.advance(at, answers)
        if what == "submit":
            assert given_order is not None
            made.submit(given_order, at)
        elif what == "away":
            away += 1
            plant.disconnect()
        elif what == "back":
            away -= 1
        elif not away:
            made.look(PlcView(1, 100, 64, asked_at=at), at)
    plant.advance(10.0, answers)
    told = made.take_settled()

    assert made.waiting == 0
    assert sorted((t.order.epoch, t.order.number) for t in told) == sorted((e, n) for _, n, _, e in orders)
    for at, written in plant.written:
        assert at < written.deadline
        assert written.epoch == 1
        assert 100 - 64 < written.number <= 100
    for t in told:
        if t.outcome is Outcome.CONFIRMED:
            assert t.at <= t.order.deadline
            assert t.attempts >= 1
        if t.outcome is Outcome.LATE:
            assert t.attempts == 0


def test_where_silence_would_pass_a_part_it_is_tried_into_the_margin_and_the_plc_says_whether_in_time() -> None:
    for said, expected in ((Outcome.CONFIRMED, Outcome.CONFIRMED), (Outcome.LATE, Outcome.LATE)):
        made = Scheduler(budget(0.1), 1, grace_s=0.05)
        made.look(PlcView(1, 1000, 64, asked_at=0.0), 0.0)
        made.submit(Order(1, 999, 1, 0.09, 0.0), 0.0)
        assert only(made)[0] is Outcome.LATE
        made.submit(Order(1, 1000, 3, 0.09, 0.0, urgent=True), 0.0)
        write = made.next_write(0.12)
        assert write is not None
        made.answered(write, {write.orders[0]: Answer("the PLC's word", said)}, 0.001, 0.13)
        assert only(made)[0] is expected
        made.submit(Order(1, 1000, 3, 0.09, 0.0, urgent=True), 0.2)
        assert only(made)[0] is Outcome.LATE


def test_writes_that_ended_with_their_connection_unheard_hold_up_nothing() -> None:
    made = scheduler()
    for number in range(1000 - MAX_IN_FLIGHT, 1000):
        made.submit(order(number), 0.0)
        assert made.next_write(0.0) is not None
    made.disconnected()
    made.look(PlcView(1, 1000, 64, asked_at=0.1), 0.1)
    again = made.next_write(0.1)
    assert again is not None
    assert len(again.orders) == MAX_IN_FLIGHT
    made.answered(again, {}, 0.001, 0.2)
    assert [told.outcome for told in made.take_settled()] == [Outcome.CONFIRMED] * MAX_IN_FLIGHT


def test_an_answer_that_comes_after_its_connection_changes_nothing() -> None:
    made = scheduler()
    made.submit(order(), 0.0)
    lost = made.next_write(0.0)
    assert lost is not None
    made.disconnected()
    made.unanswered(lost, 0.15, 0.15)
    made.look(PlcView(1, 1000, 64, asked_at=0.2), 0.2)
    assert made.next_write(0.2) is not None
    made.unanswered(lost, 0.15, 0.25)
    assert made.next_write(0.25) is None  # it is under way once, on the new connection
