"""What a PLC and we agree on: the node table, the verdict word, the session, the trigger.

This package imports no OPC UA library by itself; `connection`, `validation` and `trigger` do.
"""

from neverblink.plc.contract import (
    CONTRACT_VERSION,
    NODES,
    Alarm,
    BridgeState,
    Code,
    Confirm,
    GateCode,
    LineState,
    Node,
    Writer,
    node,
    slot_name,
)
from neverblink.plc.word import GateEntry, VerdictWord

__all__ = [
    "CONTRACT_VERSION",
    "NODES",
    "Alarm",
    "BridgeState",
    "Code",
    "Confirm",
    "GateCode",
    "GateEntry",
    "LineState",
    "Node",
    "VerdictWord",
    "Writer",
    "node",
    "slot_name",
]
