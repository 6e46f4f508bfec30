"""Looks through what PLCs show, and proposes what the plant file should say of them. Writes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from neverblink.plant import Line, Plc
from neverblink.plc.contract import PROFILES
from neverblink.plc.errors import PlcError
from neverblink.plc.opening import connect
from neverblink.plc.proposals import Proposal, proposals
from neverblink.plc.validation import validate

SHOWN = 8


@dataclass(frozen=True, slots=True)
class Browsed:
    """What one server shows: sentences for the person at the PLC, and whether something in it fits the contract."""

    endpoint: str
    fits: bool
    said: tuple[str, ...]


async def browse_lines(lines: Sequence[Line]) -> list[Browsed]:
    """Look through the servers of these lines, each once, as the first line that names it does."""
    plcs: dict[str, Plc] = {}
    for line in lines:
        if line.plc is not None:
            plcs.setdefault(line.plc.endpoint, line.plc)
    return [await _browse(plc) for plc in plcs.values()]


async def _browse(plc: Plc) -> Browsed:
    said: list[str] = []
    fits = False
    try:
        async with connect(plc, "browse", any_namespace=True) as connection:
            seen = await connection.walk()
        profile = PROFILES[plc.profile]
        found = proposals(seen, profile)
        said.append(f"it shows {len(seen)} nodes; {len(found)} sets of them have names of profile {plc.profile}")
        for proposal in found[:SHOWN]:
            faults = await _faults(plc, proposal)
            fits = fits or not faults
            said += [*_told(proposal), *(f"  {fault}" for fault in faults)]
            if not faults:
                said.append("  every node is there, with its type and rights: `neverblink bridge check` has more")
    except PlcError as error:
        return Browsed(plc.endpoint, False, (*said, *str(error).splitlines()))
    if not found:
        spaces = sorted({one.namespace_uri for one in seen})
        said.append(
            f"nothing in {', '.join(spaces) or 'any namespace of a program'} has the contract's names: is the structure"
            " visible to OPC UA, and are its names those of `neverblink bridge nodes`?"
        )
    return Browsed(plc.endpoint, fits, tuple(said))


def _told(proposal: Proposal) -> list[str]:
    lines = [f"{proposal.found} nodes and {proposal.slots} slots; for the plant file:"]
    for name, value in proposal.as_settings().items():
        if isinstance(value, dict):
            lines += [f"    {name}:", *(f"      {own}: {node}" for own, node in value.items())]
        else:
            lines.append(f"    {name}: {value}")
    if proposal.missing:
        lines.append(f"  not there: {', '.join(proposal.missing)}")
    return lines


async def _faults(plc: Plc, proposal: Proposal) -> list[str]:
    """Return what a bridge would say of the PLC with these settings, nothing where it would serve it."""
    settings = {"nodes": {}, "lane_node": None} | proposal.as_settings()
    try:
        async with connect(plc.model_copy(update=settings), "browse") as connection:
            await validate(connection)
    except PlcError as error:
        return str(error).splitlines()
    return []
