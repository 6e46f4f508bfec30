"""The contract as files for the outside: a node list for PLC programmers, JSON for programs."""

import csv
import io
import json
from collections.abc import Iterator

from neverblink.plant import Plc
from neverblink.plc.contract import (
    CONTRACT_VERSION,
    INSPECT,
    MAIL,
    MAX_SLOTS,
    MIN_SLOTS,
    PROFILES,
    SLOT,
    Alarm,
    BridgeState,
    Code,
    Confirm,
    GateCode,
    LineState,
    Node,
    Profile,
    TellStatus,
)

IEC_TYPES = {"Boolean": "BOOL", "UInt16": "UINT", "UInt32": "UDINT"}
COLUMNS = ("name", "opc_ua_type", "iec_type", "elements", "written_by", "node_id", "meaning")
_ENUMS = (Code, LineState, BridgeState, GateCode, Confirm, Alarm)
_VERDICT_WORD = {"epoch mod 16": "31-28", "part mod 2^20": "27-8", "code": "7-0"}
_MAIL_WORD = {"seq": "31-24", "part mod 2^16": "23-8", "epoch mod 16": "7-4"}
_RING_WORD = {"part mod 2^20": "31-12", "action": "11-8", "confirm": "7-4", "epoch mod 16": "3-0"}


def file_name(profile: str) -> str:
    """Return the name of a profile's JSON document."""
    return f"{profile}.v{CONTRACT_VERSION}.json"


def node_list(plc: Plc | None = None, profile: str = "verdict-table") -> str:
    """Return the nodes as CSV with a header; with the node ids of `plc`, or else those of the default patterns."""
    table = PROFILES[profile if plc is None else plc.profile]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, entry in _nodes(table):
        elements: object = entry.length or ""
        if entry is table.each:
            elements = f"{table.count or 'SlotCount'}, one node each"
        if entry is table.lane:
            if plc is not None and plc.lane_node is None:
                continue
            elements = "SlotCount, one node each"
        about = f"{entry.about} Optional." if _optional(table, entry) else entry.about
        row = (entry.type, IEC_TYPES[entry.type], elements, entry.writer, _node_id(plc, table, entry), about)
        writer.writerow((name, *row))
    if table.method is not None:
        about = f"{table.method.signature}. {table.method.about}"
        writer.writerow((table.method.name, "Method", "", "", "", _pattern(plc, "node", table.method.name), about))
    return out.getvalue()


def contract_json(profile: str = "verdict-table") -> str:
    """Return a profile as a JSON document: nodes, word layouts, and what the numbers mean."""
    table = PROFILES[profile]
    words: dict[str, dict[str, str]] = {}
    values = {kind.__name__: {member.name: int(member) for member in kind} for kind in _ENUMS}
    document: dict[str, object] = {"contract": f"neverblink {table.title}", "version": CONTRACT_VERSION}
    if table.silence_passes:
        document["silence"] = "passes"
        values["TellStatus"] = {member.name: int(member) for member in TellStatus}
    if table.each is SLOT:
        document["slots"] = {"min": MIN_SLOTS, "max": MAX_SLOTS, "power_of_two": True}
        words |= {"Verdict": _VERDICT_WORD, "Lane": _VERDICT_WORD}
        values["Lane"] = {"INSPECT": INSPECT}
    if table.each is MAIL:
        words |= {"CmdWord": {**_MAIL_WORD, "code": "3-0"}, "AckWord": {**_MAIL_WORD, "status": "3-0"}}
    document["nodes"] = [
        {
            "name": name,
            "type": entry.type,
            "elements": entry.length,
            "written_by": str(entry.writer),
            "meaning": entry.about,
        }
        | ({"optional": True} if _optional(table, entry) else {})
        for name, entry in _nodes(table)
    ]
    if table.method is not None:
        document["method"] = {
            "name": table.method.name,
            "inputs": [{"name": name, "type": kind} for name, kind in table.method.inputs],
            "outputs": [{"name": name, "type": kind} for name, kind in table.method.outputs],
            "meaning": table.method.about,
        }
    document |= {"words": words | {"GateRing": _RING_WORD}, "values": values}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _nodes(table: Profile) -> Iterator[tuple[str, Node]]:
    for entry in (*table.nodes, *table.optional):
        yield entry.name, entry
    if table.each is not None:
        last = "SlotCount-1" if table.count is None else table.count - 1
        yield f"{table.each.name}[0..{last}]", table.each
    if table.lane is not None:
        yield f"{table.lane.name}[0..SlotCount-1]", table.lane


def _optional(table: Profile, entry: Node) -> bool:
    return entry in table.optional or entry is table.lane


def _node_id(plc: Plc | None, table: Profile, entry: Node) -> str:
    return _pattern(plc, "slot_node" if entry in (table.each, table.lane) else "node", entry.name)


def _pattern(plc: Plc | None, field: str, name: str) -> str:
    if plc is None:
        return str(Plc.model_fields[field].default).replace("{name}", name)
    return plc.slot_id("{index}", name) if field == "slot_node" else plc.node_id(name)
