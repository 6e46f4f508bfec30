"""Profile A: verdicts are words in a table of slots. Silence rejects."""

from collections.abc import Mapping, Sequence

from neverblink.bridge.profile import Profile
from neverblink.bridge.scheduler import Answer, Order
from neverblink.plc.contract import slot_name


class VerdictTable(Profile):
    """A written word is told: the PLC reads it at the gate, and judges there whether it is for that part."""

    async def tell(self, orders: Sequence[Order], now: float) -> Mapping[Order, Answer | None]:
        """Write the orders' words in one request."""
        names = {slot_name(order.number % self._slots): order for order in orders}
        results = await self._connection.write({name: order.word for name, order in names.items()})
        return {names[name]: None if status is None else Answer(status) for name, status in results.items()}
