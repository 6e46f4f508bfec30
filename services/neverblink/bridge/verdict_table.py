"""Profile A: verdicts are words in a table of slots. Silence rejects."""

from collections.abc import Mapping, Sequence

from neverblink import telemetry
from neverblink.bridge.profile import Profile
from neverblink.bridge.scheduler import Answer, Order
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import INSPECT, lane_name, slot_name
from neverblink.plc.validation import Agreement
from neverblink.plc.word import encode_verdict


class VerdictTable(Profile):
    """A written word is told: the PLC reads it at the gate, and judges there whether it is for that part.

    Where the PLC has a lane, the word of a part that people shall inspect stands before its verdict in the same
    request. It is no part of what is told: a PLC that refuses it, or reads too early, sends the part the ordinary way.
    """

    def __init__(self, connection: PlcConnection, agreement: Agreement) -> None:
        super().__init__(connection, agreement)
        self._recurring = telemetry.Recurring(telemetry.logger("bridge"))

    async def tell(self, orders: Sequence[Order], now: float) -> Mapping[Order, Answer | None]:
        """Write the orders' words in one request."""
        names = {slot_name(order.number % self._slots): order for order in orders}
        lanes = {
            lane_name(order.number % self._slots): encode_verdict(order.epoch, order.number, INSPECT)
            for order in orders
            if order.inspect and self._has_lane
        }
        results = await self._connection.write(lanes | {name: order.word for name, order in names.items()})
        for name in lanes:
            if results[name] is not None:
                why = f"the PLC refuses {name} ({results[name]}): parts for inspection go the ordinary way"
                self._recurring.tell("lane", why)
        return {order: None if results[name] is None else Answer(results[name]) for name, order in names.items()}
