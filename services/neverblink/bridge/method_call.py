"""Profile C: `Reject(epoch, seq, part, code) → status`, for PLCs that have methods. Silence passes."""

import random
from collections.abc import Mapping, Sequence

from neverblink.bridge.profile import Profile, answer_of
from neverblink.bridge.scheduler import Answer, Order
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import REJECT, Code
from neverblink.plc.validation import Agreement
from neverblink.plc.word import NUMBERS


class MethodCall(Profile):
    """A call that was not answered is repeated with the same seq, so that the PLC can tell it from a new one."""

    batch = 1

    def __init__(self, connection: PlcConnection, agreement: Agreement) -> None:
        super().__init__(connection, agreement)
        # Any seq, so that one from before a restart does not come again.
        self._seq = random.randrange(NUMBERS)
        self._calls: dict[Order, int] = {}

    async def tell(self, orders: Sequence[Order], now: float) -> Mapping[Order, Answer | None]:
        """Call once for each order, one after the other: a PLC's program handles one call at a time."""
        return {order: await self._call(order, now) for order in orders}

    async def _call(self, order: Order, now: float) -> Answer:
        if order not in self._calls:
            self._calls = {known: seq for known, seq in self._calls.items() if known.deadline >= now}
            self._seq = (self._seq + 1) % NUMBERS
            self._calls[order] = self._seq
        # Existing programs know three codes: reject reasons are a reject.
        code = order.code if order.code <= Code.UNSURE else Code.REJECT
        values = (order.epoch, self._calls[order], order.number, code)
        refused, given = await self._connection.call(REJECT, values)
        if refused is not None:
            return Answer(refused)
        self._calls.pop(order, None)  # past its deadline it may have been forgotten while the PLC was asked
        if len(given) != 1 or not isinstance(given[0], int):
            return Answer(f"the method gives back {given!r} instead of one status")
        return answer_of(given[0])
