"""Profile A over one session: verdicts are words in a table of slots, feedback is read as state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neverblink.bridge.scheduler import Order, PlcView
from neverblink.plc.connection import PlcConnection, PlcUnreachableError
from neverblink.plc.contract import NODES, Writer, slot_name
from neverblink.plc.validation import Agreement, validate

COUNTERS = ("CntPass", "CntReject", "CntFailsafe", "CntStale", "CntConfirmFail")
_LOOK = (
    "Epoch",
    "LastTriggered",
    "LeadMs",
    "LineState",
    "Permit",
    "StopRequest",
    "PlcHb",
    "GateRing",
    *COUNTERS,
)


@dataclass(frozen=True, slots=True)
class Look:
    """What one reading of the PLC's side says."""

    view: PlcView
    lead_s: float
    line_state: int
    permit: bool
    stop_request: bool
    plc_heartbeat: int
    ring: Sequence[int]
    counters: Mapping[str, int]


class VerdictTable:
    """The contract's profile A on a live, validated session."""

    def __init__(self, connection: PlcConnection, agreement: Agreement) -> None:
        self._connection = connection
        self._slots = agreement.slots

    @classmethod
    async def open(cls, connection: PlcConnection) -> "VerdictTable":
        """Validate the PLC's nodes and register those written again and again. Raises ContractError."""
        agreement = await validate(connection)
        slots = [slot_name(index) for index in range(agreement.slots)]
        await connection.register([*slots, *(node.name for node in NODES if node.writer is Writer.BRIDGE)])
        return cls(connection, agreement)

    async def tell(self, orders: Sequence[Order]) -> dict[Order, str | None]:
        """Write the orders' words in one request; return a status name for each that was refused."""
        names = {slot_name(order.number % self._slots): order for order in orders}
        results = await self._connection.write({name: order.word for name, order in names.items()})
        return {names[name]: status for name, status in results.items()}

    async def state(self, values: Mapping[str, int]) -> None:
        """Write heartbeat and status. Raises PlcUnreachableError when the PLC does not take them."""
        refused = {
            name: status for name, status in (await self._connection.write(values)).items() if status is not None
        }
        if refused:
            said = ", ".join(f"{name}: {status}" for name, status in refused.items())
            raise PlcUnreachableError(f"the PLC refuses our status ({said})")

    async def look(self, now: float) -> Look:
        """Read the PLC's side; `now` becomes the view's age."""
        said = await self._connection.read(_LOOK)
        if said["Epoch"] is None or said["LastTriggered"] is None:
            raise PlcUnreachableError("the PLC does not tell Epoch and LastTriggered")
        return Look(
            view=PlcView(said["Epoch"], said["LastTriggered"], self._slots, now),
            lead_s=(said["LeadMs"] or 0) / 1000,
            line_state=said["LineState"] or 0,
            permit=bool(said["Permit"]),
            stop_request=bool(said["StopRequest"]),
            plc_heartbeat=said["PlcHb"] or 0,
            ring=said["GateRing"] or (),
            counters={name: said[name] or 0 for name in COUNTERS},
        )
