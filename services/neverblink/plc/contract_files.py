"""The contract as files for the outside: a node list for PLC programmers, JSON for programs."""

import csv
import io
import json
from collections.abc import Iterator

from neverblink.plant import Plc
from neverblink.plc.contract import (
    CONTRACT_VERSION,
    MAX_SLOTS,
    MIN_SLOTS,
    NODES,
    SLOT,
    Alarm,
    BridgeState,
    Code,
    Confirm,
    GateCode,
    LineState,
    Node,
)

IEC_TYPES = {"Boolean": "BOOL", "UInt16": "UINT", "UInt32": "UDINT"}
COLUMNS = ("name", "opc_ua_type", "iec_type", "elements", "written_by", "node_id", "meaning")
_ENUMS = (Code, LineState, BridgeState, GateCode, Confirm, Alarm)


def node_list(plc: Plc | None = None) -> str:
    """Return the nodes as CSV with a header; with the node ids of `plc`, or else those of the default patterns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, entry in _nodes():
        elements: object = entry.length or ""
        if entry is SLOT:
            elements = "SlotCount, one node each"
        row = (entry.type, IEC_TYPES[entry.type], elements, entry.writer, _node_id(plc, entry), entry.about)
        writer.writerow((name, *row))
    return out.getvalue()


def contract_json() -> str:
    """Return the contract as a JSON document: nodes, word layouts, and what the numbers mean."""
    document = {
        "contract": "neverblink verdict table",
        "version": CONTRACT_VERSION,
        "slots": {"min": MIN_SLOTS, "max": MAX_SLOTS, "power_of_two": True},
        "nodes": [
            {
                "name": name,
                "type": entry.type,
                "elements": entry.length,
                "written_by": str(entry.writer),
                "meaning": entry.about,
            }
            for name, entry in _nodes()
        ],
        "words": {
            "Verdict": {"epoch mod 16": "31-28", "part mod 2^20": "27-8", "code": "7-0"},
            "GateRing": {"part mod 2^20": "31-12", "action": "11-8", "confirm": "7-4", "epoch mod 16": "3-0"},
        },
        "values": {kind.__name__: {member.name: int(member) for member in kind} for kind in _ENUMS},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _nodes() -> Iterator[tuple[str, Node]]:
    for entry in NODES:
        yield entry.name, entry
    yield f"{SLOT.name}[0..SlotCount-1]", SLOT


def _node_id(plc: Plc | None, entry: Node) -> str:
    if plc is None:
        default = Plc.model_fields
        name = str(default["slot_node"].default if entry is SLOT else default["node"].default)
        return name.replace("{name}", entry.name)
    return plc.slot_node if entry is SLOT else plc.node_id(entry.name)
