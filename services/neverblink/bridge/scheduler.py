"""What to write to the PLC now. Pure: it is told the time, and says what to do; it writes nothing itself.

A write that timed out is unknown, not failed: the server may still execute it, and nobody can recall it. The
same word is written again until the deadline; that is harmless, because the word names its part.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from neverblink.bridge.write_budget import WriteBudget
from neverblink.events import Outcome
from neverblink.plc.contract import MAX_SLOTS, Code
from neverblink.plc.word import NUMBERS, encode_verdict, parts_behind

MAX_IN_FLIGHT = 2  # more only adds queueing inside the PLC's server: 10–50 in flight cost 5–50 ms each
MAX_BATCH = 8
REFUSED_PAUSE_S = 0.05
_AHEAD = NUMBERS // 2


@dataclass(frozen=True, slots=True)
class Order:
    """A part's word, to be with the PLC before `deadline`. Times are seconds of one wall clock.

    `urgent` is a part that would pass in silence and must not: it is tried to the last. `inspect` is one that people
    shall inspect if the gate passes it.
    """

    epoch: int
    number: int
    code: int
    deadline: float
    accepted: float
    urgent: bool = False
    inspect: bool = False

    @property
    def word(self) -> int:
        """Return the verdict word."""
        return encode_verdict(self.epoch, self.number, self.code)


@dataclass(frozen=True, slots=True)
class PlcView:
    """What the PLC said when it was last asked, at `asked_at`."""

    epoch: int
    last_triggered: int
    slots: int
    asked_at: float


@dataclass(frozen=True, slots=True)
class Write:
    """Orders that go into one request, and how long to wait for its answer."""

    orders: tuple[Order, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a PLC says to an order instead of a plain yes. Without an outcome: not now, to be told again."""

    why: str | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """The one outcome of an order."""

    order: Order
    outcome: Outcome
    at: float
    attempts: int
    detail: str | None = None


@dataclass(slots=True)
class _Entry:
    order: Order
    attempts: int = 0
    in_flight: bool = False
    not_before: float = 0.0
    refusal: str | None = None


