"""What the bridge needs of a PLC, whichever way its program takes verdicts: one interface, three small modules."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from neverblink.bridge.scheduler import MAX_BATCH, Answer, Order, PlcView
from neverblink.events import Outcome
from neverblink.plc.connection import PlcConnection
from neverblink.plc.contract import TellStatus, Writer, element_name
from neverblink.plc.errors import PlcUnreachableError
from neverblink.plc.validation import Agreement, validate

COUNTERS = ("CntPass", "CntReject", "CntFailsafe", "CntStale", "CntSilent", "CntConfirmFail")
_LOOK = ("Epoch", "LastTriggered", "LeadMs", "StopRequest", "LineHold", "PlcHb", "GateRing")
_SELDOM = ("LineState", "Permit", *COUNTERS)
SELDOM_S = 1.0  # what only people look at: half of the nodes, and of what a look costs the PLC and us
_ANSWERS: Mapping[int, Answer] = {
    TellStatus.ACCEPTED: Answer(outcome=Outcome.CONFIRMED),
    TellStatus.TOO_LATE: Answer("the PLC says too late: the part was past its decision", Outcome.LATE),
    TellStatus.UNKNOWN_PART: Answer("the PLC says that this part is not on its belt", Outcome.FAILED),
    TellStatus.ALREADY_TOLD: Answer("the PLC says that this part was told as a reject before", Outcome.FAILED),
    TellStatus.WRONG_EPOCH: Answer("the PLC says that this part belongs to another epoch", Outcome.FAILED),
    TellStatus.BAD_CODE: Answer("the PLC says that it does not know this code", Outcome.FAILED),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What one reading of the PLC's side says; what an existing program does not have is 0, empty or None."""

    view: PlcView
    lead_s: float
    line_state: int
    permit: bool
    stop_request: bool
    plc_heartbeat: int
    ring: Sequence[int]
    counters: Mapping[str, int]
    hold: int | None = None


class Profile(ABC):
    """A live, validated session with a PLC, in the profile that the plant file names."""

    batch: ClassVar[int] = MAX_BATCH
    """Parts told in one request at most."""

    def __init__(self, connection: PlcConnection, agreement: Agreement) -> None:
        self._connection = connection
        self._slots = agreement.slots
        self._has_lane = connection.profile.lane is not None and connection.has_lane
        present = {entry.name for entry in connection.profile.nodes} | set(agreement.optional)
        self._hold: int | None = None
        self._looks_at = [name for name in _LOOK if name in present]
        self._seldom = [name for name in _SELDOM if name in present]
        self._seldom_said: dict[str, Any] = {}
        self._seldom_at = float("-inf")
        self._stop_request: bool | None = None

    @classmethod
    async def open(cls, connection: PlcConnection) -> Self:
        """Validate the PLC's nodes and register those written again and again. Raises ContractError."""
        agreement, profile = await validate(connection), connection.profile
        written = [entry.name for entry in profile.nodes if entry.writer is Writer.BRIDGE]
        if profile.each is not None:
            count = profile.count or agreement.slots
            written += [element_name(profile.each, index) for index in range(count)]
        if profile.lane is not None and connection.has_lane:
            written += [element_name(profile.lane, index) for index in range(agreement.slots)]
        await connection.register(written)
        return cls(connection, agreement)

    @abstractmethod
    async def tell(self, orders: Sequence[Order], now: float) -> Mapping[Order, Answer | None]:
        """Tell these parts once; return the PLC's answer to each, None where a write was simply taken.

        Raises PlcUnreachableError; after that, or when the caller's time-out ends it, all of it is unknown.
        """

    async def state(self, values: Mapping[str, int]) -> None:
        """Write heartbeat and status. Raises PlcUnreachableError when the PLC does not take them."""
        refused = {
            name: status for name, status in (await self._connection.write(values)).items() if status is not None
        }
        if refused:
            said = ", ".join(f"{name}: {status}" for name, status in refused.items())
            raise PlcUnreachableError(f"the PLC refuses our status ({said})")

    async def look(self, now: float) -> Look:
        """Read the PLC's side; `now` becomes the view's age.

        Counters, `LineState` and `Permit` are as old as `SELDOM_S` at most, and new where the PLC's stop has changed.
        """
        whole = not 0 <= now - self._seldom_at < SELDOM_S
        said = await self._connection.read([*self._looks_at, *self._seldom] if whole else self._looks_at)
        if not whole and bool(said.get("StopRequest")) != self._stop_request:
            whole, said = True, said | await self._connection.read(self._seldom)
        if whole:
            self._seldom_at, self._seldom_said = now, {name: said[name] for name in self._seldom}
        said = self._seldom_said | said
        self._stop_request = bool(said.get("StopRequest"))
        if said["Epoch"] is None or said["LastTriggered"] is None:
            raise PlcUnreachableError("the PLC does not tell Epoch and LastTriggered")
        if said.get("LineHold") is not None:
            self._hold = said["LineHold"]
        return Look(
            view=PlcView(said["Epoch"], said["LastTriggered"], self._slots, now),
            lead_s=(said["LeadMs"] or 0) / 1000,
            line_state=said.get("LineState") or 0,
            permit=bool(said.get("Permit")),
            stop_request=self._stop_request,
            plc_heartbeat=said["PlcHb"] or 0,
            ring=said.get("GateRing") or (),
            counters={name: said[name] or 0 for name in COUNTERS if name in said},
            hold=self._hold,
        )


def answer_of(status: int) -> Answer:
    """Return what a status of the PLC's program (profiles B and C) means for the part."""
    return _ANSWERS.get(status) or Answer(
        f"the PLC answers status {status}, which the contract does not have", Outcome.FAILED
    )
