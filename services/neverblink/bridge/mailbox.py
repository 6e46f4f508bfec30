"""Profile B: eight mails of seq, part and code, each acknowledged by the PLC's program. Silence passes.

A mail names its part and epoch, and telling a part the same thing twice changes nothing, so a mail that arrives late,
twice or out of order does no harm. Seq makes each mail in a slot unlike the one before it, and its acknowledgement too.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from neverblink.bridge.profile import Profile, answer_of
from neverblink.bridge.scheduler import MAX_IN_FLIGHT, Answer, Order
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import ACK, MAIL_SLOTS, Code, mail_name
from neverblink.plc.errors import PlcUnreachableError
from neverblink.plc.word import acknowledged, decode_mail, encode_mail, next_seq

ASK_EVERY_S = 0.01  # a PLC's cycle; asking faster finds the same answer
_CODES = 0xF


@dataclass(slots=True)
class _Slot:
    seq: int
    order: Order | None = None

    def take(self, order: Order) -> None:
        self.order, self.seq = order, next_seq(self.seq)

    def free(self, order: Order) -> None:
        if self.order == order:  # a later order may have taken the slot of one whose deadline had passed
            self.order = None

    def word(self) -> int:
        order = self.order
        assert order is not None
        # Four bits: reject reasons do not fit into a mail.
        code = order.code if order.code <= _CODES else Code.REJECT
        return encode_mail(self.seq, order.epoch, order.number, code)


class Mailbox(Profile):
    """An order keeps its slot and seq until it is answered or its deadline has passed, however often it is sent."""

    batch = MAIL_SLOTS // MAX_IN_FLIGHT
    _boxes: list[_Slot]

    @classmethod
    async def open(cls, connection: PlcConnection) -> Self:
        """Validate, and go on from the seq that lies in each slot: an equal word is one that the PLC has answered."""
        made = await super().open(connection)
        names = [mail_name(index) for index in range(MAIL_SLOTS)]
        found = await connection.read(names)
        if None in found.values():
            raise PlcUnreachableError("the PLC does not tell what lies in its mailbox")
        made._boxes = [_Slot(decode_mail(found[name]).seq) for name in names]
        return made

    async def tell(self, orders: Sequence[Order], now: float) -> Mapping[Order, Answer | None]:
        """Write the orders' mails in one request, and wait until the PLC's program has answered them all."""
        boxes = {order: self._box_for(order, now) for order in orders}
        answers: dict[Order, Answer | None] = {
            order: Answer("every mail slot waits for an answer") for order, index in boxes.items() if index is None
        }
        sent = {index: (order, self._boxes[index].word()) for order, index in boxes.items() if index is not None}
        if not sent:
            return answers
        results = await self._connection.write({mail_name(index): word for index, (_, word) in sent.items()})
        for index in list(sent):
            if (status := results[mail_name(index)]) is not None:
                answers[sent.pop(index)[0]] = Answer(status)
        while sent:
            acks: Sequence[int] = (await self._connection.read([ACK.name]))[ACK.name] or ()
            for index, ack in enumerate(acks):
                if index in sent and (said := acknowledged(sent[index][1], ack)) is not None:
                    order, _ = sent.pop(index)
                    answers[order] = answer_of(said)
                    self._boxes[index].free(order)
            if sent:
                await asyncio.sleep(ASK_EVERY_S)
        return answers

    def _box_for(self, order: Order, now: float) -> int | None:
        """Return the slot that has this order, or one that is free now."""
        for index, box in enumerate(self._boxes):
            if box.order == order:
                return index
        for index, box in enumerate(self._boxes):
            # Given up: its mail may still arrive, and names a part of which nothing is told any more.
            if box.order is None or box.order.deadline < now:
                box.take(order)
                return index
        return None