class Scheduler:
    """Earliest deadline first, bounded by the slots; every order gets exactly one outcome.

    An urgent order is still tried `grace_s` after its deadline: the PLC says whether it came too late.
    """

    def __init__(self, budget: WriteBudget, batch: int = MAX_BATCH, grace_s: float = 0.0) -> None:
        self._budget = budget
        self._batch = batch
        self._grace_s = grace_s
        self._entries: dict[tuple[int, int], _Entry] = {}
        self._view: PlcView | None = None
        self._under_way: list[Write] = []
        self._settled: list[Told] = []
        self._held = False
        self._urgent_holds = False

    @property
    def waiting(self) -> int:
        """Return how many orders have no outcome yet."""
        return len(self._entries)

    def submit(self, order: Order, now: float) -> None:
        """Take an order. A part is ordered once; a second order for it is a programming error."""
        key = order.epoch, order.number
        if key in self._entries:
            raise ValueError(f"part {order.number} of epoch {order.epoch} is already ordered")
        entry = self._entries[key] = _Entry(order)
        if len(self._entries) > (self._view.slots if self._view is not None else MAX_SLOTS):
            self._settle(entry, Outcome.FAILED, now, "more parts are waiting than the PLC has slots")
        else:
            self._give_up_if_hopeless(entry, now)

    def hold(self, held: bool, *, urgent: bool = False) -> None:
        """Take that the line is on hold, or no longer: what is not with the PLC yet goes there as held.

        A pass that is being written just now may arrive; if its answer is not heard, the part is told again as held.
        """
        self._held, self._urgent_holds = held, urgent
        for entry in self._entries.values():
            if not entry.in_flight:
                self._heed_hold(entry)

    def look(self, view: PlcView, now: float) -> None:
        """Take what the PLC says about itself, and drop what it makes pointless."""
        self._view = view
        for entry in list(self._entries.values()):
            if not entry.in_flight and view.asked_at >= entry.order.accepted:
                self._drop_if_foreign(entry, view, now)

    def disconnected(self) -> None:
        """Forget the PLC's state and the writes under way: nothing is written until the PLC is known again.

        A write whose task was cancelled before it began tells nobody, so its orders are taken back here.
        """
        self._view = None
        for write in list(self._under_way):
            for entry in self._landed(write):
                self._heed_hold(entry)

    def wants_view(self) -> bool:
        """Return whether an order waits to learn if the PLC has triggered its part."""
        return self._view is not None and any(
            not entry.in_flight and not self._known(entry.order, self._view) for entry in self._entries.values()
        )

    def next_write(self, now: float) -> Write | None:
        """Return what to write now, None when nothing is due or enough is under way."""
        self.expire(now)
        if self._view is None or len(self._under_way) >= MAX_IN_FLIGHT:
            return None
        view = self._view
        due = sorted(
            (
                entry
                for entry in self._entries.values()
                if not entry.in_flight and entry.not_before <= now and self._known(entry.order, view)
            ),
            key=lambda entry: entry.order.deadline,
        )[: self._batch]
        if not due:
            return None
        for entry in due:
            entry.in_flight = True
            entry.attempts += 1
        urgent = any(entry.order.urgent for entry in due)
        left = self._budget.cap_s if urgent else due[0].order.deadline - now
        write = Write(tuple(entry.order for entry in due), min(self._budget.cap_s, left))
        self._under_way.append(write)
        return write

    def answered(self, write: Write, answers: Mapping[Order, Answer | None], took_s: float, now: float) -> None:
        """Take the PLC's answer to each order; None or nothing is a plain yes."""
        self._budget.observe(took_s)
        for entry in self._landed(write):
            answer = answers.get(entry.order)
            if answer is not None and answer.outcome is not None:
                self._settle(entry, answer.outcome, now, answer.why)
            elif answer is not None:
                self._heed_hold(entry)
                entry.refusal = answer.why
                entry.not_before = now + REFUSED_PAUSE_S
                self._give_up_if_hopeless(entry, now)
            elif self._view is not None and entry.order.epoch != self._view.epoch:
                self._settle(entry, Outcome.FAILED, now, _new_epoch(self._view.epoch))
            elif now > entry.order.deadline:
                self._settle(entry, Outcome.UNKNOWN, now, "the PLC confirmed the write after the deadline")
            else:
                self._settle(entry, Outcome.CONFIRMED, now)

    def unanswered(self, write: Write, took_s: float, now: float) -> None:
        """Take that no answer came: the write may have happened, may still happen, or never will."""
        self._budget.observe(took_s)
        for entry in self._landed(write):
            self._heed_hold(entry)
            entry.refusal = None
            self._give_up_if_hopeless(entry, now)

    def expire(self, now: float) -> None:
        """Give up what cannot be with the PLC in time any more."""
        for entry in list(self._entries.values()):
            if not entry.in_flight:
                self._give_up_if_hopeless(entry, now)

    def give_up(self, why: str, now: float) -> None:
        """Settle everything: the bridge stops. A write under way is unknown, the rest failed."""
        for entry in list(self._entries.values()):
            outcome = Outcome.UNKNOWN if entry.attempts and entry.refusal is None else Outcome.FAILED
            self._settle(entry, outcome, now, why)

    def take_settled(self) -> list[Told]:
        """Return the outcomes since the last call."""
        settled, self._settled = self._settled, []
        return settled

    def next_event(self, now: float) -> float | None:
        """Return when something changes by itself: a pause ends or an order becomes hopeless."""
        times = [
            max(entry.not_before, now) if entry.not_before > now else entry.order.deadline - self._needed_s(entry)
            for entry in self._entries.values()
            if not entry.in_flight
        ]
        return min(times, default=None)

    def _landed(self, write: Write) -> list[_Entry]:
        if not any(one is write for one in self._under_way):
            return []  # forgotten with its connection
        self._under_way = [one for one in self._under_way if one is not write]
        found = [self._entries.get((order.epoch, order.number)) for order in write.orders]
        entries = [entry for entry in found if entry is not None]
        for entry in entries:
            entry.in_flight = False
        return entries

    def _heed_hold(self, entry: _Entry) -> None:
        if self._held and entry.order.code != Code.REJECT:
            entry.order = replace(entry.order, code=Code.HELD, urgent=self._urgent_holds)

    def _known(self, order: Order, view: PlcView) -> bool:
        return order.epoch == view.epoch and parts_behind(view.last_triggered, order.number) < view.slots

    def _drop_if_foreign(self, entry: _Entry, view: PlcView, now: float) -> None:
        order, behind = entry.order, parts_behind(view.last_triggered, entry.order.number)
        if order.epoch != view.epoch:
            self._settle(entry, Outcome.FAILED, now, _new_epoch(view.epoch))
        elif behind >= _AHEAD:
            why = f"the PLC has not triggered part {order.number}; its last is {view.last_triggered}"
            self._settle(entry, Outcome.FAILED, now, why)
        elif behind >= view.slots:
            why = f"the slot of part {order.number} belongs to a newer part already"
            self._settle(entry, Outcome.UNKNOWN if entry.attempts else Outcome.LATE, now, why)

    def _give_up_if_hopeless(self, entry: _Entry, now: float) -> None:
        left, needed = entry.order.deadline - now, self._needed_s(entry)
        if left >= needed:
            return
        if entry.refusal is not None:
            self._settle(entry, Outcome.FAILED, now, f"the PLC refuses the write: {entry.refusal}")
        elif entry.attempts:
            self._settle(entry, Outcome.UNKNOWN, now, "no write was answered before the deadline")
        elif self._view is None:
            self._settle(entry, Outcome.FAILED, now, "the PLC was away until the deadline")
        else:
            why = f"{left * 1000:.0f} ms were left, a write may need {self._budget.seconds * 1000:.0f} ms"
            self._settle(entry, Outcome.LATE, now, why)

    def _needed_s(self, entry: _Entry) -> float:
        return -self._grace_s if entry.order.urgent else self._budget.seconds

    def _settle(self, entry: _Entry, outcome: Outcome, now: float, detail: str | None = None) -> None:
        order = entry.order
        del self._entries[order.epoch, order.number]
        self._settled.append(Told(order, outcome, now, entry.attempts, detail))


def _new_epoch(epoch: int) -> str:
    return f"the PLC is in epoch {epoch} now, and the part belongs to another one"
