"""The mailbox between a bridge and a PLC of a few lines: whatever is lost, repeated or late, nobody is misled."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.bridge import mailbox
from neverblink.bridge.mailbox import Mailbox
from neverblink.bridge.scheduler import MAX_IN_FLIGHT, Answer, Order
from neverblink.events import Outcome
from neverblink.plc.contract import MAIL_SLOTS, PROFILES, element_of, mail_name
from neverblink.plc.errors import PlcUnreachableError
from neverblink.plc.validation import Agreement
from neverblink.plc.word import decode_mail
from neverblink.simulation.plc.told_parts import ToldParts

PART_COUNT = 40
FAR = 100.0


class MailPlc:
    """The PLC's mailbox; what becomes of a write is drawn: done, done but not answered, done after the next ones."""

    profile = PROFILES["mailbox"]

    def __init__(self, draw: random.Random, trouble: float) -> None:
        self.words = [0] * MAIL_SLOTS
        self.told = ToldParts(1)
        self.draw, self.trouble = draw, trouble
        self.late: list[Mapping[str, int]] = []
        self.seen: list[int] = []
        for number in range(1, PART_COUNT + 1):
            self.told.triggered(number)

    async def write(self, values: Mapping[str, int]) -> dict[str, str | None]:
        if self.draw.random() < self.trouble:
            if self.draw.random() < 0.5:
                self.late.append(values)
            else:
                self._execute(values)
            raise PlcUnreachableError("the write was not answered")
        self._execute(values)
        if self.late and self.draw.random() < 0.5:
            self._execute(self.late.pop(0))
        return dict.fromkeys(values, None)

    async def read(self, names: Sequence[str]) -> dict[str, Any]:
        for slot, word in enumerate(self.words):
            self.told.read_mail(slot, word)
        return {name: list(self.told.acks) if name == "AckWord" else self.words[int(name[8:-1])] for name in names}

    def _execute(self, values: Mapping[str, int]) -> None:
        for name, word in values.items():
            found = element_of(name)
            assert found is not None
            self.words[found[1]] = word
            self.seen.append(word)


def box_of(plc: MailPlc) -> Mailbox:
    box = Mailbox(plc, Agreement(1024, 1, PART_COUNT))  # type: ignore[arg-type]
    box._boxes = [mailbox._Slot(decode_mail(word).seq) for word in plc.words]
    return box


def order(number: int, code: int, deadline: float = FAR) -> Order:
    return Order(1, number, code, deadline, 0.0, urgent=code != 1)


async def tell(box: Mailbox, orders: Sequence[Order], now: float = 0.0) -> Mapping[Order, Answer | None]:
    """Tell until all are answered or refused for now, as the scheduler does."""
    for _ in range(50):
        try:
            async with asyncio.timeout(0.05):
                return await box.tell(orders, now)
        except (PlcUnreachableError, TimeoutError):
            continue
    raise AssertionError("it was never answered")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 30), trouble=st.sampled_from([0.0, 0.2, 0.6]), restart=st.booleans())
def test_what_is_answered_is_what_the_plc_does_whatever_is_lost_or_late(
    seed: int, trouble: float, restart: bool
) -> None:
    draw = random.Random(seed)
    plc = MailPlc(draw, trouble)
    codes = {number: draw.choice([1, 2, 3]) for number in range(1, PART_COUNT + 1)}

    async def work() -> None:
        box, numbers = box_of(plc), list(codes)
        while numbers:
            batch = [numbers.pop(0) for _ in range(min(len(numbers), draw.randint(1, Mailbox.batch)))]
            answers = await tell(box, [order(number, codes[number]) for number in batch])
            assert {answer.outcome for answer in answers.values() if answer} == {Outcome.CONFIRMED}
            if restart and draw.random() < 0.2:
                box = box_of(plc)

    asyncio.run(work())
    assert {number: plc.told.decide(number) for number in codes} == codes


async def test_a_repeated_mail_has_the_same_seq_and_the_next_one_in_its_slot_another() -> None:
    plc = MailPlc(random.Random(1), 1.0)
    box, first = box_of(plc), order(1, 2, deadline=1.0)
    for _ in range(6):
        try:
            await box.tell([first], 0.0)
        except PlcUnreachableError:
            continue
    assert len(set(plc.seen)) == 1
    plc.trouble = 0.0
    await tell(box, [order(2, 2)], now=2.0)
    assert decode_mail(plc.words[0]).seq == decode_mail(plc.seen[0]).seq + 1


async def test_a_ninth_mail_waits_for_a_slot_and_a_slot_is_free_after_its_deadline() -> None:
    plc = MailPlc(random.Random(1), 0.0)
    box = box_of(plc)
    plc.trouble = 1.0
    for number in range(1, MAIL_SLOTS + 1):
        try:
            await box.tell([order(number, 2, deadline=1.0)], 0.0)
        except PlcUnreachableError:
            continue
    plc.trouble = 0.0
    (answer,) = (await box.tell([order(9, 2)], 0.5)).values()
    assert answer is not None
    assert (answer.outcome, answer.why) == (None, "every mail slot waits for an answer")
    (answer,) = (await box.tell([order(9, 2)], 1.5)).values()
    assert answer is not None
    assert answer.outcome is Outcome.CONFIRMED


def test_as_many_mails_fit_as_the_scheduler_has_under_way() -> None:
    assert Mailbox.batch * MAX_IN_FLIGHT == MAIL_SLOTS
    assert mail_name(7) == "CmdWord[7]"
