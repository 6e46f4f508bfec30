"""Is the PLC's program the contract? Asked on every connect, answered in a PLC programmer's words."""

from collections.abc import Sequence
from dataclasses import dataclass

from neverblink.plc.connection import Attributes, ContractError, PlcConnection
from neverblink.plc.contract import (
    CONTRACT_VERSION,
    MAX_SLOTS,
    MIN_SLOTS,
    NODES,
    SLOT,
    Node,
    Writer,
    node,
    slot_name,
)

# Bits of AccessLevel and UserAccessLevel (OPC 10000-3, section 8.57).
_READ = 0b01
_WRITE = 0b10
_SCALAR_RANKS = (None, -1, -2, -3)
_MAX_TOLD = 12


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the PLC said on connect: how many slots, and where it stands."""

    slots: int
    epoch: int
    last_triggered: int


async def validate(connection: PlcConnection) -> Agreement:
    """Check every node of the contract. Raises ContractError, one sentence for each fault."""
    known = {entry.name for entry in NODES}
    for name in connection.mapped:
        if name not in known and not name.startswith(f"{SLOT.name}["):
            raise ContractError(f"the plant file's plc.nodes maps {name!r}, and the contract has no node of that name")
    await validate_nodes(connection, sorted(known))
    start = await connection.read(["ContractVersion", "SlotCount", "Epoch", "LastTriggered"])
    version, slots = start["ContractVersion"], start["SlotCount"]
    if version != CONTRACT_VERSION:
        raise ContractError(
            f"{_where(connection, 'ContractVersion')} says {version}; we speak version {CONTRACT_VERSION}"
        )
    if slots is None or not MIN_SLOTS <= slots <= MAX_SLOTS or slots & (slots - 1):
        raise ContractError(
            f"{_where(connection, 'SlotCount')} says {slots}; it must be a power of two from {MIN_SLOTS} to {MAX_SLOTS}"
        )
    await validate_nodes(connection, [slot_name(index) for index in range(slots)])
    return Agreement(slots, start["Epoch"] or 0, start["LastTriggered"] or 0)


async def validate_nodes(connection: PlcConnection, names: Sequence[str]) -> None:
    """Check that these nodes exist, with the right type, rank and access. Raises ContractError."""
    found = await connection.attributes(names)
    faults = [
        f"{_where(connection, name)} {fault}"
        for name in names
        if (fault := _fault(node(name), found[name])) is not None
    ]
    if len(faults) > _MAX_TOLD:
        faults[_MAX_TOLD:] = [f"and {len(faults) - _MAX_TOLD} more nodes with faults like these"]
    if faults:
        raise ContractError("\n".join(faults))


def _fault(expected: Node, found: Attributes) -> str | None:
    if found.status is not None:
        return f"does not exist ({found.status}): declare it, make it visible to OPC UA, or map its node id"
    if found.type != expected.type:
        return f"is {found.type}, the contract needs {expected.type}: change its type in the PLC program"
    if expected.length is None and (found.rank not in _SCALAR_RANKS or found.length is not None):
        return f"is an array, the contract needs one {expected.type}: map a single element"
    if expected.length is not None and found.length != expected.length:
        size = "a single value" if found.length is None else f"an array of {found.length}"
        return f"is {size}, the contract needs an array of {expected.length}"
    if not found.access & found.user_access & _READ:
        return "cannot be read by our user: allow reading"
    if expected.writer is Writer.BRIDGE and not found.access & _WRITE:
        return "is read-only, and the bridge must write it: make it writable for OPC UA"
    if expected.writer is Writer.BRIDGE and not found.user_access & _WRITE:
        return "is not writable for our user: give the bridge's user the right to write it"
    return None


def _where(connection: PlcConnection, name: str) -> str:
    return f"node {connection.text_id(name)} ({name})"
