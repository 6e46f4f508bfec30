"""Is the PLC's program the contract? Asked on every connect, answered in a PLC programmer's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neverblink.plc.connection import Attributes, PlcConnection
from neverblink.plc.contract import (
    CONTRACT_VERSION,
    MAX_SLOTS,
    MIN_SLOTS,
    Method,
    Node,
    Writer,
    element_name,
    node,
    signature,
)
from neverblink.plc.errors import ContractError

# Bits of AccessLevel and UserAccessLevel (OPC 10000-3, section 8.57).
_READ = 0b01
_WRITE = 0b10
_SCALAR_RANKS = (None, -1, -2, -3)
_MAX_TOLD = 12
TELLABLE = 1024  # profiles B and C have no slots: so many parts lie between trigger and gate at most


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the PLC said on connect: how many slots, where it stands, which optional nodes it has."""

    slots: int
    epoch: int
    last_triggered: int
    optional: tuple[str, ...] = ()


async def validate(connection: PlcConnection) -> Agreement:
    """Check every node of the line's profile. Raises ContractError, one sentence for each fault."""
    profile = connection.profile
    for name in connection.mapped:
        if not profile.known(name):
            raise ContractError(
                f"the plant file's plc.nodes maps {name!r}, and the contract has no node of that name in profile"
                f" {profile.name}"
            )
    await validate_nodes(connection, sorted(entry.name for entry in profile.nodes))
    optional = await _optional(connection, [entry.name for entry in profile.optional])
    if profile.method is not None:
        await _validate_method(connection, profile.method)
    version = (await connection.read(["ContractVersion"]))["ContractVersion"]
    if version != CONTRACT_VERSION:
        raise ContractError(
            f"{_where(connection, 'ContractVersion')} says {version}; we speak version {CONTRACT_VERSION}"
        )
    slots = TELLABLE if profile.silence_passes else await _slot_count(connection)
    if profile.each is not None:
        await validate_nodes(connection, [element_name(profile.each, index) for index in range(profile.count or slots)])
    if profile.lane is not None and connection.has_lane:
        await validate_nodes(connection, [element_name(profile.lane, index) for index in range(slots)])
    start = await connection.read(["Epoch", "LastTriggered"])
    return Agreement(slots, start["Epoch"] or 0, start["LastTriggered"] or 0, optional)


async def validate_nodes(connection: PlcConnection, names: Sequence[str]) -> None:
    """Check that these nodes exist, with the right type, rank and access. Raises ContractError."""
    _refuse(connection, await connection.attributes(names))


def _refuse(connection: PlcConnection, found: Mapping[str, Attributes]) -> None:
    faults = [
        f"{_where(connection, name)} {fault}"
        for name, attributes in found.items()
        if (fault := _fault(node(name), attributes)) is not None
    ]
    if len(faults) > _MAX_TOLD:
        faults[_MAX_TOLD:] = [f"and {len(faults) - _MAX_TOLD} more nodes with faults like these"]
    if faults:
        raise ContractError("\n".join(faults))


async def _optional(connection: PlcConnection, names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the optional nodes that exist; what exists must be right."""
    if not names:
        return ()
    found = {name: said for name, said in (await connection.attributes(names)).items() if said.status is None}
    _refuse(connection, found)
    return tuple(found)


async def _slot_count(connection: PlcConnection) -> int:
    slots = (await connection.read(["SlotCount"]))["SlotCount"]
    if slots is None or not MIN_SLOTS <= slots <= MAX_SLOTS or slots & (slots - 1):
        raise ContractError(
            f"{_where(connection, 'SlotCount')} says {slots}; it must be a power of two from {MIN_SLOTS} to {MAX_SLOTS}"
        )
    return int(slots)


async def _validate_method(connection: PlcConnection, method: Method) -> None:
    found = await connection.method_found(method)
    where = f"method {connection.text_id(method.name)} ({method.name})"
    if found.owner_missing is not None:
        raise ContractError(
            f"the object {connection.method_object} that has the method {method.name} does not exist"
            f" ({found.owner_missing}): write its node id as plc.method_object"
        )
    if found.missing is not None:
        raise ContractError(f"{where} does not exist ({found.missing}): declare it, or map its node id")
    # Names are for people; what travels is types in order.
    takes, gives = ([kind for _, kind in side] for side in (found.inputs, found.outputs))
    if takes != [kind for _, kind in method.inputs] or gives != [kind for _, kind in method.outputs]:
        raise ContractError(
            f"{where} is {signature(found.inputs, found.outputs)}, the contract needs {method.signature}: change its"
            " arguments in the PLC program"
        )
    if not found.executable:
        raise ContractError(f"{where} may not be called by our user: give the bridge's user the right to call it")


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
